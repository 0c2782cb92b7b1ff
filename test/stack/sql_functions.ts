import { SqlError } from "./sql_error.ts";

export type Type =
  "UInt8" | "UInt32" | "UInt64" | "Int64" | "Float64" | "String" | "DateTime" | "Interval" | `Array(${string})`;

/** An expression of the dialect, typed and written in DuckDB's SQL. */
export interface Value {
  sql: string;
  type: Type;
  /** It holds an aggregate function. */
  aggregate: boolean;
  /** The text of a literal; functions that want a constant read it. */
  literal?: string;
}

export interface Call {
  /** As the statement wrote it, for messages. */
  name: string;
  parameters: Value[];
  args: Value[];
  distinct: boolean;
  /** The statement's clock, in whole seconds since 1970. */
  now: number;
}

type Emitted = Pick<Value, "sql" | "type">;

interface Definition {
  args: [least: number, most: number];
  parameters?: [least: number, most: number];
  aggregate?: true;
  distinct?: true;
  emit: (call: Call) => Emitted;
}

export function isInteger(type: Type): boolean {
  return type === "UInt8" || type === "UInt32" || type === "UInt64" || type === "Int64";
}

export function isNumber(type: Type): boolean {
  return isInteger(type) || type === "Float64";
}

const duckTypes: Record<string, string> = {
  UInt8: "UTINYINT",
  UInt32: "UINTEGER",
  UInt64: "UBIGINT",
  Int64: "BIGINT",
  Float64: "DOUBLE",
};

export function cast(sql: string, type: Type): string {
  return `CAST(${sql} AS ${duckTypes[type]})`;
}

/** The type both numbers fit: Float64 if either is one, else a 64-bit integer unless both are small. */
export function commonNumber(a: Type, b: Type): Type {
  if (a === b) return a;
  if (a === "Float64" || b === "Float64") return "Float64";
  if (a === "Int64" || b === "Int64") return "Int64";
  return a === "UInt64" || b === "UInt64" ? "UInt64" : "UInt32";
}

function wants(call: Call, index: number, what: string, ok: (type: Type) => boolean): Value {
  const value = call.args[index]!;
  if (!ok(value.type)) throw new SqlError(`${call.name}: argument ${index + 1} is ${value.type}, expected ${what}`);
  return value;
}

const number = (call: Call, index: number) => wants(call, index, "a number", isNumber);
const string = (call: Call, index: number) => wants(call, index, "a string", (type) => type === "String");
const time = (call: Call, index: number) => wants(call, index, "a DateTime", (type) => type === "DateTime");
const condition = (call: Call, index: number) => wants(call, index, "a condition", (type) => type === "UInt8");

const distinctWord = (call: Call) => (call.distinct ? "DISTINCT " : "");

function filtered(aggregate: string, test: Value): string {
  return `${aggregate} FILTER (WHERE ${test.sql})`;
}

// ClickHouse sums nothing to 0, DuckDB to NULL.
function sum(call: Call, aggregate: string): Emitted {
  const type = number(call, 0).type;
  const result: Type = type === "Float64" || type === "Int64" ? type : "UInt64";
  return { sql: cast(`coalesce(${aggregate}, 0)`, result), type: result };
}

function extreme(name: "min" | "max"): Definition["emit"] {
  return (call) => {
    const value = wants(call, 0, "a number or DateTime", (type) => isNumber(type) || type === "DateTime");
    return { sql: `${name}(${value.sql})`, type: value.type };
  };
}

function extremeArgument(name: "arg_min" | "arg_max"): Definition["emit"] {
  return (call) => ({ sql: `${name}(${call.args[0]!.sql}, ${call.args[1]!.sql})`, type: call.args[0]!.type });
}

