// Answers' bodies on their way to the client, and how they end.

import { isEventStream, passEvents } from "./events.ts";
import type { Passage } from "./passage.ts";
import type { Listener } from "./sse.ts";
import { lengthOf, watch } from "./watch.ts";

/** How an answer's body ended. */
export interface Ending {
  how: "whole" | "cut" | "gone"; // gone: the client
  listener?: Listener; // of an event stream
}

export interface Delivery {
  isWhole: boolean; // nothing of the body is still to come
  idleMS: number; // between two chunks of an event stream
  needsDone: boolean; // an event stream must end with a done event
  detail: string; // of the error where an event stream breaks off
  ended(ending: Ending): void; // once, behind the answer's back
}

/** The answer with a body whose end is told. */
export function deliver(p: Passage, response: Response, delivery: Delivery): Response {
  const { isWhole, ended } = delivery;
  if (isWhole || response.body === null) {
    ended({ how: "whole" });
    return response;
  }
  const isEncoded = response.headers.has("content-encoding");
  if (isEventStream(response) && !(isEncoded && p.isEncoded)) return deliverEvents(p, response, delivery);
  const { body, ended: end } = watch(response.body, isEncoded && !p.isEncoded ? NaN : lengthOf(response.headers));
  p.ctx.waitUntil(end.then((how) => ended({ how: how === "whole" ? how : p.gone ? "gone" : "cut" })));
  return new Response(body, response);
}

function deliverEvents(p: Passage, response: Response, { ended, ...terms }: Delivery): Response {
  const { call } = p;
  let resolve: (ending: Ending) => void = () => undefined;
  p.ctx.waitUntil(new Promise<Ending>((settle) => (resolve = settle)).then(ended));
  const body = passEvents(response.body as ReadableStream<Uint8Array>, {
    ...terms,
    stop: () => call?.abort(),
    // A client that goes away ends the upstream's answer before anybody cancels the stream.
    ended: (end) => resolve(end.how === "cut" && p.gone ? { ...end, how: "gone" } : end),
  });
  const changed = new Response(body, response);
  for (const name of ["content-encoding", "content-length"]) changed.headers.delete(name);
  return changed;
}
