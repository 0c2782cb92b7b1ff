// Answers on their way back: what they tell of a prediction is read, and the
// URLs and ids in them lead through Perch.

import { join } from "./bytes.ts";
import type { Ended } from "./columns.ts";
import { Action, Shape, Trap, wholeBytes } from "./core.ts";
import type { Answered, Facts, Frame, Loaded, Slot, Target } from "./core.ts";
import { Filler } from "./filler.ts";
import { fill } from "./frames.ts";
import { made } from "./made.ts";
import { endOf, recordEnd, recordStranger } from "./outcome.ts";
import type { Passage } from "./passage.ts";
import { waitS } from "./prefer.ts";
import type { Context } from "./seal.ts";
import { lengthOf } from "./watch.ts";

/** How a request was routed. */
export interface Told {
  loaded: Loaded;
  target: Target; // assigned
  servedBy: Target; // of the same plan
  reason: string;
  user: string;
}

/** Whose a new prediction is. What another target answered in the assigned one's place counts for nobody. */
export function contextOf(p: Passage, told: Told): Context {
  const { service, rollout } = told.loaded.plan;
  const w = told.servedBy === told.target ? told.reason : "";
  const c = p.entry.held ? p.entry.client : ""; // else the client's own token tells Replicate
  return { p: "prediction", s: service, v: told.servedBy.name, r: rollout, w, u: told.user, c, n: p.trace.id };
}

/** What is known of an answer before it is read. */
export interface Source {
  asked: string; // URL that gave it
  shape: number;
  target?: Target; // who answered
}

const isJSON = (headers: Headers) => /^application\/([\w.-]+\+)?json *(;|$)/i.test(headers.get("content-type") ?? "");

/** Whether an answer's body is read on its way. Any other passes by untouched. */
const isRead = (response: Response, shape: number) =>
  shape !== Shape.none &&
  [200, 201, 202].includes(response.status) &&
  response.body !== null &&
  isJSON(response.headers);

/**
 * Reads an answer. A body of at most wholeBytes is read to its end: nothing has
 * gone out then, and what it tells can still change who answers. Throws if it breaks off.
 */
