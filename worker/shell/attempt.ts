// One try at an upstream.

import { Failure } from "./columns.ts";
import { log } from "./env.ts";
import type { Passage } from "./passage.ts";

/** The upstream's answer, or why there is none. */
export interface Attempt {
  response?: Response;
  failure: number;
}

export async function ask(p: Passage, to: string, headers: Headers, body: BodyInit | null): Promise<Attempt> {
  const { request } = p;
  const { method } = request;
  p.asked = true;
  try {
    const rarely = body !== null && (method === "GET" || method === "HEAD");
    const response = rarely
      ? await fetch(new Request(to, request), { headers, redirect: "manual" }) // workerd copies it, but would not make it
      : await fetch(to, { method, headers, body, redirect: "manual" });
    return { response, failure: Failure.none };
  } catch (error) {
    log("upstream", { error: String(error) });
    return { failure: request.signal.aborted ? Failure.clientGone : Failure.connect };
  }
}
