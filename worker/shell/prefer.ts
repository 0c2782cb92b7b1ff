// How long a client would wait for a prediction's end.

const defaultS = 60; // as Replicate's

/** The seconds that a Prefer header asks to wait, or undefined. */
export function waitS(headers: Headers): number | undefined {
  const found = /(?:^|[,;\s])wait(?:\s*=\s*"?(\d+))?/i.exec(headers.get("prefer") ?? "");
  return found ? Number(found[1] ?? defaultS) : undefined;
}
