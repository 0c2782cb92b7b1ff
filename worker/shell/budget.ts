// How much of requests' bodies an isolate holds at once: its memory is shared
// by all requests, and exceeding it would end every one of them.

/** Bytes for all bodies that are longer than a few buffers. */
export const heldBytes = 32 << 20;

/** After this long a holder is taken for gone: its request was cancelled before it could give back. */
const staleMS = 10 * 60 * 1_000;

export class Budget {
  #left: number;
  #holders = new Map<object, { bytes: number; since: number }>();

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Whether the holder may hold as many bytes more. now is in epoch milliseconds. */
  take(holder: object, bytes: number, now: number): boolean {
    if (bytes > this.#left) this.#forgetStale(now);
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    const held = this.#holders.get(holder);
    if (held) held.bytes += bytes;
    else this.#holders.set(holder, { bytes, since: now });
    return true;
  }

  /** Gives back all that the holder took. */
  give(holder: object): void {
    this.#left += this.#holders.get(holder)?.bytes ?? 0;
    this.#holders.delete(holder);
  }

  #forgetStale(now: number): void {
    for (const [holder, { since }] of this.#holders) if (now - since >= staleMS) this.give(holder);
  }
}

/** One for the isolate. */
export const budget = new Budget(heldBytes);
