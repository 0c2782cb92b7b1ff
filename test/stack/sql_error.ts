/** A statement that Analytics Engine would refuse: answered as 422 with this text. */
export class SqlError extends Error {}

/** What Analytics Engine says of any column it cannot type: unknown, never written, or without a matching row. */
export function untypedColumn(name: string): SqlError {
  return new SqlError(`unable to find type of column: ${name}`);
}
