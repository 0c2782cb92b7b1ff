// One running instance of the core's module, and what happens when it traps.

import module from "../../.build/perch.wasm";
import { TooLong, Trap, Unusable } from "./core.ts";
import { wasi } from "./wasi.ts";
import type { BodyExports } from "./wasm_bodies.ts";

export interface Exports extends BodyExports {
  memory: WebAssembly.Memory;
  _initialize(): void;
  input(): number;
  input_bytes(): number;
  result(): number;
  resolve(n: number): number;
  resolve_version(n: number): number;
  resolve_service(n: number): number;
  load(documentBytes: number, haltBytes: number): number;
  access(n: number): number;
  headers(n: number): number;
  release(handle: number): void;
  decide(handle: number, n: number, nowHigh: number, nowLow: number, endpoint: number): number;
  use(handle: number, target: number, n: number, endpoint: number): number;
  rescue(handle: number, target: number, failure: number, status: number, trouble: number): number;
  report(handle: number, target: number, failed: number, nowHigh: number, nowLow: number): number;
  classify(status: number, failure: number): void;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });
export const nothing = new Uint8Array();
/** Up to this length a loop costs less than leaving JavaScript for an encoder or decoder. */
const shortText = 256;

/** One running instance and its exchange buffers. */
export class Instance {
  readonly exports: Exports;
  readonly inputBytes: number;
  readonly #start: number;
  readonly #result: number; // where the output's address and length stand
  #view: Uint8Array; // the memory
  #input: Uint8Array;
  #results: Uint32Array;

  constructor() {
    const instance = new WebAssembly.Instance(
      module,
      wasi(() => this.exports.memory),
    );
    this.exports = instance.exports as unknown as Exports;
    this.exports._initialize();
    this.#start = this.exports.input();
    this.inputBytes = this.exports.input_bytes();
    this.#result = this.exports.result();
    this.#view = this.#input = new Uint8Array();
    this.#results = new Uint32Array();
    this.#look();
  }

  /** Views the memory anew if it has grown. */
  #look(): void {
    const { buffer } = this.exports.memory;
    if (this.#view.buffer === buffer) return;
    this.#view = new Uint8Array(buffer);
    this.#input = new Uint8Array(buffer, this.#start, this.inputBytes);
    this.#results = new Uint32Array(buffer, this.#result, 2);
  }

  /** Writes text into the input at an offset and returns its length in bytes. */
  write(text: string, offset = 0): number {
    this.#look();
    if (offset === 0 && this.#writeShort(text)) return text.length;
    const { read, written } = encoder.encodeInto(text, offset === 0 ? this.#input : this.#input.subarray(offset));
    if (read < text.length) throw new TooLong("longer than the core's input");
    return written;
  }

  /** Writes a text if it is short and plain ASCII. */
  #writeShort(text: string): boolean {
    const { length } = text;
    if (length > shortText) return false;
    const input = this.#input;
    for (let i = 0; i < length; i++) {
      const c = text.charCodeAt(i);
      if (c > 0x7f) return false;
      input[i] = c;
    }
    return true;
  }

  writeBytes(bytes: Uint8Array): number {
    this.#look();
    this.#input.set(bytes);
    return bytes.length;
  }

  output(): Uint8Array {
    this.#look();
    const [from = 0, bytes = 0] = this.#results;
    return bytes === 0 ? nothing : this.#view.subarray(from, from + bytes);
  }

  text(): string {
    return textOf(this.output());
  }

  lines(): string[] {
    return this.text().split("\n");
  }
}

export const textOf = (bytes: Uint8Array) => shortASCII(bytes) ?? decoder.decode(bytes);

/** The text of a few bytes, if all of it is ASCII. */
function shortASCII(bytes: Uint8Array): string | undefined {
  const { length } = bytes;
  if (length > shortText) return undefined;
  let text = "";
  for (let i = 0; i < length; i++) {
    const c = bytes[i] ?? 0;
    if (c > 0x7f) return undefined;
    text += String.fromCharCode(c);
  }
  return text;
}

/** Calls into the one instance there is. */
export class Calls {
  traps = 0;
  protected instance: Instance | undefined;

  /** Runs one call; any failure within is a trap that ends the instance, if a trap has not yet. */
  protected call<T>(call: (instance: Instance) => T, instance = this.instance): T {
    try {
      instance ??= this.instance = new Instance();
      return call(instance);
    } catch (error) {
      if (error instanceof Unusable || error instanceof TooLong) throw error;
      if (instance === this.instance) {
        this.instance = undefined;
        this.traps++;
        console.error(JSON.stringify({ perch: "trap", error: String(error) }));
      }
      throw new Trap(String(error));
    }
  }
}