function quantile(call: Call): Emitted {
  const level = Number(call.parameters[0]!.literal);
  if (!(level >= 0 && level <= 1)) throw new SqlError(`${call.name}: the level must be a constant from 0 to 1`);
  const [value, weight] = [number(call, 0), wants(call, 1, "an integer", isInteger)];
  const lists = `list(${cast(value.sql, "Float64")}), list(${cast(weight.sql, "Float64")})`;
  return { sql: `quantile_exact_weighted(CAST(${level} AS DOUBLE), ${lists})`, type: "Float64" };
}

function topK(call: Call): Emitted {
  const count = call.parameters.length ? Number(call.parameters[0]!.literal) : 10;
  if (!Number.isInteger(count) || count < 1)
    throw new SqlError(`${call.name}: the count must be a whole number above 0`);
  const value = call.args[0]!;
  return { sql: `top_k(${value.sql}, ${count})`, type: `Array(${value.type})` };
}

function rounding(name: "round" | "floor" | "ceil"): Definition["emit"] {
  return (call) => {
    const value = number(call, 0);
    if (call.args.length === 1) return { sql: `${name}(${value.sql})`, type: value.type };
    const scale = `pow(10, ${number(call, 1).sql})`;
    return { sql: `(${name}(${cast(value.sql, "Float64")} * ${scale}) / ${scale})`, type: "Float64" };
  };
}

function intDiv(call: Call): Emitted {
  const [a, b] = [number(call, 0), number(call, 1)];
  const quotient = `floor(${cast(a.sql, "Float64")} / ${cast(b.sql, "Float64")})`;
  return { sql: cast(quotient, "Int64"), type: "Int64" };
}

function choose(call: Call): Emitted {
  const [test, yes, no] = [condition(call, 0), call.args[1]!, call.args[2]!];
  let type = yes.type;
  if (isNumber(yes.type) && isNumber(no.type)) type = commonNumber(yes.type, no.type);
  else if (yes.type !== no.type) throw new SqlError(`if: the branches are ${yes.type} and ${no.type}`);
  refuseNoCommonType(yes, no);
  const branch = (value: Value) => (isNumber(type) ? cast(value.sql, type) : value.sql);
  return { sql: `CASE WHEN ${test.sql} THEN ${branch(yes)} ELSE ${branch(no)} END`, type };
}

// ClickHouse has no type that holds every 64-bit integer and every Float64, nor both kinds of 64-bit integer.
function refuseNoCommonType(a: Value, b: Value): void {
  const kind = ({ type, literal }: Value) => (isInteger(type) && literal !== undefined ? "small" : type);
  const kinds = [kind(a), kind(b)];
  const wide = kinds.filter((each) => each === "UInt64" || each === "Int64");
  if (new Set(wide).size === 2 || (wide.length === 1 && kinds.includes("Float64"))) {
    throw new SqlError(`if: there is no supertype for ${a.type} and ${b.type}`);
  }
}

function toDateTime(call: Call): Emitted {
  refuseTimezone(call, 1);
  const value = wants(call, 0, "a number, string or DateTime", (type) => !type.startsWith("Array"));
  if (isNumber(value.type)) return { sql: `epoch_to_datetime(${cast(value.sql, "Float64")})`, type: "DateTime" };
  if (value.type === "String") return { sql: `text_to_datetime(${value.sql})`, type: "DateTime" };
  return { sql: value.sql, type: "DateTime" };
}

function refuseTimezone(call: Call, index: number): void {
  const zone = call.args[index]?.literal;
  if (call.args.length > index && zone !== "UTC" && zone !== "Etc/UTC") {
    throw new SqlError(`${call.name}: the local stack knows the timezones 'UTC' and 'Etc/UTC' only`);
  }
}

function toStartOfInterval(call: Call): Emitted {
  refuseTimezone(call, 2);
  const step = wants(call, 1, "an INTERVAL", (type) => type === "Interval");
  return { sql: `time_bucket(${step.sql}, ${time(call, 0).sql}, TIMESTAMP '1970-01-01')`, type: "DateTime" };
}

function substring(call: Call): Emitted {
  const rest = call.args.slice(1).map((_, index) => cast(number(call, index + 1).sql, "Int64"));
  return { sql: `substring(${[string(call, 0).sql, ...rest].join(", ")})`, type: "String" };
}

