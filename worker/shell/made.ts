// The predictions that this isolate made or was shown the seal of: official
// clients poll by the bare id, which does not tell whose a prediction is.

import type { Context } from "./seal.ts";

const most = 10_000;

interface Entry {
  context: Context;
  told: number; // what of its end has been recorded: a sum of Part
}

/** What may be known of a prediction's end. */
export const Part = { end: 1, times: 2, tokens: 4 } as const;

class Made {
  #entries = new Map<string, Entry>(); // the least recently used first

  remember(context: Context): void {
    const id = context.i ?? "";
    if (id === "") return;
    const told = this.#entries.get(id)?.told ?? 0;
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

  /** Whether this isolate has recorded all that already; from now on it has. */
  told(id: string, what: number): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    const before = entry.told;
    entry.told |= what;
    return (before & what) === what;
  }
}

/** One for the isolate. */
export const made = new Made();
