// A request's body: read no further than needed, passed on untouched or edited,
// and kept while it is sent where it may have to be sent again.

import { budget } from "./budget.ts";
import { join, Pieces } from "./bytes.ts";
import { Edit, Search, SlotKind, wholeBytes } from "./core.ts";
import type { Core, Editor, Fault, Frame } from "./core.ts";
import { fill } from "./frames.ts";
import { Refusal } from "./refusal.ts";

/** How much of a body is held while its version is looked for, in bytes. */
const maxHeldBytes = 8 << 20;

/** Tells what a body's webhook members become, as the text of a JSON object; had is the same of what was taken out. */
export type Tail = (had: string) => Promise<string>;

/** Why a body does not tell its version. */
export type Unfound = "no-version" | "body-too-large" | "body-encoded" | "no-memory" | "duplicate-key" | "malformed";

const unfound: Record<number, Unfound> = {
  [Search.absent]: "no-version",
  [Search.duplicate]: "duplicate-key",
  [Search.malformed]: "malformed",
};

/** A body that must go on unrouted, as it came. */
export class Unfit extends Error {
  readonly fault: Fault;
  constructor(fault: Fault) {
    super(fault);
    this.fault = fault;
  }
}

export class Body {
  #held: Uint8Array[] = []; // all of what was read, unless #dropped
  #heldBytes = 0;
  #ended = false;
  #dropped = false; // something was read that is not held
  #keep = 0;
  #pump: Promise<void> | undefined; // that sends what is still being read
  #isAwaited = false;
  #isSearched = false;
  version = "";
  /** Why a body was cut that was already on its way. */
  refusal: Refusal | undefined;

  readonly #request: Request;

  constructor(request: Request) {
    this.#request = request;
  }