export async function readAnswer(p: Passage, response: Response, source: Source): Promise<Read> {
  const read = new Read(p, response, source);
  if (isRead(response, source.shape)) await read.begin();
  return read;
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

export class Read {
  /** Of a prediction's answer, once its body has ended. */
  facts?: Facts;
  /** How its prediction ended, as far as facts tell. */
  ended: Ended | "" = "";
  #held?: Uint8Array[]; // of a body that is read
  #rest?: Reader; // what is beyond wholeBytes
  #whole?: Answered;
  #listed: Facts[] = []; // of predictions that this isolate knows
  readonly #answeredAt = Date.now(); // headers, no body

  readonly #p: Passage;
  readonly #response: Response;
  readonly #source: Source;

  constructor(p: Passage, response: Response, source: Source) {
    this.#p = p;
    this.#response = response;
    this.#source = source;
  }

  /** Nothing of the body is still to come. */
  get isWhole(): boolean {
    return this.#held !== undefined && this.#rest === undefined;
  }

  async begin(): Promise<void> {
    const held = (this.#held = await this.#hold());
    if (this.#rest) return;
    this.#whole = unlessTrapped(() => this.#p.core.answerWhole(this.#source.shape, join(held)));
    const told = this.#whole;
    if (told) unlessTrapped(() => this.#learn(told));
  }

  /** Reads the body, or a little more than wholeBytes of it. */
  async #hold(): Promise<Uint8Array[]> {
    const { headers } = this.#response;
    // It costs less than reading chunks.
    if (lengthOf(headers) <= wholeBytes && !headers.has("content-encoding")) {
      return [new Uint8Array(await this.#response.arrayBuffer())];
    }
    const reader = (this.#response.body as ReadableStream<Uint8Array>).getReader();
    const held: Uint8Array[] = [];
    for (let bytes = 0; bytes <= wholeBytes;) {
      const { done, value } = await reader.read();
      if (done) return held;
      held.push(value);
      bytes += value.length;
    }
    this.#rest = reader;
    return held;
  }

  #learn({ facts, listed }: { facts: Facts; listed: Facts[] }): void {
    const { route, request, core } = this.#p;
    this.#listed.push(...listed.filter(({ id }) => made.of(id) !== undefined));
    if (this.#source.shape !== Shape.prediction) return;
    const synchronous = route.creates && waitS(request.headers) !== undefined;
    this.facts = facts;
    this.ended = core.ended(facts, this.#response.status, synchronous);
  }

  /** The answer for the client. */
  async pass(told?: Told): Promise<Response> {
    const context = this.#whose(told);
    const { asked, target = told?.servedBy } = this.#source;
    const filler = new Filler(this.#p, { asked, target, context, sealed: this.#p.sealed });
    const answer = await this.#body(filler, context);
    const location = answer.headers.get("location");
    if (location !== null) answer.headers.set("location", await filler.location(location, answer.status));
    return answer;
  }

  /** Whose prediction the answer is about, as far as this isolate knows. */
  #whose(told: Told | undefined): Context | undefined {
    const p = this.#p;
    if (told) return { ...contextOf(p, told), i: this.facts?.id };
    return p.context ?? (p.route.action === Action.prediction ? made.of(p.route.prediction) : undefined);
  }

  async #body(filler: Filler, context: Context | undefined): Promise<Response> {
    const response = this.#response;
    if (this.#held === undefined) return new Response(response.body, response);
    const bytes = join(this.#held);
    if (this.#rest) return withBody(response, this.#stream(bytes, this.#rest, filler, context));
    const frames = this.#whole?.frames ?? [bytes];
    const slots = frames.filter(isSlot);
    filler.prepare(slots);
    const values = await Promise.all(slots.map((slot) => filler.fill(slot)));
    this.#conclude(context);
    if (slots.every(({ value }, i) => value === values[i])) return withBody(response, bytes);
    let i = 0;
    return withBody(response, join(frames.map((frame) => (isSlot(frame) ? fill(frame, values[i++] ?? null) : frame))));
  }

  /** The body as it comes, filled in. A client that goes away ends the reading. */
  #stream(held: Uint8Array, rest: Reader, filler: Filler, context: Context | undefined): ReadableStream {
    const pieces = this.#pieces(held, rest, filler, context);
    return new ReadableStream<Uint8Array>(
      {
        async pull(to) {
          const { done, value } = await pieces.next();
          if (done) to.close();
          else to.enqueue(value);
        },
        async cancel(reason) {
          await Promise.all([rest.cancel(reason), pieces.return(undefined)]);
        },
      },
      { highWaterMark: 0 },
    );
  }

  async *#pieces(held: Uint8Array, rest: Reader, filler: Filler, context: Context | undefined) {
    const answer = unlessTrapped(() => this.#p.core.answer(this.#source.shape));
    const push = (chunk: Uint8Array) => answer?.push(chunk) ?? [chunk];
    try {
      yield* filled(push(held), filler);
      for (let next = await rest.read(); !next.done; next = await rest.read()) yield* filled(push(next.value), filler);
      yield* filled(answer?.close() ?? [], filler);
      if (answer) unlessTrapped(() => this.#learn({ facts: answer.facts(), listed: answer.listed() }));
      this.#conclude(context);
    } finally {
      unlessTrapped(() => answer?.close());
    }
  }

  /** Keeps what the whole answer has told. */
  #conclude(context: Context | undefined): void {
    const { facts, ended } = this;
    const [p, { status }] = [this.#p, this.#response];
    for (const seen of this.#listed) {
      const whose = made.of(seen.id);
      const how = unlessTrapped(() => p.core.ended(seen, status, false));
      if (whose && how) recordEnd(p, whose, endOf(seen, how, status));
    }
    if (!facts?.id) return;
    const known = context && { ...context, i: facts.id };
    if (known && (p.route.creates || p.sealed)) made.remember(known);
    if (ended === "") return;
    const firstByteMS = p.route.creates ? this.#answeredAt - p.startedAt : 0;
    if (known) recordEnd(p, known, endOf(facts, ended, status, firstByteMS));
    else if (p.route.action === Action.prediction) recordStranger(p, facts, ended, status);
  }
}

/** What the core makes of an answer; undefined if it fails: then the answer passes as it came. */
function unlessTrapped<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    if (error instanceof Trap) return undefined;
    throw error;
  }
}

const isSlot = (frame: Frame): frame is Slot => !(frame instanceof Uint8Array);

/** The bytes of frames, one piece for as many as need not wait. */
async function* filled(frames: Frame[], filler: Filler) {
  const values = await Promise.all(frames.map((frame) => (isSlot(frame) ? filler.fill(frame) : null)));
  const bytes = join(frames.map((frame, i) => (isSlot(frame) ? fill(frame, values[i] ?? null) : frame)));
  if (bytes.length > 0) yield bytes;
}

/** The answer with a body of another length, no longer compressed. */
function withBody(response: Response, body: BodyInit): Response {
  const changed = new Response(body, response);
  changed.headers.delete("content-encoding");
  changed.headers.delete("content-length");
  return changed;
}
