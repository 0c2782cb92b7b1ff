import { SqlError } from "./sql_error.ts";
import { tokenize, type Token } from "./sql_tokens.ts";

export type Expression =
  | { kind: "number"; text: string }
  | { kind: "string"; value: string }
  | { kind: "bool"; value: boolean }
  | { kind: "interval"; count: number; unit: string }
  | { kind: "name"; name: string }
  | { kind: "star" }
  | { kind: "call"; name: string; parameters: Expression[]; args: Expression[]; distinct: boolean }
  | { kind: "unary"; op: "-" | "NOT"; of: Expression }
  | { kind: "binary"; op: string; left: Expression; right: Expression }
  | { kind: "in"; not: boolean; of: Expression; list: Expression[] }
  | { kind: "between"; not: boolean; of: Expression; low: Expression; high: Expression };

export interface SelectItem {
  expression: Expression;
  /** The column's name in the answer: the alias, or the expression as written. */
  name: string;
  aliased: boolean;
}

export interface Select {
  items: SelectItem[];
  from: string | Select | null;
  where: Expression | null;
  group: Expression[];
  having: Expression | null;
  order: { expression: Expression; descending: boolean }[];
  limit: number | null;
  offset: number | null;
}

const units = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"];
const reserved = new Set(
  "SELECT FROM WHERE GROUP HAVING ORDER LIMIT OFFSET FORMAT AS AND OR NOT IN BETWEEN LIKE ILIKE BY UNION JOIN".split(
    " ",
  ),
);

const isReserved = (token: Token) => reserved.has(token.text.toUpperCase());

/** Parses one statement of Analytics Engine's dialect; anything outside it is an SqlError. */
export function parse(statement: string): Select {
  return new Parser(statement).statement();
}

class Parser {
  private readonly source: string;
  private readonly tokens: Token[];
  private at = 0;

  constructor(source: string) {
    this.source = source;
    this.tokens = tokenize(source);
  }

  statement(): Select {
    const select = this.select();
    if (this.takeWord("FORMAT")) {
      const format = this.take("name").text;
      if (format.toUpperCase() !== "JSON")
        throw new SqlError(`unsupported format ${format}: only JSON is answered here`);
    }
    this.takeSymbol(";");
    if (this.peek().kind !== "end") throw this.unexpected("end of statement");
    return select;
  }

  private select(): Select {
    this.expectWord("SELECT");
    if (this.isWord("DISTINCT")) throw new SqlError("unsupported: SELECT DISTINCT");
    const items = this.list(() => this.item());
    const from = this.takeWord("FROM") ? this.from() : null;
    const where = this.takeWord("WHERE") ? this.expression() : null;
    let group: Expression[] = [];
    if (this.takeWord("GROUP")) {
      this.expectWord("BY");
      group = this.list(() => this.expression());
    }
    const having = this.takeWord("HAVING") ? this.expression() : null;
    const order = this.orderBy();
    const limit = this.takeWord("LIMIT") ? this.limit() : null;
    const offset = this.takeWord("OFFSET") ? this.count() : null;
    return { items, from, where, group, having, order, limit, offset };
  }

  private item(): SelectItem {
    const start = this.peek().start;
    const expression = this.takeSymbol("*") ? ({ kind: "star" } as const) : this.expression();
    const name = this.source.slice(start, this.tokens[this.at - 1]!.end);
    if (this.takeWord("AS")) return { expression, name: this.identifier(), aliased: true };
    return { expression, name: expression.kind === "name" ? expression.name : name, aliased: false };
  }

