// The part of the core in WebAssembly that reads and changes bodies.

import { Edit, Search, SlotKind } from "./core.ts";
import type { Answer, Answered, BodyCore, Editor, Edits, Facts, Fault, Finder, Frame, Slot } from "./core.ts";
import type { Ended } from "./columns.ts";
import { Calls, textOf } from "./wasm_instance.ts";
import type { Instance } from "./wasm_instance.ts";

export interface BodyExports {
  find(n: number): number;
  edit(body: number, version: number, flags: number): number;
  open_finder(): number;
  push_finder(handle: number, n: number): number;
  close_finder(handle: number): number;
  open_editor(n: number, flags: number): number;
  push_editor(handle: number, n: number): void;
  close_editor(handle: number): void;
  answer(n: number, shape: number): void;
  open_answer(shape: number): number;
  push_answer(handle: number, n: number): void;
  answer_facts(handle: number): void;
  close_answer(handle: number): void;
  ended(n: number, status: number, flags: number): void;
}

// The frames of package prediction.
const Op = { copy: 0, skip: 1, bytes: 2, raw: 3, facts: 4, slot: 16 } as const;
const headBytes = 5;

const editVersion = 1;
const editWebhook = 2;
const answerSynchronous = 1;
const answerHasOutput = 2;
const answerHasError = 4;

const comma = 0x2c;
const nothing = new Uint8Array();
const faults: Record<number, Fault> = { [Search.duplicate]: "duplicate-key", [Search.malformed]: "malformed" };

export class WasmBodies extends Calls implements BodyCore {
  // A body stays with the instance on which it began, even if another request
  // has ended that one: its memory outlives a trap. Once closed, its handle may be
  // another's: no call is made with it.

  findWhole(body: Uint8Array): { version: string; fault: Fault } {
    return this.call((core) => {
      const search = core.exports.find(core.writeBytes(body));
      return { version: search === Search.found ? core.text() : "", fault: faults[search] ?? "" };
    });
  }

  editWhole(body: Uint8Array, edits: Edits): { frames: Frame[]; fault: Fault } {
    return this.call((core) => {
      const n = core.writeBytes(body);
      const search = core.exports.edit(n, core.write(versionOf(edits), n), flagsOf(edits));
      return { frames: framesOf(core.output(), body, []), fault: faults[search] ?? "" };
    });
  }

  finder(): Finder {
    return this.call((core) => {
      const handle = core.exports.open_finder();
      let search: number = Search.searching;
      let isClosed = false;
      const finder: Finder = {
        version: "",
        push: (chunk) =>
          this.call(() => {
            inPieces(core, chunk, (n) => {
              if (search <= Search.found && !isClosed) search = core.exports.push_finder(handle, n);
            });
            if (search === Search.found && finder.version === "") finder.version = core.text();
            return search;
          }, core),
        close: () =>
          this.call(() => {
            if (isClosed) return search;
            isClosed = true;
            return (search = core.exports.close_finder(handle));
          }, core),
      };
      return finder;
    });
  }

  editor(edits: Edits): Editor {
    return this.call((core) => {
      const handle = core.exports.open_editor(core.write(versionOf(edits)), flagsOf(edits));
      let isClosed = false;
      return {
        push: (chunk) =>
          this.call(() => {
            if (isClosed) return [chunk];
            const frames: Frame[] = [];
            inPieces(core, chunk, (n, piece) => {
              core.exports.push_editor(handle, n);
              framesOf(core.output(), piece, frames);
            });
            return frames;
          }, core),
        close: () =>
          this.call(() => {
            if (isClosed) return [];
            isClosed = true;
            core.exports.close_editor(handle);
            return framesOf(core.output(), nothing, []);
          }, core),
      };
    });
  }

  answer(shape: number): Answer {
    return this.call((core) => {
      const handle = core.exports.open_answer(shape);
      const listed: Facts[] = [];
      let facts: Facts | undefined; // in the end
      return {
        push: (chunk) =>
          this.call(() => {
            if (facts !== undefined) return [chunk];
            const frames: Frame[] = [];
            inPieces(core, chunk, (n, piece) => {
              core.exports.push_answer(handle, n);
              framesOf(core.output(), piece, frames, listed);
            });
            return frames;
          }, core),
        close: () =>
          this.call(() => {
            if (facts !== undefined) return [];
            core.exports.close_answer(handle);
            const last: Facts[] = [];
            const frames = framesOf(core.output(), nothing, [], last);
            facts = last[0];
            return frames;
          }, core),
        facts: () =>
          facts ??
          this.call(() => {
            core.exports.answer_facts(handle);
            return JSON.parse(core.text()) as Facts;
          }, core),
        listed: () => listed.splice(0),
      };
    });
  }

  answerWhole(shape: number, body: Uint8Array): Answered {
    return this.call((core) => {
      core.exports.answer(core.writeBytes(body), shape);
      const listed: Facts[] = [];
      const frames = framesOf(core.output(), body, [], listed);
      const facts = listed.pop();
      if (facts === undefined) throw new Error("an answer without facts");
      return { frames, facts, listed };
    });
  }

  ended({ status, hasOutput, error }: Facts, httpStatus: number, synchronous: boolean): Ended | "" {
    return this.call((core) => {
      const flags =
        (synchronous ? answerSynchronous : 0) | (hasOutput ? answerHasOutput : 0) | (error ? answerHasError : 0);
      core.exports.ended(core.write(status), httpStatus, flags);
      return core.text() as Ended | "";
    });
  }
}

const versionOf = ({ edit, version }: Edits) => (edit === Edit.set ? version : "");

const flagsOf = ({ edit, webhook }: Edits) => (edit === Edit.none ? 0 : editVersion) | (webhook ? editWebhook : 0);

/** Hands a chunk over in pieces that fit the input. */
function inPieces(core: Instance, chunk: Uint8Array, push: (n: number, piece: Uint8Array) => void): void {
  for (let i = 0; i < chunk.length; i += core.inputBytes) {
    const piece = chunk.subarray(i, i + core.inputBytes);
    push(core.writeBytes(piece), piece);
  }
}

/** Reads the frames that the core wrote for a chunk, of which they may keep parts. */
function framesOf(output: Uint8Array, chunk: Uint8Array, frames: Frame[], facts?: Facts[]): Frame[] {
  let from = 0; // in the chunk
  let slot: Slot | undefined;
  for (let i = 0; i < output.length;) {
    const op = output[i] ?? 0;
    const n = sizeAt(output, i + 1);
    i += headBytes;
    if (op <= Op.skip) {
      if (op === Op.copy) frames.push(n === chunk.length ? chunk : chunk.subarray(from, from + n));
      from += n;
      continue;
    }
    const text = output.subarray(i, (i += n));
    if (op === Op.bytes) frames.push(text.slice());
    else if (op === Op.facts) facts?.push(JSON.parse(textOf(text)) as Facts);
    else if (op === Op.raw && slot !== undefined) slot.raw = text.slice();
    else frames.push((slot = slotOf(op - Op.slot, text)));
  }
  return frames;
}

function slotOf(kind: number, text: Uint8Array): Slot {
  if (kind < SlotKind.tail || text[0] !== comma) return { kind, value: textOf(text) };
  return { kind, value: textOf(text.subarray(1)), comma: true };
}

const sizeAt = (bytes: Uint8Array, i: number) =>
  (bytes[i] ?? 0) | ((bytes[i + 1] ?? 0) << 8) | ((bytes[i + 2] ?? 0) << 16) | ((bytes[i + 3] ?? 0) << 24);