function textual(name: string): Definition {
  return { args: [1, 1], emit: (call) => ({ sql: `${name}(${string(call, 0).sql})`, type: "String" }) };
}

function affix(name: string): Definition {
  return {
    args: [2, 2],
    emit: (call) => ({ sql: `${name}(${string(call, 0).sql}, ${string(call, 1).sql})`, type: "UInt8" }),
  };
}

const aggregates: Record<string, Definition> = {
  count: { args: [0, 1], aggregate: true, distinct: true, emit: countRows },
  sum: {
    args: [1, 1],
    aggregate: true,
    distinct: true,
    emit: (c) => sum(c, `sum(${distinctWord(c)}${c.args[0]!.sql})`),
  },
  avg: {
    args: [1, 1],
    aggregate: true,
    distinct: true,
    emit: (c) => ({ sql: `avg(${distinctWord(c)}${number(c, 0).sql})`, type: "Float64" }),
  },
  min: { args: [1, 1], aggregate: true, emit: extreme("min") },
  max: { args: [1, 1], aggregate: true, emit: extreme("max") },
  quantileexactweighted: { args: [2, 2], parameters: [1, 1], aggregate: true, emit: quantile },
  countif: {
    args: [1, 1],
    aggregate: true,
    emit: (c) => ({ sql: cast(filtered("count(*)", condition(c, 0)), "UInt64"), type: "UInt64" }),
  },
  sumif: { args: [2, 2], aggregate: true, emit: (c) => sum(c, filtered(`sum(${c.args[0]!.sql})`, condition(c, 1))) },
  avgif: {
    args: [2, 2],
    aggregate: true,
    emit: (c) => ({ sql: filtered(`avg(${number(c, 0).sql})`, condition(c, 1)), type: "Float64" }),
  },
  argmin: { args: [2, 2], aggregate: true, emit: extremeArgument("arg_min") },
  argmax: { args: [2, 2], aggregate: true, emit: extremeArgument("arg_max") },
  topk: { args: [1, 1], parameters: [0, 1], aggregate: true, emit: topK },
};

function countRows(call: Call): Emitted {
  if (call.distinct && call.args.length === 0) throw new SqlError("count: DISTINCT needs a column");
  const what = call.args.length === 0 ? "*" : distinctWord(call) + call.args[0]!.sql;
  return { sql: cast(`count(${what})`, "UInt64"), type: "UInt64" };
}

const scalars: Record<string, Definition> = {
  intdiv: { args: [2, 2], emit: intDiv },
  // DuckDB's log is to base 10.
  log: { args: [1, 1], emit: (c) => ({ sql: `natural_log(${cast(number(c, 0).sql, "Float64")})`, type: "Float64" }) },
  pow: { args: [2, 2], emit: (c) => ({ sql: `pow(${number(c, 0).sql}, ${number(c, 1).sql})`, type: "Float64" }) },
  round: { args: [1, 2], emit: rounding("round") },
  floor: { args: [1, 2], emit: rounding("floor") },
  ceil: { args: [1, 2], emit: rounding("ceil") },
  if: { args: [3, 3], emit: choose },
  now: { args: [0, 0], emit: (c) => ({ sql: `epoch_to_datetime(${c.now}.0::DOUBLE)`, type: "DateTime" }) },
  todatetime: { args: [1, 2], emit: toDateTime },
  tounixtimestamp: {
    args: [1, 1],
    emit: (c) => ({ sql: cast(`epoch(${time(c, 0).sql})`, "UInt32"), type: "UInt32" }),
  },
  tostartofinterval: { args: [2, 3], emit: toStartOfInterval },
  tostartofminute: {
    args: [1, 1],
    emit: (c) => ({ sql: `date_trunc('minute', ${time(c, 0).sql})`, type: "DateTime" }),
  },
};

