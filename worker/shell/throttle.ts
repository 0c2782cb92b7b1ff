// How long a throttled client should wait, in the header that clients look at.

import { wholeBytes } from "./core.ts";
import { lengthOf } from "./watch.ts";

const resets = /resets in ~?(\d+(?:\.\d+)?) ?s/;

/** The seconds to wait that a 429 names elsewhere than in retry-after, or undefined. body is its text. */
export function waitOf(headers: Headers, body: string): number | undefined {
  if (headers.has("retry-after")) return undefined;
  const found = headers.get("ratelimit-reset") ?? memberOf(body) ?? resets.exec(body)?.[1];
  const seconds = Math.ceil(Number(found ?? NaN));
  return seconds >= 0 ? seconds : undefined;
}

function memberOf(body: string): unknown {
  try {
    return (JSON.parse(body) as { retry_after?: unknown } | null)?.retry_after ?? undefined;
  } catch {
    return undefined;
  }
}

/** Adds retry-after to a 429 that has none. A small answer is read for it; bytes are its body if it was. */
export async function withWait(response: Response, bytes?: ArrayBuffer): Promise<Response> {
  if (response.status !== 429 || response.headers.has("retry-after")) return response;
  const isSmall = lengthOf(response.headers) <= wholeBytes;
  const copy = bytes ?? (isSmall ? await response.clone().arrayBuffer() : new ArrayBuffer());
  const wait = waitOf(response.headers, new TextDecoder().decode(copy));
  if (wait === undefined) return response;
  const changed = new Response(bytes ?? response.body, response);
  changed.headers.set("retry-after", String(wait));
  return changed;
}
