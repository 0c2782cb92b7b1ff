import { SqlError, untypedColumn } from "./sql_error.ts";
import { cast, commonNumber, emitCall, isInteger, isNumber, type Type, type Value } from "./sql_functions.ts";
import { parse, type Expression, type Select, type SelectItem } from "./sql_parse.ts";

/** A data set as the translation needs it. */
export interface Table {
  /** A relation in DuckDB's SQL that yields the columns. */
  sql: string;
  /** The columns ever written, in the order of `SELECT *`. */
  columns: Map<string, Type>;
}

export interface Column {
  name: string;
  type: Type;
}

export interface Translation {
  sql: string;
  columns: Column[];
  /** Queries that must yield a row; where one yields none, the columns named cannot be typed. */
  needRows: { sql: string; column: string }[];
}

/**
 * Translates one statement of Analytics Engine's SQL to DuckDB's. `table` answers undefined for a data set never
 * written, `now` is in whole seconds since 1970. Whatever the dialect does not have is an SqlError.
 */
export function translate(statement: string, table: (name: string) => Table | undefined, now: number): Translation {
  const needRows: Translation["needRows"] = [];
  const emitted = new Translator(table, now, needRows).select(parse(statement));
  return { ...emitted, needRows };
}

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;
const text = (value: string) => `'${value.replaceAll("'", "''")}'`;

class Translator {
  private readonly table: (name: string) => Table | undefined;
  private readonly now: number;
  private readonly needRows: Translation["needRows"];

  constructor(table: (name: string) => Table | undefined, now: number, needRows: Translation["needRows"]) {
    this.table = table;
    this.now = now;
    this.needRows = needRows;
  }

  select(select: Select): { sql: string; columns: Column[] } {
    const source = this.source(select.from);
    const items = expandStar(select.items, source.columns);
    const scope = new Scope(source.columns, items, this.now);
    const values = items.map((item) => scope.item(item));
    const group = select.group.map((expression) => scope.emit(expression).sql);
    const having = select.having && scope.emit(select.having).sql;
    const named = [...scope.named];
    const where = select.where && scope.emit(select.where);
    if (where?.aggregate) throw new SqlError("aggregate function in WHERE: use HAVING");
    const filter = where ? ` WHERE ${where.sql}` : "";
    if (source.missing) throw untypedColumn("_sample_interval");
    if (source.isTable && named.length) {
      this.needRows.push({ sql: `SELECT 1 FROM ${source.sql}${filter} LIMIT 1`, column: named[0]! });
    }
    const list = values.map((value, i) => `${value.sql} AS ${quote(items[i]!.name)}`).join(", ");
    const sql = [
      `SELECT ${list}${source.sql ? ` FROM ${source.sql}` : ""}${filter}`,
      group.length ? `GROUP BY ${group.join(", ")}` : "",
      having ? `HAVING ${having}` : "",
      this.orderBy(select, items, values),
      select.limit === null ? "" : `LIMIT ${select.limit}`,
      select.offset === null ? "" : `OFFSET ${select.offset}`,
    ];
    const columns = values.map((value, i) => ({ name: items[i]!.name, type: value.type }));
    return { sql: sql.filter(Boolean).join(" "), columns };
  }

  private source(from: Select["from"]): {
    sql: string;
    columns: Map<string, Type>;
    isTable: boolean;
    missing: boolean;
  } {
    if (from === null) return { sql: "", columns: new Map(), isTable: false, missing: false };
    if (typeof from !== "string") {
      const inner = this.select(from);
      const columns = new Map(inner.columns.map(({ name, type }) => [name, type]));
      return { sql: `(${inner.sql})`, columns, isTable: false, missing: false };
    }
    const table = this.table(from);
    if (!table) return { sql: "", columns: new Map(), isTable: true, missing: true };
    return { ...table, isTable: true, missing: false };
  }

