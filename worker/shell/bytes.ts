/** How much is read at a time, at most. A reading costs more than the bytes that it brings. */
const readBytes = 64 << 10;

/** Reads a stream of the network's in large pieces; each has memory of its own. */
export class Pieces {
  #reader: ReadableStreamBYOBReader;
  #room = new ArrayBuffer(0);

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader({ mode: "byob" });
  }

  /** The next piece; undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    const room = this.#room.byteLength === readBytes ? this.#room : new ArrayBuffer(readBytes);
    const { done, value } = await this.#reader.read(new Uint8Array(room));
    if (done || value === undefined) return undefined;
    this.#room = value.buffer as ArrayBuffer;
    return value.slice();
  }

  release(): void {
    this.#reader.releaseLock();
  }
}

/** One array of all pieces; a single one that is not empty is that array. */
export function join(pieces: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const whole = pieces.find((piece) => piece.length === size);
  if (whole !== undefined) return whole as Uint8Array<ArrayBuffer>; // no memory is shared
  const joined = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}
