// How Perch says no.

import { problem } from "./upstream.ts";
import type { Trace } from "./upstream.ts";

const titles: Record<number, string> = {
  400: "Bad request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not found",
  405: "Method not allowed",
  413: "Content too large",
  415: "Unsupported media type",
  429: "Too many requests",
  503: "Unavailable",
};

/** A request that goes no further. The message tells the client why, and no secret. */
export class Refusal extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, detail: string, headers: Record<string, string> = {}) {
    super(detail);
    this.status = status;
    this.headers = headers;
  }

  response(trace: Trace): Response {
    const response = problem(this.status, titles[this.status] ?? "Refused", this.message);
    const headers = { ...this.headers, "x-perch-trace": trace.id };
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
    return response;
  }
}
