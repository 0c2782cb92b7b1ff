// One try at an upstream.

import { Failure } from "./columns.ts";
import { log } from "./env.ts";
import type { Passage } from "./passage.ts";

/** The upstream's answer, or why there is none. */
export interface Attempt {
  response?: Response;
  failure: Failure;
  call: AbortController; // ends the answer
}

/** On what terms an upstream is asked. */
export interface Terms {
  limitMS: number; // until the answer begins, or all of it if `then` awaits that; 0: no limit
  encoded: boolean; // compressed bytes stay as they are
}

export const plainTerms: Terms = { limitMS: 0, encoded: false };

/** Cloudflare would keep what a URL's ending takes for a picture, for whoever asks next. */
const uncached: RequestInitCfProperties = { cacheTtlByStatus: { "100-599": -1 } };

/** Asks an upstream and waits for its answer's head, and for what then awaits of the rest. */
export async function ask(
  p: Passage,
  to: string,
  headers: Headers,
  body: BodyInit | null,
  { limitMS, encoded }: Terms = plainTerms,
  then?: (response: Response) => Promise<void>,
): Promise<Attempt> {
  const { method } = p.request;
  const call = new AbortController();
  p.call = call;
  p.asked = true;
  if (p.gone) call.abort();
  let late = false;
  let answers = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = () => {
    timer = setTimeout(() => {
      if (p.body.isAwaited) return wait(); // a slow client is not the upstream's fault
      late = true;
      call.abort();
    }, limitMS);
  };
  if (limitMS > 0) wait();
  try {
    const encodeResponseBody = encoded ? "manual" : "automatic";
    const init: RequestInit = { headers, redirect: "manual", signal: call.signal, encodeResponseBody, cf: uncached };
    const rarely = body !== null && (method === "GET" || method === "HEAD");
    const response = rarely
      ? await fetch(new Request(to, p.request), init) // workerd copies it, but would not make it
      : await fetch(to, { ...init, method, body });
    if (p.body.refusal) throw p.body.refusal; // the upstream answers a body that was cut
    answers = true;
    if (response.status > 599) throw new Error(`status ${response.status}`); // no answer can be made of it
    await then?.(response);
    return { response, failure: Failure.none, call };
  } catch (error) {
    if (p.body.refusal) {
      call.abort();
      throw p.body.refusal;
    }
    return { failure: await failureOf(p, error, { late, answers }), call };
  } finally {
    if (timer !== undefined) clearTimeout(timer);
  }
}

/**
 * Has the upstream that is being asked know when the client goes away. The work
 * goes on to its end all the same: what it holds is given back, and it is recorded.
 */
export function followClient(p: Passage, work?: Promise<unknown>): void {
  p.request.signal.addEventListener("abort", () => {
    p.gone = true;
    p.call?.abort();
    if (work) p.ctx.waitUntil(work.catch(() => undefined));
  });
}

async function failureOf(
  p: Passage,
  error: unknown,
  { late, answers }: { late: boolean; answers: boolean },
): Promise<Failure> {
  if (late) return Failure.timeout;
  await turn(); // a client that went away ends its body before it is known to be gone
  if (p.gone) return Failure.clientGone;
  // A URL that cannot be asked is found before anything is sent; the text would hold it.
  const isWrongURL = error instanceof TypeError && !answers;
  log("upstream", { error: isWrongURL ? error.name : String(error), trace: p.trace.id });
  // What workerd says of a refused connection it says of a reset one too.
  return isWrongURL ? Failure.connect : Failure.reset;
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
