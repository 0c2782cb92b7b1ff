// The predictions that this isolate made or was shown the seal of: official
// clients poll by the bare id, which does not tell whose a prediction is.

import type { Context } from "./seal.ts";

const most = 10_000;

interface Entry {
  context: Context;
  told: number; // how much of its end has been recorded
}

/** How much of a prediction's end has been recorded by this isolate. */
export const Told = { nothing: 0, end: 1, times: 2 } as const;

class Made {
  #entries = new Map<string, Entry>(); // the least recently used first

  remember(context: Context): void {
    const id = context.i ?? "";
    if (id === "") return;
    const told = this.#entries.get(id)?.told ?? Told.nothing;
    this.#entries.delete(id);
    this.#entries.set(id, { context, told });
    if (this.#entries.size <= most) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }

  of(id: string): Context | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    this.#entries.delete(id);
    this.#entries.set(id, entry);
    return entry.context;
  }

  /** Whether as much has been recorded already; from now on it has. */
  told(id: string, much: number): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    if (entry.told >= much) return true;
    entry.told = much;
    return false;
  }
}

/** One for the isolate. */
export const made = new Made();
