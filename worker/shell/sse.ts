// Server-sent events as bytes: whole events are told from half ones, and what
// they say is noticed.

import { createParser } from "eventsource-parser";
import { Ended } from "./columns.ts";

/** The largest event that is held back until it is whole, in bytes. */
export const maxEventBytes = 256 << 10;

const LF = 10;
const CR = 13;

/** Holds events back until they are whole. One that is larger than maxEventBytes passes as it comes. */
export class Events {
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #isBlank = true; // the line so far
  #afterCR = false;
  #passing = false; // part of the event under way has gone out

  /** What may go out now. */
  push(chunk: Uint8Array): Uint8Array[] {
    const end = this.#lastEnd(chunk);
    if (end > 0) {
      const out = [...this.take(), chunk.subarray(0, end)];
      this.#passing = false;
      this.#hold(chunk.subarray(end));
      return out;
    }
    this.#hold(chunk);
    if (this.#passing || this.#heldBytes > maxEventBytes) {
      this.#passing = true;
      return this.take();
    }
    return [];
  }

  /** Whether only part of an event has gone out. */
  get isAmidEvent(): boolean {
    return this.#passing;
  }

  /** Whether part of an event is held. */
  get isHolding(): boolean {
    return this.#heldBytes > 0;
  }

  /** Whether what is held or passing ends with a line. */
  get isAtLine(): boolean {
    return this.#isBlank;
  }

  /** What is held. */
  take(): Uint8Array[] {
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    return held;
  }

  #hold(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
  }

  /** Where the last event that ends in the chunk does, or 0. An event ends with an empty line. */
  #lastEnd(chunk: Uint8Array): number {
    let end = 0;
    for (let i = 0; i < chunk.length; i++) {
      const c = chunk[i];
      if (c === LF && this.#afterCR) {
        this.#afterCR = false;
        if (i > 0 && end === i) end++;
        continue;
      }
      this.#afterCR = c === CR;
      const isBreak = c === LF || c === CR;
      if (isBreak && this.#isBlank) end = i + 1;
      this.#isBlank = isBreak;
    }
    return end;
  }
}

/** What a stream's events have said. Times are in epoch milliseconds. */
export class Listener {
  /** How the prediction ended, by its done and error events. */
  ended: Ended | "" = "";
  /** A done event has come. */
  done = false;
  firstOutputAt = 0;
  #firstAt = 0;
  #lastAt = 0;
  #events = 0;
  #isIdle = false; // the newest comment said that the stream ends for want of events
  #now = 0;
  #decoder = new TextDecoder();
  #parser = createParser({
    onEvent: ({ event, data }) => this.#heard(event ?? "", data),
    onComment: (comment) => {
      this.#isIdle = comment.startsWith("408");
    },
  });

  /** Hears whole events. */
  hear(bytes: Uint8Array, now: number): void {
    this.#now = now;
    this.#parser.feed(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Whether the upstream said that it ends the stream for being idle. */
  get isIdle(): boolean {
    return this.#isIdle;
  }

  /** Events in a second, from the first to the last; 0 if there are too few to tell. */
  get eventsPerSecond(): number {
    const took = this.#lastAt - this.#firstAt;
    return took > 0 ? ((this.#events - 1) * 1_000) / took : 0;
  }

  #heard(event: string, data: string): void {
    this.#isIdle = false;
    if (event === "done") {
      this.done = true;
      const reason = reasonOf(data);
      if (reason === "canceled") this.ended = Ended.canceled;
      else if (reason === "error") this.ended = Ended.failed;
      else if (this.ended === "") this.ended = Ended.succeeded;
      return;
    }
    if (event === "error") {
      this.ended = Ended.failed;
      return;
    }
    this.firstOutputAt ||= this.#now;
    this.#firstAt ||= this.#now;
    this.#lastAt = this.#now;
    this.#events++;
  }
}

function reasonOf(data: string): unknown {
  try {
    return (JSON.parse(data) as { reason?: unknown } | null)?.reason;
  } catch {
    return undefined;
  }
}
