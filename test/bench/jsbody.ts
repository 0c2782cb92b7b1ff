// Finds and replaces the top-level "version" of a prediction's JSON while it
// streams past, for well-formed bodies.

import { join } from "../../worker/shell/bytes.ts";
import { Search } from "../../worker/shell/core.ts";
import type { Editor, Finder } from "../../worker/shell/core.ts";

const Event = { none: 0, open: 1, keyStart: 2, keyEnd: 3, valueStart: 4, valueEnd: 5, memberEnd: 6, end: 7 } as const;

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Reads JSON byte by byte and tells what it means for the members of the outermost object. */
class Members {
  #depth = 0;
  #inString = false;
  #isEscaped = false;
  #atKey = false;

  next(c: number): number {
    if (this.#inString) return this.#inText(c);
    switch (c) {
      case quote:
        this.#inString = true;
        if (this.#depth !== 1) return Event.none;
        return this.#atKey ? Event.keyStart : Event.valueStart;
      case 0x7b: // {
      case 0x5b: // [
        if (++this.#depth !== 1) return Event.none;
        this.#atKey = c === 0x7b;
        return this.#atKey ? Event.open : Event.end;
      case 0x7d: // }
      case 0x5d: // ]
        return --this.#depth === 0 ? Event.end : Event.none;
      case comma:
        if (this.#depth !== 1) return Event.none;
        this.#atKey = true;
        return Event.memberEnd;
    }
    return Event.none;
  }

  #inText(c: number): number {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (c === backslash) this.#isEscaped = true;
    else if (c === quote) {
      this.#inString = false;
      if (this.#depth !== 1) return Event.none;
      if (!this.#atKey) return Event.valueEnd;
      this.#atKey = false;
      return Event.keyEnd;
    }
    return Event.none;
  }
}

/** A string of the outermost object, which may come in several chunks. */
class Text {
  #held: Uint8Array[] = [];

  add(bytes: Uint8Array): void {
    this.#held.push(bytes);
  }

  /** The value without its quotes; it is empty again afterwards. */
  take(): string {
    const text = decoder.decode(this.#held.length === 1 ? this.#held[0] : join(this.#held));
    this.#held = [];
    return text.includes("\\") ? (JSON.parse(`"${text}"`) as string) : text;
  }
}

export class JavaScriptFinder implements Finder {
  version = "";
  #members = new Members();
  #text = new Text();
  #inText = false;
  #wanted = false;

  push(chunk: Uint8Array): number {
    let from = 0;
    for (let i = 0; i < chunk.length; i++) {
      const event = this.#members.next(chunk[i]!);
      switch (event) {
        case Event.end:
          return Search.absent;
        case Event.memberEnd:
          if (this.#wanted) return Search.absent; // and no string
          break;
        case Event.keyStart:
          this.#inText = true;
          from = i + 1;
          break;
        case Event.valueStart:
          this.#inText = this.#wanted;
          from = i + 1;
          break;
        case Event.keyEnd:
        case Event.valueEnd:
          if (!this.#inText) break;
          this.#inText = false;
          this.#text.add(chunk.subarray(from, i));
          if (event === Event.keyEnd) this.#wanted = this.#text.take() === "version";
          else this.version = this.#text.take();
          if (event === Event.valueEnd) return Search.found;
      }
    }
    if (this.#inText) this.#text.add(chunk.slice(from));
    return Search.searching;
  }

  close(): void {}
}

const Part = { outside: 0, gap: 1, key: 2, kept: 3, dropped: 4 } as const;

export class JavaScriptEditor implements Editor {
  #members = new Members();
  #text = new Text();
  #part: number = Part.outside;
  #held: Uint8Array[] = []; // the beginning of a key
  #written = false;

  constructor(private readonly version: string) {}

  push(chunk: Uint8Array): Uint8Array {
    const out: Uint8Array[] = [];
    let from = 0; // first byte that was neither written nor dropped
    let textFrom = 0;
    for (let i = 0; i < chunk.length; i++) {
      switch (this.#members.next(chunk[i]!)) {
        case Event.open:
          out.push(chunk.subarray(from, i + 1));
          if (this.version !== "") out.push(encoder.encode(`"version":${JSON.stringify(this.version)}`));
          this.#written = this.version !== "";
          this.#part = Part.gap;
          break;
        case Event.keyStart:
          this.#part = Part.key;
          from = i;
          textFrom = i + 1;
          break;
        case Event.keyEnd:
          this.#text.add(chunk.subarray(textFrom, i));
          this.#keyEnds(out);
          break;
        case Event.memberEnd:
        case Event.end:
          if (this.#part === Part.kept) out.push(chunk.subarray(from, i));
          this.#part = chunk[i] === comma ? Part.gap : Part.outside;
          from = i;
      }
    }
    if (this.#part === Part.outside || this.#part === Part.kept) out.push(chunk.subarray(from));
    if (this.#part === Part.key) {
      this.#held.push(chunk.slice(from));
      this.#text.add(chunk.slice(textFrom));
    }
    return join(out);
  }

  #keyEnds(out: Uint8Array[]): void {
    const kept = this.#text.take() !== "version";
    this.#part = kept ? Part.kept : Part.dropped;
    if (kept) {
      if (this.#written) out.push(encoder.encode(","));
      out.push(...this.#held);
      this.#written = true;
    }
    this.#held = [];
  }

  close(): Uint8Array {
    return join(this.#held);
  }
}
