// Requests to and answers from upstreams.

import { Endpoint } from "./core.ts";
import type { Target } from "./core.ts";

/** A request's identity in traces: W3C Trace Context. */
export interface Trace {
  id: string; // 32 hexadecimal digits
  parent: string; // the traceparent to send on
}

const traceparent = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The client's trace, or a new one. */
export function traceOf(request: Request): Trace {
  const parent = request.headers.get("traceparent") ?? "";
  const id = traceparent.exec(parent)?.[1];
  if (id) return { id, parent };
  const fresh = crypto.randomUUID().replaceAll("-", "");
  return { id: fresh, parent: `00-${fresh}-${fresh.slice(16)}-01` };
}

/** A URL's query as it came: an empty one keeps its question mark. */
export const queryOf = (url: URL) => url.search || (url.href.endsWith("?") ? "?" : "");

/** Where a target answers a request. */
export function targetURL(target: Target, endpoint: number, base: string, rest: string, query: string): string {
  if (endpoint === Endpoint.http) return target.url.replace(/\/$/, "") + rest + query;
  return (target.url || base + target.path) + query;
}

const ownHeader = /^x[-_]perch[-_]/; // some servers take the one for the other

/** The client's headers without what is between it and Perch. */
export function requestHeaders(request: Request, trace: Trace): Headers {
  const headers = new Headers(request.headers);
  for (const name of [...headers.keys()]) if (ownHeader.test(name)) headers.delete(name);
  headers.set("traceparent", trace.parent);
  return headers;
}

/** An error of Perch's own, in the form that Replicate's have. */
export function problem(status: number, title: string, detail: string): Response {
  return Response.json(
    { title, detail, status },
    { status, headers: { "content-type": "application/problem+json", "x-perch-served-by": "perch" } },
  );
}

/** Sets Perch's own headers on an answer; an upstream has no say in them. */
export function setOwn(headers: Headers, own: Record<string, string>): void {
  for (const name of [...headers.keys()]) if (name.startsWith("x-perch-")) headers.delete(name);
  for (const name in own) headers.set(name, own[name] ?? "");
}