  // ORDER BY sees the columns of the answer and nothing else, as the real one does.
  private orderBy(select: Select, items: SelectItem[], values: Value[]): string {
    if (!select.order.length) return "";
    const outputs = new Map(items.map((item, i) => [item.name, values[i]!.type]));
    const scope = new Scope(outputs, [], this.now);
    const keys = select.order.map(({ expression, descending }) => {
      if (expression.kind === "number") throw new SqlError("unsupported: ORDER BY a position, name the column");
      return `${scope.emit(expression).sql} ${descending ? "DESC" : "ASC"}`;
    });
    return `ORDER BY ${keys.join(", ")}`;
  }
}

function expandStar(items: SelectItem[], columns: Map<string, Type>): SelectItem[] {
  return items.flatMap((item) => {
    if (item.expression.kind !== "star") return [item];
    return [...columns.keys()].map((name) => ({ expression: { kind: "name", name } as const, name, aliased: false }));
  });
}

/** Types and writes expressions over some columns; an alias of the SELECT list stands for its expression. */
class Scope {
  /** The source's columns that were read. */
  readonly named = new Set<string>();
  private readonly columns: Map<string, Type>;
  private readonly aliases: Map<string, Expression>;
  private readonly now: number;
  private readonly expanding = new Set<string>();

  constructor(columns: Map<string, Type>, items: SelectItem[], now: number) {
    this.columns = columns;
    this.aliases = new Map(items.filter((item) => item.aliased).map((item) => [item.name, item.expression]));
    this.now = now;
  }

  item(item: SelectItem): Value {
    if (!item.aliased) return this.emit(item.expression);
    this.expanding.add(item.name);
    const value = this.emit(item.expression);
    this.expanding.delete(item.name);
    return value;
  }

  emit(expression: Expression): Value {
    switch (expression.kind) {
      case "number":
        return numberLiteral(expression.text);
      case "string":
        return { sql: text(expression.value), type: "String", aggregate: false, literal: expression.value };
      case "bool":
        return { sql: String(expression.value), type: "UInt8", aggregate: false };
      case "interval":
        return { sql: `INTERVAL ${expression.count} ${expression.unit}`, type: "Interval", aggregate: false };
      case "name":
        return this.name(expression.name);
      case "star":
        throw new SqlError("* stands alone in a SELECT list or in count(*)");
      case "call":
        return this.call(expression);
      case "unary":
        return unary(expression.op, this.emit(expression.of));
      case "binary":
        return binary(expression.op, this.emit(expression.left), this.emit(expression.right));
      case "in":
        return membership(
          expression.not,
          this.emit(expression.of),
          expression.list.map((e) => this.emit(e)),
        );
      case "between":
        return between(expression.not, this.emit(expression.of), this.emit(expression.low), this.emit(expression.high));
    }
  }

  private name(name: string): Value {
    const alias = this.aliases.get(name);
    if (alias && !this.expanding.has(name)) {
      const value = this.item({ expression: alias, name, aliased: true });
      return { ...value, sql: `(${value.sql})` };
    }
    const type = this.columns.get(name);
    if (!type) throw untypedColumn(name);
    this.named.add(name);
    return { sql: quote(name), type, aggregate: false };
  }

  private call(call: Expression & { kind: "call" }): Value {
    const star = call.args.length === 1 && call.args[0]!.kind === "star";
    if (star && call.name.toLowerCase() !== "count") throw new SqlError(`${call.name}: * is not supported`);
    const args = star ? [] : call.args.map((argument) => this.emit(argument));
    const parameters = call.parameters.map((parameter) => this.emit(parameter));
    return emitCall({ name: call.name, parameters, args, distinct: call.distinct, now: this.now });
  }
}

