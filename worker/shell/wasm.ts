// The routing core in WebAssembly: one instance per isolate, started by the
// first request, replaced after a trap.

import module from "../../.build/perch.wasm";
import { join } from "./bytes.ts";
import { Search, TooLong, Trap, Unusable } from "./core.ts";
import type { Core, Decision, Editor, Finder, Loaded, Plan, Question, Route, ServiceKeys } from "./core.ts";
import { wasi } from "./wasi.ts";

interface Exports {
  memory: WebAssembly.Memory;
  _initialize(): void;
  input(): number;
  input_bytes(): number;
  result(): number;
  resolve(n: number): number;
  resolve_version(n: number): number;
  resolve_service(n: number): number;
  load(documentBytes: number, haltBytes: number): number;
  release(handle: number): void;
  decide(handle: number, n: number, nowHigh: number, nowLow: number, endpoint: number): number;
  stable(handle: number, n: number, endpoint: number): number;
  classify(status: number, failure: number): void;
  find(n: number): number;
  edit(body: number, version: number): void;
  open_finder(): number;
  push_finder(handle: number, n: number): number;
  close_finder(handle: number): void;
  open_editor(n: number): number;
  push_editor(handle: number, n: number): void;
  close_editor(handle: number): void;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const nothing = new Uint8Array();
/** Up to this length a loop costs less than leaving JavaScript for an encoder or decoder. */
const shortText = 256;

/** One running instance and its exchange buffers. */
class Instance {
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
    const bytes = this.output();
    return shortASCII(bytes) ?? decoder.decode(bytes);
  }

  lines(): string[] {
    return this.text().split("\n");
  }
}

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

class WasmLoaded implements Loaded {
  readonly text: string;
  readonly halt: string;
  readonly plan: Plan;
  instance: Instance | undefined; // that holds the document under handle
  handle: number;
  released = false; // held no longer than a call takes

  constructor(text: string, halt: string, plan: Plan, instance: Instance, handle: number) {
    this.text = text;
    this.halt = halt;
    this.plan = plan;
    this.instance = instance;
    this.handle = handle;
  }
}

/** Answers that follow from the question alone: a repeated one needs no call, which is dear while caches are cold. */
class Memo<T> {
  static readonly #most = 1_000;
  static readonly #longest = 512; // of a question
  #answers = new Map<string, T>();

