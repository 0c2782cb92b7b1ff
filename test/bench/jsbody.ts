// Finds and replaces the top-level "version" of a prediction's JSON while it
// streams past: package worker/prediction in JavaScript.

import { Search } from "../../worker/shell/core.ts";
import type { Fault, Finder } from "../../worker/shell/core.ts";
import { Kind, Scanner } from "./jsonstream.ts";
import type { Sink } from "./jsonstream.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const names = ["version", "webhook", "webhook_events_filter"].map((name) => encoder.encode(name));
const version = 0; // of names
const maxNameBytes = 21;
const maxVersionBytes = 512;

/** Bytes that grow. */
class Bytes {
  #bytes: Uint8Array;
  length = 0;

  constructor(size: number) {
    this.#bytes = new Uint8Array(size);
  }

  add(bytes: Uint8Array, from = 0, to = bytes.length): void {
    if (this.length + to - from > this.#bytes.length) {
      const larger = new Uint8Array(2 * (this.length + to - from));
      larger.set(this.#bytes.subarray(0, this.length));
      this.#bytes = larger;
    }
    if (to - from < 32) for (let i = from; i < to; i++) this.#bytes[this.length++] = bytes[i]!;
    else {
      this.#bytes.set(bytes.subarray(from, to), this.length);
      this.length += to - from;
    }
  }

  get last(): number | undefined {
    return this.#bytes[this.length - 1];
  }

  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }
}

/** A member's name that comes in pieces, as far as it can be one that matters. */
class Name {
  #bytes = new Bytes(maxNameBytes + 1);