function numberLiteral(literal: string): Value {
  if (!/^\d+$/.test(literal)) return { sql: `CAST(${literal} AS DOUBLE)`, type: "Float64", aggregate: false, literal };
  const value = BigInt(literal);
  const type = value < 256n ? "UInt8" : value < 1n << 32n ? "UInt32" : "UInt64";
  return { sql: cast(literal, type), type, aggregate: false, literal };
}

function unary(op: "-" | "NOT", value: Value): Value {
  const { aggregate } = value;
  if (op === "NOT") {
    if (value.type !== "UInt8") throw new SqlError(`NOT: ${value.type} is no condition`);
    return { sql: `(NOT ${value.sql})`, type: "UInt8", aggregate };
  }
  if (!isNumber(value.type)) throw new SqlError(`-: ${value.type} is no number`);
  const type = value.type === "Float64" ? "Float64" : "Int64";
  return { sql: `(- ${cast(value.sql, type)})`, type, aggregate, literal: value.literal && `-${value.literal}` };
}

function binary(op: string, left: Value, right: Value): Value {
  const aggregate = left.aggregate || right.aggregate;
  if (op === "AND" || op === "OR") {
    for (const { type } of [left, right]) if (type !== "UInt8") throw new SqlError(`${op}: ${type} is no condition`);
    return { sql: `(${left.sql} ${op} ${right.sql})`, type: "UInt8", aggregate };
  }
  if (op === "LIKE" || op === "ILIKE") {
    for (const { type } of [left, right]) if (type !== "String") throw new SqlError(`${op}: ${type} is no string`);
    return { sql: `(${left.sql} ${op} ${right.sql})`, type: "UInt8", aggregate };
  }
  if (["=", "<>", "<", ">", "<=", ">="].includes(op)) {
    comparable(op, left, right);
    return { sql: `(${left.sql} ${op} ${right.sql})`, type: "UInt8", aggregate };
  }
  return { ...arithmetic(op, left, right), aggregate };
}

function arithmetic(op: string, left: Value, right: Value): { sql: string; type: Type } {
  if (left.type === "DateTime" && right.type === "Interval" && (op === "+" || op === "-")) {
    return { sql: `(${left.sql} ${op} ${right.sql})`, type: "DateTime" };
  }
  if (left.type === "DateTime" && right.type === "DateTime" && op === "-") {
    return { sql: cast(`(epoch(${left.sql}) - epoch(${right.sql}))`, "Int64"), type: "Int64" };
  }
  if (!isNumber(left.type) || !isNumber(right.type)) {
    throw new SqlError(`${op}: cannot be applied to ${left.type} and ${right.type}`);
  }
  let type: Type = "Float64";
  if (op !== "/" && isInteger(left.type) && isInteger(right.type)) {
    const common = commonNumber(left.type, right.type);
    type = op === "-" || common === "Int64" ? "Int64" : "UInt64";
  }
  return { sql: `(${cast(left.sql, type)} ${op} ${cast(right.sql, type)})`, type };
}

function comparable(op: string, left: Value, right: Value): void {
  if (left.type === right.type || (isNumber(left.type) && isNumber(right.type))) return;
  const hint = [left.type, right.type].includes("DateTime") ? ": use toDateTime" : "";
  throw new SqlError(`${op}: cannot compare ${left.type} and ${right.type}${hint}`);
}

function membership(not: boolean, value: Value, list: Value[]): Value {
  for (const element of list) comparable("IN", value, element);
  const sql = `(${value.sql} ${not ? "NOT " : ""}IN (${list.map((element) => element.sql).join(", ")}))`;
  return { sql, type: "UInt8", aggregate: [value, ...list].some((each) => each.aggregate) };
}

function between(not: boolean, value: Value, low: Value, high: Value): Value {
  for (const bound of [low, high]) comparable("BETWEEN", value, bound);
  const sql = `(${value.sql} ${not ? "NOT " : ""}BETWEEN ${low.sql} AND ${high.sql})`;
  return { sql, type: "UInt8", aggregate: [value, low, high].some((each) => each.aggregate) };
}