  of(question: string, ask: () => T): T {
    const known = this.#answers.get(question);
    if (known !== undefined || this.#answers.has(question)) return known as T;
    const answer = ask();
    if (question.length > Memo.#longest) return answer;
    if (this.#answers.size >= Memo.#most) this.#answers.clear();
    this.#answers.set(question, answer);
    return answer;
  }
}

export class WasmCore implements Core {
  traps = 0;
  #instance: Instance | undefined;
  #routes = new Memo<Route>();
  #versions = new Memo<ServiceKeys | string | undefined>();
  #services = new Memo<ServiceKeys | undefined>();
  #classes = new Memo<{ outcome: string; errorClass: string }>();

  /** Runs one call; any failure within is a trap that ends the instance, if a trap has not yet. */
  #call<T>(call: (instance: Instance) => T, instance = this.#instance): T {
    try {
      instance ??= this.#instance = new Instance();
      return call(instance);
    } catch (error) {
      if (error instanceof Unusable || error instanceof TooLong) throw error;
      if (instance === this.#instance) {
        this.#instance = undefined;
        this.traps++;
        console.error(JSON.stringify({ perch: "trap", error: String(error) }));
      }
      throw new Trap(String(error));
    }
  }

  resolve(method: string, path: string, service: string, upgrade: boolean): Route {
    const question = `${method}\n${path}\n${oneLine(service)}\n${upgrade ? "1" : ""}`;
    return this.#routes.of(question, () =>
      this.#call((core) => {
        const code = core.exports.resolve(core.write(question));
        const [variant = "", rest = "", ...keys] = core.lines();
        return {
          action: code & 0xff,
          endpoint: (code >> 8) & 0xff,
          undecided: code >> 16 !== 0,
          variant,
          rest,
          keys: serviceKeys(keys),
        };
      }),
    );
  }

  resolveVersion(version: string): ServiceKeys | string | undefined {
    return this.#versions.of(version, () =>
      this.#call((core) => {
        const code = core.exports.resolve_version(core.write(version));
        if (code === 0) return undefined;
        return code === 1 ? serviceKeys(core.lines()) : core.text();
      }),
    );
  }

  resolveService(name: string): ServiceKeys | undefined {
    return this.#services.of(name, () =>
      this.#call((core) => {
        return core.exports.resolve_service(core.write(name)) === 0 ? undefined : serviceKeys(core.lines());
      }),
    );
  }

  load(text: string, halt: string): Loaded {
    return this.#call((core) => {
      const handle = this.#load(core, text, halt);
      return new WasmLoaded(text, halt, JSON.parse(core.text()) as Plan, core, handle);
    });
  }

  #load(core: Instance, text: string, halt: string): number {
    let documentBytes: number;
    let haltBytes: number;
    try {
      documentBytes = core.write(text);
      haltBytes = core.write(halt, documentBytes);
    } catch {
      throw new Unusable("rollout document is larger than 64 KiB");
    }
    const handle = core.exports.load(documentBytes, haltBytes);
    if (handle === 0) throw new Unusable(core.text());
    return handle;
  }

  /** Runs a call on a document. A new instance does not know it yet, and a released one must not stay. */
  #callOn<T>(loaded: WasmLoaded, call: (core: Instance, handle: number) => T): T {
    return this.#call((core) => {
      if (loaded.instance !== core) {
        loaded.handle = this.#load(core, loaded.text, loaded.halt);
        loaded.instance = core;
      }
      try {
        return call(core, loaded.handle);
      } finally {
        if (loaded.released) this.#forget(core, loaded);
      }
    });
  }

  #forget(core: Instance, loaded: WasmLoaded): void {
    core.exports.release(loaded.handle);
    loaded.instance = undefined;
  }

  release(loaded: WasmLoaded): void {
    loaded.released = true;
    if (loaded.instance === undefined || loaded.instance !== this.#instance) return;
    try {
      this.#call((core) => this.#forget(core, loaded));
    } catch {
      // It went with the instance.
    }
  }

  decide(loaded: WasmLoaded, q: Question, now: number, endpoint: number): Decision {
    return this.#callOn(loaded, (core, handle) => {
      const n = core.write(
        `${q.override}\n${q.client}\n${q.random}\n${q.cookie}\n${oneLine(q.version)}\n${q.headers.join("\n")}`,
      );
      const code = core.exports.decide(handle, n, Math.floor(now / 2 ** 32), now >>> 0, endpoint);
      const [reason = "", user = "", bucket = ""] = core.lines();
      return { ...picked(loaded.plan, code), isNew: code >> 16 !== 0, reason, user, bucket: Number(bucket) };
    });
  }

  stable(loaded: WasmLoaded, version: string, endpoint: number) {
    return this.#callOn(loaded, (core, handle) =>
      picked(loaded.plan, core.exports.stable(handle, core.write(version), endpoint)),
    );
  }

  classify(status: number, failure: number) {
    return this.#classes.of(`${status} ${failure}`, () =>
      this.#call((core) => {
        core.exports.classify(status, failure);
        const [outcome = "", errorClass = ""] = core.lines();
        return { outcome, errorClass };
      }),
    );
  }

  // A body stays with the instance on which it began, even if another request
  // has ended that one: its memory outlives a trap.

  findWhole(body: Uint8Array): string | undefined {
    return this.#call((core) => (core.exports.find(core.writeBytes(body)) === Search.found ? core.text() : undefined));
  }

  editWhole(body: Uint8Array, version: string): Uint8Array<ArrayBuffer> {
    return this.#call((core) => {
      const n = core.writeBytes(body);
      core.exports.edit(n, core.write(version, n));
      return core.output().slice() as Uint8Array<ArrayBuffer>;
    });
  }

  finder(): Finder {
    return this.#call((core) => {
      const handle = core.exports.open_finder();
      const finder: Finder = {
        version: "",
        push: (chunk) =>
          this.#call(() => {
            const status = inPieces(core, chunk, (n) => core.exports.push_finder(handle, n));
            if (status === Search.found) finder.version = core.text();
            return status;
          }, core),
        close: () => this.#call(() => core.exports.close_finder(handle), core),
      };
      return finder;
    });
  }

  editor(version: string): Editor {
    return this.#call((core) => {
      const handle = core.exports.open_editor(core.write(version));
      let closed = false;
      return {
        push: (chunk) =>
          this.#call(() => {
            const pieces: Uint8Array[] = [];
            inPieces(core, chunk, (n) => {
              core.exports.push_editor(handle, n);
              pieces.push(core.output().slice());
              return 0;
            });
            return join(pieces);
          }, core),
        close: () =>
          this.#call(() => {
            if (closed) return nothing;
            closed = true;
            core.exports.close_editor(handle);
            return core.output().slice();
          }, core),
      };
    });
  }
}

/** A line break would begin another field. No service and no version has one. */
const oneLine = (text: string) => (text.includes("\n") ? "" : text);

/** Hands a chunk over in pieces that fit the input; stops at a result other than 0. */
function inPieces(core: Instance, chunk: Uint8Array, push: (n: number) => number): number {
  let result = 0;
  for (let i = 0; i < chunk.length && result === 0; i += core.inputBytes) {
    result = push(core.writeBytes(chunk.subarray(i, i + core.inputBytes)));
  }
  return result;
}

function picked(plan: Plan, code: number) {
  const target = plan.targets[code & 0xff];
  if (target === undefined) throw new Error(`target ${code & 0xff} of ${plan.targets.length}`);
  return { target, edit: (code >> 8) & 0xff };
}

function serviceKeys(lines: string[]): ServiceKeys | undefined {
  const [service, rollout = "", halt = "", alias = ""] = lines;
  return service ? { service, rollout, halt, alias } : undefined;
}
