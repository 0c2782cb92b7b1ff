// Event streams on their way to the client: whole events as they complete, and
// an error event where the stream breaks off or stalls.

import { join } from "./bytes.ts";
import { Events, Listener } from "./sse.ts";

/** How an event stream ended. */
export interface StreamEnd {
  listener: Listener;
  how: "whole" | "cut" | "gone"; // gone: the client
}

export interface StreamTerms {
  idleMS: number; // between two chunks, until the stream counts as stalled
  detail: string; // of the error event
  needsDone: boolean; // a stream without a done event is cut
  stop(): void; // cancels the upstream's answer
  ended(end: StreamEnd): void; // once
}

export const isEventStream = (response: Response) =>
  /^text\/event-stream *(;|$)/i.test(response.headers.get("content-type") ?? "");

/** A stream of the same events. */
export function passEvents(from: ReadableStream<Uint8Array>, terms: StreamTerms): ReadableStream<Uint8Array> {
  const passing = new Passing(from, terms);
  return new ReadableStream(
    { pull: (to) => passing.pull(to), cancel: (reason) => passing.cancel(reason) },
    { highWaterMark: 0 },
  );
}

class Passing {
  #events = new Events();
  #listener = new Listener();
  #reader: ReadableStreamDefaultReader<Uint8Array>;
  #waitingSince = 0;
  #stalled = false;
  #timer: ReturnType<typeof setTimeout>;

  readonly #terms: StreamTerms;

  constructor(from: ReadableStream<Uint8Array>, terms: StreamTerms) {
    this.#terms = terms;
    this.#reader = from.getReader();
    this.#timer = setTimeout(() => this.#look(), terms.idleMS);
  }

  async pull(to: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    try {
      for (;;) {
        this.#waitingSince = Date.now();
        const { done, value } = await this.#reader.read();
        this.#waitingSince = 0;
        if (done) return this.#finish(to);
        const out = this.#events.push(value);
        if (out.length === 0) continue;
        const bytes = join(out);
        if (!this.#events.isAmidEvent) this.#listener.hear(bytes, Date.now());
        return to.enqueue(bytes);
      }
    } catch {
      this.#break(to);
    }
  }

  cancel(reason: unknown): Promise<void> {
    this.#end("gone");
    return this.#reader.cancel(reason);
  }

  /** One timer for the stream: it looks again when the newest chunk would be too old. */
  #look(): void {
    const { idleMS, stop } = this.#terms;
    const waited = this.#waitingSince === 0 ? 0 : Date.now() - this.#waitingSince;
    this.#stalled = waited >= idleMS;
    if (this.#stalled) stop();
    else this.#timer = setTimeout(() => this.#look(), idleMS - waited);
  }

  /** The upstream has ended its answer. */
  #finish(to: ReadableStreamDefaultController<Uint8Array>): void {
    const { needsDone } = this.#terms;
    const events = this.#events;
    // Sloppy servers end without the empty line; within a line, nobody meant to end.
    const isCut = this.#stalled || !events.isAtLine || (needsDone && !this.#listener.done && !this.#listener.isIdle);
    if (isCut) return this.#break(to);
    if (events.isHolding) to.enqueue(join(events.take()));
    to.close();
    this.#end("whole");
  }

  /** Nothing more comes, and something was to. Half an event must not be taken for a whole one. */
  #break(to: ReadableStreamDefaultController<Uint8Array>): void {
    const { detail, stop } = this.#terms;
    this.#end("cut");
    stop();
    if (this.#events.isAmidEvent) return to.error(new Error(detail));
    to.enqueue(new TextEncoder().encode(`event: error\ndata: ${JSON.stringify({ detail })}\n\n`));
    to.close();
  }

  #end(how: StreamEnd["how"]): void {
    clearTimeout(this.#timer);
    this.#terms.ended({ listener: this.#listener, how });
  }
}
