import {
  DOUBLE,
  DuckDBInstance,
  DuckDBListValue,
  DuckDBScalarFunction,
  DuckDBTimestampValue,
  LIST,
  type DuckDBConnection,
  type DuckDBValue,
} from "@duckdb/node-api";
import { translate, type Table } from "./sql.ts";
import { SqlError, untypedColumn } from "./sql_error.ts";
import { macros, quantileExactWeighted, type Type } from "./sql_functions.ts";

/** One data point as workerd's analyticsEngine binding posts it; strings are arrays of bytes. */
export interface PostedPoint {
  dataset: number[];
  /** Nanoseconds since 1970. */
  timestamp: string;
  index1?: number[];
  [column: string]: unknown;
}

interface Point {
  dataset: string;
  /** Whole seconds since 1970. */
  seconds: number;
  receivedMs: number;
  index: string;
  blobs: string[];
  doubles: number[];
}

export interface Answer {
  meta: { name: string; type: Type }[];
  data: Record<string, unknown>[];
  rows: number;
  rows_before_limit_at_least: number;
}

export interface AnalyticsSettings {
  /** Points younger than this are not seen by queries, in milliseconds. */
  lag_ms: number;
  /** Queries see about 1 point in this many, each with that _sample_interval; 1 sees all. */
  sample: number;
  /** The SQL endpoint answers 503. */
  down: boolean;
}

const blobCount = 20;
const doubleCount = 20;
const flushEveryMs = 200;

const columnNames = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
const blobNames = columnNames("blob", blobCount);
const doubleNames = columnNames("double", doubleCount);

/** The local Analytics Engine: takes points, keeps them in DuckDB, answers its SQL. */
export class Analytics {
  readonly settings: AnalyticsSettings;
  /** Points and requests refused for breaking a limit, newest last; the reasons are kept until a flush reports them. */
  readonly refused: { count: number; reasons: string[] } = { count: 0, reasons: [] };
  // Two connections: appending blocks this thread until its connection is free, and a query that runs there may be
  // waiting for this thread to compute a quantile.
  private readonly appending: DuckDBConnection;
  private readonly querying: DuckDBConnection;
  private readonly log: (line: string) => void;
  private buffer: Point[] = [];
  private stored = 0;
  /** How many blobs and doubles were ever written, by data set: a column beyond has no type. */
  private readonly written = new Map<string, { blobs: number; doubles: number }>();
  private flushing: Promise<void> = Promise.resolve();
  private readonly timer: NodeJS.Timeout;

  private constructor(
    connections: [appending: DuckDBConnection, querying: DuckDBConnection],
    settings: AnalyticsSettings,
    log: (line: string) => void,
  ) {
    [this.appending, this.querying] = connections;
    this.settings = settings;
    this.log = log;
    this.timer = setInterval(() => void this.flush(), flushEveryMs);
  }

  static async open(settings: AnalyticsSettings, log: (line: string) => void): Promise<Analytics> {
    const instance = await DuckDBInstance.create(":memory:", {
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
      enable_external_access: "false",
      threads: "2",
    });
    const [appending, querying] = [await instance.connect(), await instance.connect()];
    registerQuantile(querying);
    const columns = [...blobNames.map((name) => `${name} VARCHAR`), ...doubleNames.map((name) => `${name} DOUBLE`)];
    await querying.run(
      `CREATE TABLE points (seq BIGINT, received_ms BIGINT, dataset VARCHAR, timestamp TIMESTAMP, index1 VARCHAR, ${columns.join(", ")})`,
    );
    for (const macro of macros) await querying.run(macro);
    return new Analytics([appending, querying], settings, log);
  }

  /** The points stored or waiting to be. */
  get points(): number {
    return this.stored + this.buffer.length;
  }

  /** Takes one point in; edge.js has seen to its limits. */
  write(posted: PostedPoint): void {
    const point = read(posted);
    this.buffer.push(point);
    const written = this.written.get(point.dataset) ?? { blobs: 0, doubles: 0 };
    written.blobs = Math.max(written.blobs, point.blobs.length);
    written.doubles = Math.max(written.doubles, point.doubles.length);
    this.written.set(point.dataset, written);
  }

  /** Counts a refusal and says so in the log; the next flush of a caller fails with it. */
  refuse(reason: string): void {
    this.refused.count++;
    this.refused.reasons.push(reason);
    this.log(`analytics point refused: ${reason}`);
  }

  /** Resolves once every point taken in so far can be queried. */
  flush(): Promise<void> {
    this.flushing = this.flushing.then(async () => {
      const batch = this.buffer;
      if (!batch.length) return;
      this.buffer = [];
      const appender = await this.appending.createAppender("points");
      for (const point of batch) appendPoint(appender, this.stored++, point);
      appender.closeSync();
    });
    return this.flushing;
  }