const strings: Record<string, Definition> = {
  length: { args: [1, 1], emit: (c) => ({ sql: cast(`length(${string(c, 0).sql})`, "UInt64"), type: "UInt64" }) },
  empty: { args: [1, 1], emit: (c) => ({ sql: `(${string(c, 0).sql} = '')`, type: "UInt8" }) },
  lower: textual("lower"),
  lowerutf8: textual("lower"),
  tolower: textual("lower"),
  upper: textual("upper"),
  upperutf8: textual("upper"),
  toupper: textual("upper"),
  startswith: affix("starts_with"),
  endswith: affix("ends_with"),
  position: {
    args: [2, 2],
    emit: (c) => ({ sql: cast(`instr(${string(c, 1).sql}, ${string(c, 0).sql})`, "UInt64"), type: "UInt64" }),
  },
  substring: { args: [2, 3], emit: substring },
  format: {
    args: [1, 20],
    emit: (c) => ({
      sql: `format(${[string(c, 0).sql, ...c.args.slice(1).map((a) => a.sql)].join(", ")})`,
      type: "String",
    }),
  },
};

const definitions = new Map(Object.entries({ ...aggregates, ...scalars, ...strings }));

/** Types a call and writes it in DuckDB's SQL; an unknown function or wrong arguments are an SqlError. */
export function emitCall(call: Call): Value {
  const definition = definitions.get(call.name.toLowerCase());
  if (!definition) throw new SqlError(`unknown function: ${call.name}`);
  checkCount(`${call.name}: arguments`, call.args.length, definition.args);
  checkCount(`${call.name}: parameters`, call.parameters.length, definition.parameters ?? [0, 0]);
  if (call.distinct && !definition.distinct) throw new SqlError(`${call.name}: DISTINCT is not supported`);
  const nested = call.args.some((value) => value.aggregate);
  if (definition.aggregate && nested)
    throw new SqlError(`${call.name}: aggregate function inside an aggregate function`);
  return { ...definition.emit(call), aggregate: definition.aggregate ?? nested };
}

function checkCount(what: string, count: number, [least, most]: [number, number]): void {
  if (count >= least && count <= most) return;
  throw new SqlError(`${what} given: ${count}, expected: ${least === most ? least : `${least} to ${most}`}`);
}

/** What the emitted SQL calls and DuckDB lacks; quantile_exact_weighted is registered from TypeScript. */
export const macros = [
  "CREATE MACRO natural_log(x) AS CASE WHEN x > 0 THEN ln(x) WHEN x = 0 THEN CAST('-inf' AS DOUBLE) ELSE CAST('nan' AS DOUBLE) END",
  "CREATE MACRO epoch_to_datetime(s) AS make_timestamp(CAST(floor(s) AS BIGINT) * 1000000)",
  `CREATE MACRO text_to_datetime(t) AS CASE WHEN regexp_full_match(t, '[0-9]+')
     THEN make_timestamp(TRY_CAST(t AS BIGINT) * 1000000) ELSE date_trunc('second', CAST(t AS TIMESTAMP)) END`,
  `CREATE MACRO top_k(x, n) AS list_transform(
     list_slice(list_reverse_sort(list_transform(map_entries(histogram(x)), lambda e: {n: e.value, v: e.key})), 1, n), lambda e: e.v)`,
];

/**
 * The value at which the running weight, values ascending, first reaches ceil(level · total weight): ClickHouse's
 * quantileExactWeighted. NaN values are left out, those of weight 0 are not; null without values.
 */
export function quantileExactWeighted(level: number, values: number[], weights: number[]): number | null {
  const pairs = values.map((value, i) => ({ value, weight: weights[i]! }));
  const usable = pairs.filter(({ value }) => !Number.isNaN(value));
  usable.sort((a, b) => a.value - b.value);
  const threshold = Math.ceil(usable.reduce((total, pair) => total + pair.weight, 0) * level);
  let reached = 0;
  for (const { value, weight } of usable) {
    reached += weight;
    if (reached >= threshold) return value;
  }
  return usable.at(-1)?.value ?? null;
}
