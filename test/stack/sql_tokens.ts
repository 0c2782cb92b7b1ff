import { SqlError } from "./sql_error.ts";

export type TokenKind = "name" | "quoted" | "number" | "string" | "symbol" | "end";

export interface Token {
  kind: TokenKind;
  /** The token's value: a string without its quotes, a name as written. */
  text: string;
  /** Offset of the first character in the statement. */
  start: number;
  end: number;
}

const patterns: [TokenKind | "space", RegExp][] = [
  ["space", /(?:\s+|--[^\n]*|\/\*[\s\S]*?\*\/)/y],
  ["number", /(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?/y],
  ["name", /[A-Za-z_][A-Za-z0-9_]*/y],
  ["string", /'(?:[^'\\]|''|\\.)*'/y],
  ["quoted", /"[^"]+"|`[^`]+`/y],
  ["symbol", /<>|!=|<=|>=|[-+*/%=<>(),;]/y],
];

/** Splits a statement into tokens, the last of them of kind "end". */
export function tokenize(statement: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < statement.length) {
    const [kind, raw] = match(statement, at);
    if (kind !== "space") {
      tokens.push({ kind, text: unquote(kind, raw), start: at, end: at + raw.length });
    }
    at += raw.length;
  }
  tokens.push({ kind: "end", text: "end of statement", start: at, end: at });
  return tokens;
}

function match(statement: string, at: number): [TokenKind | "space", string] {
  for (const [kind, pattern] of patterns) {
    pattern.lastIndex = at;
    const found = pattern.exec(statement);
    if (found) return [kind, found[0]];
  }
  throw new SqlError(`sql parser error: unexpected character ${JSON.stringify(statement[at])} at ${at}`);
}

function unquote(kind: TokenKind, raw: string): string {
  if (kind === "quoted") return raw.slice(1, -1);
  if (kind !== "string") return raw;
  return raw.slice(1, -1).replace(/''|\\(.)/g, (_, escaped: string | undefined) => {
    if (escaped === undefined) return "'";
    return ({ n: "\n", t: "\t", r: "\r", "0": "\0" } as Record<string, string>)[escaped] ?? escaped;
  });
}