  get #stream(): ReadableStream<Uint8Array> | null {
    return this.#request.body as ReadableStream<Uint8Array> | null;
  }

  /** The content-length, or NaN. */
  get #length(): number {
    return Number(this.#request.headers.get("content-length") ?? NaN);
  }

  /** Compressed: it can neither be read nor edited. */
  get encoded(): boolean {
    const encoding = this.#request.headers.get("content-encoding");
    return encoding !== null && encoding !== "identity";
  }

  /** Reads on until the version is known; says why if it cannot be. */
  async find(core: Core): Promise<Unfound | undefined> {
    if (this.encoded) return "body-encoded";
    if (this.#length <= wholeBytes) {
      const { version, fault } = core.findWhole(await this.#whole());
      this.version = version;
      this.#isSearched = true;
      return fault || (version === "" ? "no-version" : undefined);
    }
    const finder = core.finder();
    try {
      const end = await this.#read((chunk) => {
        const search = finder.push(chunk);
        if (search !== Search.searching) return search;
        return this.#heldBytes > maxHeldBytes ? "body-too-large" : undefined;
      });
      if (typeof end === "string") return end;
      this.#isSearched = this.#ended;
      const search = this.#ended ? finder.close() : end;
      if (search === Search.found) this.version = finder.version;
      return this.version === "" ? (unfound[search ?? Search.absent] ?? "no-version") : undefined;
    } finally {
      finder.close();
    }
  }

  /** Holds chunks until the body ends, see says something or there is no room. */
  async #read<T>(see: (chunk: Uint8Array) => T | undefined): Promise<T | "no-memory" | undefined> {
    const stream = this.#stream;
    if (stream === null) return undefined;
    const pieces = new Pieces(stream);
    try {
      while (!this.#ended) {
        const value = await pieces.next();
        const fits = value === undefined || budget.take(this, value.length, Date.now());
        if (value !== undefined) this.#hold(value);
        this.#ended = value === undefined || this.#heldBytes === this.#length;
        const seen = value && see(value);
        if (seen !== undefined) return seen;
        if (!fits) return "no-memory";
      }
      return undefined;
    } finally {
      pieces.release();
    }
  }

  #hold(chunk: Uint8Array): void {
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
  }

  /** Holds the body of a length that is known. It costs less than reading chunks. */
  async #whole(): Promise<Uint8Array> {
    const bytes = new Uint8Array(await this.#request.arrayBuffer());
    this.#hold(bytes);
    this.#ended = true;
    return bytes;
  }

  /** Has the next send keep the body as far as it has at most so many bytes, so that it can be sent again. */
  keep(bytes: number): void {
    const { method } = this.#request;
    if (method !== "GET" && method !== "HEAD") this.#keep = bytes; // theirs go on with the request itself
  }

  /**
   * The body to send: edited, or as it came. Throws Unfit if it cannot be edited.
   * A tail's Refusal comes from here, or cuts the body that is on its way.
   */
  async send(core: Core, edit: number, version: string, tail?: Tail): Promise<BodyInit | null> {
    const untouched = (edit === Edit.none && !tail) || this.encoded;
    if (!this.#ended && this.#length <= wholeBytes && (!untouched || this.#length <= this.#keep)) await this.#whole();
    if (untouched) return this.#asItCame();
    const edits = { edit, version, webhook: tail !== undefined };
    if (this.#ended && this.#heldBytes <= wholeBytes) {
      const whole = join(this.#held);
      const { frames, fault } = core.editWhole(whole, edits);
      if (fault) throw new Unfit(fault);
      return join(await filled(frames, tail));
    }
    const editor = core.editor(edits);
    if (!this.#ended && this.#stream !== null) return this.#edited(editor, tail && this.#noting(tail));
    try {
      const frames = this.#held.flatMap((chunk) => editor.push(chunk));
      return join(await filled([...frames, ...editor.close()], tail));
    } finally {
      editor.close();
    }
  }

  /**
   * Whether the same body can be sent once more. What the client has yet to send is
   * awaited; the request that carried the body must have ended or been cancelled.
   */
  async resendable(): Promise<boolean> {
    if (this.#stream === null) return true;
    await this.#pump;
    if (this.#ended || this.#dropped || !this.#pump) return !this.#dropped; // without a pump nothing has gone out
    try {
      for await (const _ of this.#rest()) if (this.#dropped) return false;
    } catch {
      return false; // the client went away
    }
    return true;
  }

  /** Whether it is the client that keeps the upstream waiting, by sending slowly. */
  get isAwaited(): boolean {
    return this.#isAwaited;
  }

  /** Whether all of it was searched for its version. */
  get isSearched(): boolean {
    return this.#isSearched;
  }

  /** Whether part of it went by without being kept. */
  get isLost(): boolean {
    return this.#dropped;
  }

  /** Whether all of the body has been read, or there is none. */
  get complete(): boolean {
    return this.#ended || this.#stream === null;
  }

  /** Lets go of what is held: the body is not sent again. */
  release(): void {
    this.#keep = 0;
    this.#drop();
  }

  #drop(): void {
    this.#held = [];
    this.#dropped = true;
    budget.give(this);
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
    const stream = this.#stream;
    if (this.#ended) return join(this.#held);
    if (stream === null) return null;
    const kept = !(this.#length > this.#keep) && this.#keep > 0;
    if (this.#keep === 0 && this.#heldBytes === 0) {
      this.#dropped = true;
      return stream;
    }
    const length = this.#length;
    const through = Number.isNaN(length) ? new IdentityTransformStream() : new FixedLengthStream(length);
    const write = async () => {
      const writer = through.writable.getWriter();
      try {
        for (const chunk of this.#held) if (chunk.length > 0) await writer.write(chunk);
        if (kept) await this.#keepOn(writer);
        if (this.#ended) return await writer.close();
      } catch (error) {
        return await writer.abort(error);
      }
      this.#drop();
      writer.releaseLock();
      this.#isAwaited = true;
      await stream.pipeTo(through.writable).finally(() => (this.#isAwaited = false)); // without JavaScript
      this.#ended = true;
    };
    // Whoever reads the stream sees the failure; here it has nobody to be told.
    this.#pump = write().catch(() => undefined);
    return through.readable;
  }

  /** Sends what comes as long as it is kept. */
  async #keepOn(writer: WritableStreamDefaultWriter<Uint8Array>): Promise<void> {
    for await (const chunk of this.#rest()) {
      await writer.write(chunk);
      if (this.#dropped) return;
    }
  }

  /** A stream of what was held and the rest, edited; the editor is closed however it ends. */
  #edited(editor: Editor, tail: Tail | undefined): ReadableStream {
    const through = new IdentityTransformStream();
    const write = async () => {
      const writer = through.writable.getWriter();
      const send = async (frames: Frame[]) => {
        for (const piece of await filled(frames, tail)) await writer.write(piece);
      };
      try {
        for (const chunk of this.#held) await send(editor.push(chunk));
        for await (const chunk of this.#rest()) await send(editor.push(chunk));
        await send(editor.close());
        await writer.close();
      } catch (error) {
        await writer.abort(error);
      } finally {
        editor.close();
      }
    };
    this.#pump = write().catch(() => undefined);
    return through.readable;
  }

  /** The chunks that are still to come, kept as long as there is room. */
  async *#rest(): AsyncGenerator<Uint8Array, void, undefined> {
    const stream = this.#stream;
    if (stream === null) return;
    if (this.#heldBytes > this.#keep) this.#drop();
    const pieces = new Pieces(stream);
    try {
      while (!this.#ended) {
        this.#isAwaited = true;
        const value = await pieces.next().finally(() => (this.#isAwaited = false));
        this.#ended = value === undefined;
        if (value === undefined) continue;
        if (!this.#dropped) this.#keepChunk(value);
        yield value;
      }
    } finally {
      pieces.release();
    }
  }

  #keepChunk(chunk: Uint8Array): void {
    const fits = this.#heldBytes + chunk.length <= this.#keep && budget.take(this, chunk.length, Date.now());
    if (fits) this.#hold(chunk);
    else this.#drop();
  }
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