  /** Which of the names it is, or −1, once it is known; undefined before. */
  read(last: boolean, bytes: Uint8Array, from: number, to: number): number | undefined {
    if (last && this.#bytes.length === 0) return matter(bytes, from, to);
    const room = maxNameBytes + 1 - this.#bytes.length;
    this.#bytes.add(bytes, from, Math.min(to, from + room));
    const { length } = this.#bytes;
    if (!last) return length > maxNameBytes ? -1 : undefined;
    const which = matter(this.#bytes.view(), 0, length);
    this.#bytes.clear();
    return which;
  }

  reset(): void {
    this.#bytes.clear();
  }
}

function matter(bytes: Uint8Array, from: number, to: number): number {
  return names.findIndex((name) => {
    if (name.length !== to - from) return false;
    for (let i = 0; i < name.length; i++) if (name[i] !== bytes[from + i]) return false;
    return true;
  });
}

export class JavaScriptFinder implements Finder, Sink {
  version = "";
  isObject = false;
  #scanner = new Scanner(this);
  #name = new Name();
  #status: number = Search.searching;
  #seen = new Set<number>();
  #isWanted = false;
  #text = new Bytes(128);
  #hasBegun = false;

  push(chunk: Uint8Array): number {
    if (this.#status > Search.found) return this.#status;
    this.#hasBegun ||= chunk.length > 0;
    if (!this.#scanner.push(chunk) && this.#status <= Search.found) this.#status = Search.malformed;
    if (this.#status === Search.found) this.version = decoder.decode(this.#text.view());
    return this.#status;
  }

  token(
    kind: number,
    last: boolean,
    depth: number,
    _start: number,
    _end: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): boolean {
    if (depth > 1) return true;
    if (depth === 0) {
      const goesOn = (kind === Kind.begin && this.isObject) || (kind === Kind.end && this.#status === Search.found);
      return !last || goesOn || this.#stop(Search.absent);
    }
    if (kind === Kind.key) return this.#key(this.#name.read(last, bytes, from, to));
    if (!this.#isWanted) return true;
    if (kind !== Kind.string || this.#text.length + to - from > maxVersionBytes) return this.#stop(Search.absent);
    this.#text.add(bytes, from, to);
    if (last) {
      this.#status = Search.found;
      this.#isWanted = false;
    }
    return true;
  }

  #key(which: number | undefined): boolean {
    if (which === undefined) return true;
    if (which >= 0 && this.#seen.has(which)) return this.#stop(Search.duplicate);
    this.#seen.add(which);
    this.#isWanted = which === version;
    return true;
  }

  #stop(status: number): boolean {
    this.#status = status;
    return false;
  }

  close(): number {
    if (this.#status <= Search.found && !this.#scanner.isWhole) {
      this.#status = this.#hasBegun ? Search.malformed : Search.absent;
    } else if (this.#status === Search.searching) this.#status = Search.absent; // a number
    return this.#status;
  }
}

const Part = { copy: 0, gap: 1, key: 2, drop: 3 } as const;
const comma = 0x2c;
const commaBytes = new Uint8Array([comma]);

export class JavaScriptEditor implements Sink {
  isObject = false;
  #scanner = new Scanner(this);
  #name = new Name();
  #seen = new Set<number>();
  #part: number = Part.copy;
  #isBroken = false;
  #isTwice = false; // a second version stays
  #isPassing = false; // no object: nothing is edited
  #hasBegun = false;
  #fault: Fault = "";
  #chunk: Uint8Array = new Uint8Array();
  #base = 0; // offset of the chunk in the body
  #done = 0; // everything before this offset was written, held or dropped
  #gap = new Bytes(16); // what stands before the next key
  #held = new Bytes(16); // the beginning of a key that may yet be "version"
  #written = 0; // members
  #isChanged = false;
  #out = new Bytes(1024);

  readonly #version: string; // to set, or "" to remove

  constructor(version: string) {
    this.#version = version;
  }

  push(chunk: Uint8Array): Uint8Array {
    this.#out.clear();
    if (this.#isBroken) {
      if (this.#part !== Part.drop) this.#out.add(chunk);
      return this.#out.view().slice();
    }
    this.#chunk = chunk;
    this.#hasBegun ||= chunk.length > 0;
    if (!this.#scanner.push(chunk)) {
      if (!this.#isPassing) this.#fault = "malformed";
      if (this.#part === Part.gap && this.#isChanged) this.#out.add(encoder.encode(",,"));
      this.#giveUp();
    }
    const end = this.#base + chunk.length;
    if (this.#part === Part.copy) this.#take(end, this.#out);
    else if (this.#part === Part.gap) this.#take(end, this.#gap, true);
    else if (this.#part === Part.key) this.#take(end, this.#held);
    else this.#done = end;
    this.#base = end;
    return this.#out.view().slice();
  }

  close(): Uint8Array {
    this.#out.clear();
    this.#giveUp();
    return this.#out.view().slice();
  }

  /** Why the body should have gone on as it was, once all of it was pushed. */
  fault(): Fault {
    return this.#hasBegun && !this.#isPassing && !this.#scanner.isWhole ? "malformed" : this.#fault;
  }

  #giveUp(): void {
    this.#out.add(this.#gap.view());
    this.#out.add(this.#held.view());
    this.#gap.clear();
    this.#held.clear();
    if (this.#part !== Part.drop) this.#part = Part.copy;
    this.#isBroken = true;
  }

  token(
    kind: number,
    last: boolean,
    depth: number,
    start: number,
    end: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): boolean {
    if (depth === 0) return this.#topLevel(kind, last, end);
    if (depth > 1) return true;
    if (kind === Kind.key) this.#keyPiece(last, start, bytes, from, to);
    else if (last && kind !== Kind.begin) this.#memberEnds(end);
    return true;
  }

  #topLevel(kind: number, last: boolean, end: number): boolean {
    if (kind === Kind.begin && this.isObject) {
      this.#take(end, this.#out);
      this.#part = Part.gap;
      if (this.#version === "") return true;
      this.#set();
      this.#written++;
      this.#isChanged = true;
    } else if (kind === Kind.end && this.#part === Part.gap) {
      if (this.#isTwice && this.#version !== "") {
        this.#out.add(commaBytes);
        this.#set();
      }
      this.#out.add(this.#gap.view());
      this.#gap.clear();
      this.#part = Part.copy;
    } else if (last) {
      this.#isPassing = true;
      return false;
    }
    return true;
  }

  #set(): void {
    this.#out.add(encoder.encode(`"version":${JSON.stringify(this.#version)}`));
  }

  #keyPiece(last: boolean, start: number, bytes: Uint8Array, from: number, to: number): void {
    if (this.#part === Part.gap) {
      this.#take(start, this.#gap);
      this.#part = Part.key;
    }
    if (this.#part !== Part.key) return; // decided by an earlier piece
    const which = this.#name.read(last, bytes, from, to);
    if (which === undefined) return;
    if (!last) this.#name.reset();
    const isRepeated = which >= 0 && this.#seen.has(which);
    this.#seen.add(which);
    if (isRepeated) this.#fault ||= "duplicate-key";
    if (isRepeated && which === version) this.#isTwice = true;
    if (which !== version || isRepeated) return this.#keep();
    this.#part = Part.drop;
    this.#gap.clear();
    this.#held.clear();
  }

  #keep(): void {
    const isDue = this.#written > 0;
    const gap = this.#gap.view();
    if (isDue && !gap.includes(comma)) this.#out.add(commaBytes);
    for (let i = 0; i < gap.length; i++) if (gap[i] !== comma || isDue) this.#out.add(gap, i, i + 1);
    this.#out.add(this.#held.view());
    this.#gap.clear();
    this.#held.clear();
    this.#part = Part.copy;
  }

  #memberEnds(end: number): void {
    if (this.#part === Part.copy) {
      this.#take(end, this.#out);
      this.#written++;
    }
    this.#isChanged = this.#part === Part.drop;
    this.#done = end;
    this.#part = Part.gap;
  }

  /** Moves the chunk's bytes up to an offset that are not done yet. */
  #take(end: number, to: Bytes, isSolid = false): void {
    if (end <= this.#done) return;
    const first = Math.max(this.#done, this.#base) - this.#base;
    const last = end - this.#base;
    this.#done = end;
    if (!isSolid) to.add(this.#chunk, first, last);
    else
      for (let i = first; i < last; i++)
        if (this.#chunk[i]! > 0x20 || !(to.last! <= 0x20)) to.add(this.#chunk, i, i + 1);
  }
}