  private from(): string | Select {
    let source: string | Select;
    if (this.takeSymbol("(")) {
      source = this.select();
      this.expectSymbol(")");
      if (this.takeWord("AS")) this.identifier();
    } else {
      source = this.identifier();
    }
    for (const word of ["JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "ANY", "UNION"]) {
      if (this.isWord(word)) throw new SqlError(`unsupported: ${word === "UNION" ? "UNION" : "JOIN"}`);
    }
    if (this.isSymbol(",")) throw new SqlError("unsupported: JOIN (only one table can be queried)");
    return source;
  }

  private orderBy(): Select["order"] {
    if (!this.takeWord("ORDER")) return [];
    this.expectWord("BY");
    return this.list(() => {
      const expression = this.expression();
      const descending = this.takeWord("DESC");
      if (!descending) this.takeWord("ASC");
      return { expression, descending };
    });
  }

  private limit(): number | null {
    return this.takeWord("ALL") ? null : this.count();
  }

  private count(): number {
    const { text } = this.take("number");
    if (!/^\d+$/.test(text)) throw new SqlError(`sql parser error: expected a whole number, found ${text}`);
    return Number(text);
  }

  private expression(): Expression {
    return this.binaryWords("OR", () => this.binaryWords("AND", () => this.negation()));
  }

  private binaryWords(op: string, operand: () => Expression): Expression {
    let left = operand();
    while (this.takeWord(op)) left = { kind: "binary", op, left, right: operand() };
    return left;
  }

  private negation(): Expression {
    if (this.takeWord("NOT")) return { kind: "unary", op: "NOT", of: this.negation() };
    return this.comparison();
  }

  private comparison(): Expression {
    const left = this.sum();
    for (const op of ["=", "<>", "!=", "<=", ">=", "<", ">"]) {
      if (this.takeSymbol(op)) return { kind: "binary", op: op === "!=" ? "<>" : op, left, right: this.sum() };
    }
    const not = this.isWord("NOT") && this.takeWord("NOT");
    for (const op of ["LIKE", "ILIKE"]) {
      if (!this.takeWord(op)) continue;
      const like: Expression = { kind: "binary", op, left, right: this.sum() };
      return not ? { kind: "unary", op: "NOT", of: like } : like;
    }
    if (this.takeWord("IN")) return { kind: "in", not, of: left, list: this.parenthesized(() => this.expression()) };
    if (this.takeWord("BETWEEN")) {
      const low = this.sum();
      this.expectWord("AND");
      return { kind: "between", not, of: left, low, high: this.sum() };
    }
    if (not) throw this.unexpected("IN, BETWEEN or LIKE");
    return left;
  }

  private sum(): Expression {
    return this.binarySymbols(["+", "-"], () => this.binarySymbols(["*", "/", "%"], () => this.unary()));
  }

  private binarySymbols(ops: string[], operand: () => Expression): Expression {
    let left = operand();
    for (;;) {
      const op = ops.find((symbol) => this.takeSymbol(symbol));
      if (!op) return left;
      left = { kind: "binary", op, left, right: operand() };
    }
  }

  private unary(): Expression {
    if (this.takeSymbol("-")) return { kind: "unary", op: "-", of: this.unary() };
    return this.primary();
  }

  private primary(): Expression {
    const token = this.peek();
    if (this.takeSymbol("(")) {
      const inner = this.expression();
      this.expectSymbol(")");
      return inner;
    }
    if (token.kind === "number") return { kind: "number", text: this.take("number").text };
    if (token.kind === "string") return { kind: "string", value: this.take("string").text };
    if (token.kind === "quoted") return { kind: "name", name: this.take("quoted").text };
    if (this.takeWord("INTERVAL")) return this.interval();
    if (token.kind !== "name") throw this.unexpected("an expression");
    this.at++;
    // format(…) is a function although FORMAT is a clause.
    if (this.isSymbol("(") && (token.text === "format" || !isReserved(token))) return this.call(token.text);
    if (isReserved(token)) {
      this.at--;
      throw this.unexpected("an expression");
    }
    const word = token.text.toLowerCase();
    if (word === "true" || word === "false") return { kind: "bool", value: word === "true" };
    return { kind: "name", name: token.text };
  }

  private interval(): Expression {
    const token = this.peek();
    if (token.kind !== "string")
      throw new SqlError(`sql parser error: write INTERVAL '15' MINUTE, the count in quotes`);
    this.at++;
    const unit = this.take("name").text.toUpperCase();
    if (!units.includes(unit)) throw new SqlError(`unsupported interval unit ${unit}: use ${units.join(", ")}`);
    if (!/^\d+$/.test(token.text))
      throw new SqlError(`sql parser error: interval of '${token.text}' is no whole number`);
    return { kind: "interval", count: Number(token.text), unit };
  }

  private call(name: string): Expression {
    if (name.toLowerCase() === "position") return this.position(name);
    const first = this.callArguments();
    if (!this.isSymbol("(")) return { kind: "call", name, parameters: [], ...first };
    if (first.distinct) throw this.unexpected("an expression");
    return { kind: "call", name, parameters: first.args, ...this.callArguments() };
  }

  private callArguments(): { args: Expression[]; distinct: boolean } {
    this.expectSymbol("(");
    if (this.takeSymbol(")")) return { args: [], distinct: false };
    if (this.takeSymbol("*")) {
      this.expectSymbol(")");
      return { args: [{ kind: "star" }], distinct: false };
    }
    const distinct = this.takeWord("DISTINCT");
    const args = this.list(() => this.expression());
    this.expectSymbol(")");
    return { args, distinct };
  }

  // position('needle' IN haystack) is the one call with its own syntax.
  private position(name: string): Expression {
    this.expectSymbol("(");
    const needle = this.sum();
    this.expectWord("IN");
    const haystack = this.sum();
    this.expectSymbol(")");
    return { kind: "call", name, parameters: [], args: [needle, haystack], distinct: false };
  }

  private parenthesized<T>(element: () => T): T[] {
    this.expectSymbol("(");
    const elements = this.list(element);
    this.expectSymbol(")");
    return elements;
  }

  private list<T>(element: () => T): T[] {
    const elements = [element()];
    while (this.takeSymbol(",")) elements.push(element());
    return elements;
  }

  private identifier(): string {
    const token = this.peek();
    if (token.kind === "quoted") return this.take("quoted").text;
    if (token.kind !== "name" || isReserved(token)) throw this.unexpected("a name");
    return this.take("name").text;
  }

  private peek(): Token {
    return this.tokens[this.at]!;
  }

  private take(kind: Token["kind"]): Token {
    const token = this.peek();
    if (token.kind !== kind) throw this.unexpected(`a ${kind}`);
    this.at++;
    return token;
  }

  private isWord(word: string): boolean {
    const token = this.peek();
    return token.kind === "name" && token.text.toUpperCase() === word;
  }

  private takeWord(word: string): boolean {
    if (!this.isWord(word)) return false;
    this.at++;
    return true;
  }

  private expectWord(word: string): void {
    if (!this.takeWord(word)) throw this.unexpected(word);
  }

  private isSymbol(symbol: string): boolean {
    const token = this.peek();
    return token.kind === "symbol" && token.text === symbol;
  }

  private takeSymbol(symbol: string): boolean {
    if (!this.isSymbol(symbol)) return false;
    this.at++;
    return true;
  }

  private expectSymbol(symbol: string): void {
    if (!this.takeSymbol(symbol)) throw this.unexpected(symbol);
  }

  private unexpected(wanted: string): SqlError {
    if (this.isWord("UNION")) return new SqlError("unsupported: UNION");
    const { text, start } = this.peek();
    return new SqlError(`sql parser error: expected ${wanted}, found ${text} at ${start}`);
  }
}
