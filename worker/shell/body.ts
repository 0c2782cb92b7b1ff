// A request's body: read no further than needed, passed on untouched or edited.

import { join } from "./bytes.ts";
import { Edit, Search, SlotKind, wholeBytes } from "./core.ts";
import type { Core, Editor, Frame } from "./core.ts";
import { fill } from "./frames.ts";
import { Refusal } from "./refusal.ts";

/** How much of a body is held while its version is looked for, in bytes. */
export const maxHeldBytes = 8 << 20;

/** Tells what a body's webhook members become, as the text of a JSON object; had is the same of what was taken out. */
export type Tail = (had: string) => Promise<string>;

/** Why a body does not tell its version. */
export type Unfound = "no-version" | "body-too-large" | "body-encoded" | "duplicate-key" | "malformed";

export class Body {
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #ended = false;
  version = "";
  /** Why a body was cut that was already on its way. */
  refusal: Refusal | undefined;

  constructor(private readonly request: Request) {}

  get #stream(): ReadableStream<Uint8Array> | null {
    return this.request.body as ReadableStream<Uint8Array> | null;
  }

  /** The content-length, or NaN. */
  get #length(): number {
    return Number(this.request.headers.get("content-length") ?? NaN);
  }

  /** Compressed: it can neither be read nor edited. */
  get encoded(): boolean {
    const encoding = this.request.headers.get("content-encoding");
    return encoding !== null && encoding !== "identity";
  }

  /** Reads on until the version is known; says why if it cannot be. */
  async find(core: Core): Promise<Unfound | undefined> {
    if (this.encoded) return "body-encoded";
    if (this.#length <= wholeBytes) {
      const { version, fault } = core.findWhole(await this.#whole());
      this.version = version;
      return fault || (version === "" ? "no-version" : undefined);
    }
    const finder = core.finder();
    try {
      return await this.#read((chunk) => {
        if (finder.push(chunk) === Search.searching)
          return this.#heldBytes > maxHeldBytes ? "body-too-large" : undefined;
        this.version = finder.version;
        return this.version === "" ? "no-version" : "found";
      }).then((end) => (end === "found" ? undefined : (end ?? "no-version")));
    } finally {
      finder.close();
    }
  }

  /** Holds chunks until the body ends or see says something. */
  async #read<T>(see: (chunk: Uint8Array) => T | undefined): Promise<T | undefined> {
    const stream = this.#stream;
    if (stream === null) return undefined;
    const length = this.#length;
    const reader = stream.getReader();
    try {
      while (!this.#ended) {
        const { done, value } = await reader.read();
        if (value !== undefined) {
          this.#held.push(value);
          this.#heldBytes += value.length;
        }
        this.#ended = done || this.#heldBytes === length;
        const seen = value && see(value);
        if (seen !== undefined) return seen;
      }
      return undefined;
    } finally {
      reader.releaseLock();
    }
  }

  /** Holds the body of a length that is known. It costs less than reading chunks. */
  async #whole(): Promise<Uint8Array> {
    const bytes = new Uint8Array(await this.request.arrayBuffer());
    this.#held.push(bytes);
    this.#heldBytes = bytes.length;
    this.#ended = true;
    return bytes;
  }

  /** The body to send: edited, or as it came. A tail's Refusal comes from here, or cuts the body that is on its way. */
  async send(core: Core, edit: number, version: string, tail?: Tail): Promise<BodyInit | null> {
    if ((edit === Edit.none && !tail) || this.encoded) return this.#asItCame();
    if (!this.#ended && this.#length <= wholeBytes) await this.#whole();
    const edits = { edit, version, webhook: tail !== undefined };
    if (this.#ended && this.#heldBytes <= wholeBytes) {
      const whole = join(this.#held);
      const { frames, fault } = core.editWhole(whole, edits);
      return fault ? whole : join(await filled(frames, tail));
    }
    const editor = core.editor(edits);
    const stream = this.#stream;
    if (!this.#ended && stream !== null) return edited(this.#held, stream, editor, tail && this.#noting(tail));
    try {
      const frames = this.#held.flatMap((chunk) => editor.push(chunk));
      return join(await filled([...frames, ...editor.close()], tail));
    } finally {
      editor.close();
    }
  }

  #noting(tail: Tail): Tail {
    return async (had) => {
      try {
        return await tail(had);
      } catch (error) {
        if (error instanceof Refusal) this.refusal = error;
        throw error;
      }
    };
  }

  #asItCame(): BodyInit | null {
    if (this.#ended) return join(this.#held);
    const stream = this.#stream;
    if (stream === null || this.#heldBytes === 0) return stream;
    const length = this.#length;
    const through = Number.isNaN(length) ? new IdentityTransformStream() : new FixedLengthStream(length);
    return prepend(this.#held, stream, through);
  }
}

/** A stream of what was held, then the rest. */
function prepend(
  held: Uint8Array[],
  rest: ReadableStream<Uint8Array>,
  through: IdentityTransformStream,
): ReadableStream {
  const write = async () => {
    const writer = through.writable.getWriter();
    for (const chunk of held) if (chunk.length > 0) await writer.write(chunk);
    writer.releaseLock();
    await rest.pipeTo(through.writable);
  };
  // Whoever reads the stream sees the failure; here it has nobody to be told.
  write().catch(() => undefined);
  return through.readable;
}

/** A stream of what was held and the rest, edited; the editor is closed however it ends. */
function edited(
  held: Uint8Array[],
  rest: ReadableStream<Uint8Array>,
  editor: Editor,
  tail: Tail | undefined,
): ReadableStream {
  const through = new IdentityTransformStream();
  const write = async () => {
    const writer = through.writable.getWriter();
    const send = async (frames: Frame[]) => {
      for (const piece of await filled(frames, tail)) await writer.write(piece);
    };
    try {
      for (const chunk of held) await send(editor.push(chunk));
      for await (const chunk of rest) await send(editor.push(chunk));
      await send(editor.close());
      await writer.close();
    } catch (error) {
      await writer.abort(error);
    } finally {
      editor.close();
    }
  };
  write().catch(() => undefined);
  return through.readable;
}

/** The bytes of frames whose slots are a tail's. */
async function filled(frames: Frame[], tail: Tail | undefined): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for (const frame of frames) {
    if (frame instanceof Uint8Array) pieces.push(frame);
    else pieces.push(fill(frame, frame.kind === SlotKind.tail && tail ? await tail(frame.value) : frame.value));
  }
  return pieces.filter(({ length }) => length > 0);
}
