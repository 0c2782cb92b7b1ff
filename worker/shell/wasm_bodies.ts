// The part of the core in WebAssembly that reads and changes bodies.

import { join } from "./bytes.ts";
import { Edit, Search } from "./core.ts";
import type { Answer, Answered, BodyCore, Editor, Edits, Facts, Fault, Finder, Frame } from "./core.ts";
import type { Ended } from "./columns.ts";
import { Calls } from "./wasm_instance.ts";
import type { Instance } from "./wasm_instance.ts";

export interface BodyExports {
  find(n: number): number;
  edit(body: number, version: number): void;
  open_finder(): number;
  push_finder(handle: number, n: number): number;
  close_finder(handle: number): void;
  open_editor(n: number): number;
  push_editor(handle: number, n: number): void;
  close_editor(handle: number): void;
}

export class WasmBodies extends Calls implements BodyCore {
  // A body stays with the instance on which it began, even if another request
  // has ended that one: its memory outlives a trap.

  findWhole(body: Uint8Array): { version: string; fault: Fault } {
    return this.call((core) => ({
      version: core.exports.find(core.writeBytes(body)) === Search.found ? core.text() : "",
      fault: "",
    }));
  }

  editWhole(body: Uint8Array, { edit, version }: Edits): { frames: Frame[]; fault: Fault } {
    return this.call((core) => {
      const n = core.writeBytes(body);
      core.exports.edit(n, core.write(edit === Edit.set ? version : "", n));
      return { frames: [core.output().slice()], fault: "" };
    });
  }

  finder(): Finder {
    return this.call((core) => {
      const handle = core.exports.open_finder();
      const finder: Finder = {
        version: "",
        push: (chunk) =>
          this.call(() => {
            const status = inPieces(core, chunk, (n) => core.exports.push_finder(handle, n));
            if (status === Search.found) finder.version = core.text();
            return status;
          }, core),
        close: () =>
          this.call(() => {
            core.exports.close_finder(handle);
            return Search.absent;
          }, core),
      };
      return finder;
    });
  }

  editor({ edit, version }: Edits): Editor {
    return this.call((core) => {
      const handle = core.exports.open_editor(core.write(edit === Edit.set ? version : ""));
      let closed = false;
      return {
        push: (chunk) =>
          this.call(() => {
            const pieces: Uint8Array[] = [];
            inPieces(core, chunk, (n) => {
              core.exports.push_editor(handle, n);
              pieces.push(core.output().slice());
              return 0;
            });
            return [join(pieces)];
          }, core),
        close: () =>
          this.call(() => {
            if (closed) return [];
            closed = true;
            core.exports.close_editor(handle);
            return [core.output().slice()];
          }, core),
      };
    });
  }

  answer(shape: number): Answer {
    throw new Error(`shape ${shape} is not read yet`);
  }

  answerWhole(shape: number): Answered {
    throw new Error(`shape ${shape} is not read yet`);
  }

  ended(facts: Facts, status: number, synchronous: boolean): Ended | "" {
    throw new Error(`${facts.id} ${status} ${synchronous} is not read yet`);
  }
}

/** Hands a chunk over in pieces that fit the input; stops at a result other than 0. */
function inPieces(core: Instance, chunk: Uint8Array, push: (n: number) => number): number {
  let result = 0;
  for (let i = 0; i < chunk.length && result === 0; i += core.inputBytes) {
    result = push(core.writeBytes(chunk.subarray(i, i + core.inputBytes)));
  }
  return result;
}