  /** Answers one statement; what the dialect does not have, and a column without a type, is an SqlError. */
  async query(statement: string, nowMs: number = Date.now()): Promise<Answer> {
    await this.flush();
    const { sql, columns, needRows } = translate(
      statement,
      (name) => this.table(name, nowMs),
      Math.floor(nowMs / 1000),
    );
    try {
      for (const need of needRows) {
        const reader = await this.querying.runAndReadAll(need.sql);
        if (reader.currentRowCount === 0) throw untypedColumn(need.column);
      }
      const rows = (await this.querying.runAndReadAll(sql)).getRowsJS();
      const data = rows.map((row) =>
        Object.fromEntries(columns.map(({ name, type }, i) => [name, json(row[i], type)])),
      );
      return { meta: columns, data, rows: data.length, rows_before_limit_at_least: data.length };
    } catch (error) {
      if (error instanceof SqlError) throw error;
      throw new SqlError(error instanceof Error ? error.message.split("\n")[0]! : String(error));
    }
  }

  close(): void {
    clearInterval(this.timer);
    this.appending.closeSync();
    this.querying.closeSync();
  }

  private table(name: string, nowMs: number): Table | undefined {
    const written = this.written.get(name);
    if (!written) return undefined;
    const { lag_ms: lag, sample } = this.settings;
    const columns = new Map<string, Type>([
      ["dataset", "String"],
      ["timestamp", "DateTime"],
      ["_sample_interval", "UInt32"],
      ["index1", "String"],
    ]);
    for (const blob of blobNames.slice(0, written.blobs)) columns.set(blob, "String");
    for (const double of doubleNames.slice(0, written.doubles)) columns.set(double, "Float64");
    const tests = [`dataset = '${name.replaceAll("'", "''")}'`];
    if (lag > 0) tests.push(`received_ms <= ${nowMs - lag}`);
    // By a hash of the point itself, so that the same points are seen by every query.
    if (sample > 1) tests.push(`hash(seq) % ${sample} = 0`);
    const sql = `(SELECT *, CAST(${sample} AS UINTEGER) AS _sample_interval FROM points WHERE ${tests.join(" AND ")})`;
    return { sql, columns };
  }
}

function read(posted: PostedPoint): Point {
  const bytes = (value: unknown) => (value ? Buffer.from(value as number[]).toString("utf8") : "");
  return {
    dataset: bytes(posted.dataset),
    seconds: Number(BigInt(posted.timestamp) / 1_000_000_000n),
    receivedMs: Date.now(),
    index: bytes(posted.index1),
    blobs: trailing(posted, "blob").map(bytes),
    doubles: trailing(posted, "double").map((value) => Number(value ?? 0)),
  };
}

// The columns of a kind up to the last one present; workerd leaves out what was not written.
function trailing(posted: PostedPoint, prefix: string): unknown[] {
  const values: unknown[] = [];
  for (let n = 20; n > 0; n--) {
    const value = posted[`${prefix}${n}`];
    if (value !== undefined || values.length) values.unshift(value);
  }
  return values;
}

function appendPoint(
  appender: Awaited<ReturnType<DuckDBConnection["createAppender"]>>,
  seq: number,
  point: Point,
): void {
  appender.appendBigInt(BigInt(seq));
  appender.appendBigInt(BigInt(point.receivedMs));
  appender.appendVarchar(point.dataset);
  appender.appendTimestamp(new DuckDBTimestampValue(BigInt(point.seconds) * 1_000_000n));
  appender.appendVarchar(point.index);
  for (let i = 0; i < blobCount; i++) appender.appendVarchar(point.blobs[i] ?? "");
  for (let i = 0; i < doubleCount; i++) appender.appendDouble(point.doubles[i] ?? 0);
  appender.endRow();
}

function registerQuantile(connection: DuckDBConnection): void {
  const items = (value: DuckDBValue) => (value instanceof DuckDBListValue ? (value.items as number[]) : []);
  connection.registerScalarFunction(
    DuckDBScalarFunction.create({
      name: "quantile_exact_weighted",
      parameterTypes: [DOUBLE, LIST(DOUBLE), LIST(DOUBLE)],
      returnType: DOUBLE,
      specialHandling: true,
      mainFunction: (_, chunk, output) => {
        const [levels, values, weights] = chunk.getColumns();
        for (let row = 0; row < chunk.rowCount; row++) {
          const level = levels![row] as number;
          output.setItem(row, quantileExactWeighted(level, items(values![row]!), items(weights![row]!)));
        }
        output.flush();
      },
    }),
  );
}

// 64-bit integers go out as strings, as ClickHouse writes them; what is no finite number as null.
function json(value: unknown, type: Type): unknown {
  if (type.startsWith("Array(")) {
    return (value as unknown[]).map((element) => json(element, type.slice(6, -1) as Type));
  }
  if (value === null || value === undefined) return null;
  if (type === "UInt64" || type === "Int64") return String(value);
  if (type === "DateTime") return (value as Date).toISOString().slice(0, 19).replace("T", " ");
  if (type === "String") return value;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
}
