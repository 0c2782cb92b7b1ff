// Reads a prediction's answer and leaves slots where its id and URLs stand: type
// Answer of package worker/prediction in JavaScript, for whole answers.

import { Ended } from "../../worker/shell/columns.ts";
import { SlotKind } from "../../worker/shell/core.ts";
import type { Facts, Frame } from "../../worker/shell/core.ts";
import { Kind, Scanner } from "./jsonstream.ts";
import type { Sink } from "./jsonstream.ts";

const maxSlotBytes = 8 << 10;
const maxFactBytes = 512;
const maxErrorBytes = 200;
const null0 = 0x6e; // its first letter

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

export const nothingKnown: Facts = {
  id: "",
  status: "",
  version: "",
  model: "",
  deployment: "",
  error: "",
  hasOutput: false,
  predictMS: 0,
  totalMS: 0,
  createdAtMS: 0,
  startedAtMS: 0,
  completedAtMS: 0,
  webhook: "",
};

type Texts = "id" | "status" | "version" | "model" | "deployment" | "error" | "webhook";
type Numbers = "predictMS" | "totalMS" | "createdAtMS" | "startedAtMS" | "completedAtMS";

/** A member that matters: the fact that it tells, and the slot that it becomes. */
interface Field {
  text?: Texts;
  seconds?: Numbers;
  time?: Numbers;
  slot?: number;
  opens?: Map<string, Field>; // the members of its object
  isOutput?: boolean;
}

const urls = new Map<string, Field>([
  ["get", { slot: SlotKind.get }],
  ["cancel", { slot: SlotKind.cancel }],
  ["stream", { slot: SlotKind.stream }],
]);
const metrics = new Map<string, Field>([
  ["predict_time", { seconds: "predictMS" }],
  ["total_time", { seconds: "totalMS" }],
]);
const members = new Map<string, Field>([
  ["id", { text: "id", slot: SlotKind.id }],
  ["status", { text: "status" }],
  ["version", { text: "version" }],
  ["model", { text: "model" }],
  ["deployment", { text: "deployment" }],
  ["error", { text: "error" }],
  ["webhook", { text: "webhook", slot: SlotKind.webhook }],
  ["created_at", { time: "createdAtMS" }],
  ["started_at", { time: "startedAtMS" }],
  ["completed_at", { time: "completedAtMS" }],
  ["output", { isOutput: true }],
  ["metrics", { opens: metrics }],
  ["urls", { opens: urls }],
]);

export class JavaScriptAnswer implements Sink {
  isObject = false;
  readonly frames: Frame[] = [];
  facts: Facts = { ...nothingKnown };
  #done = 0; // the frames hold everything before
  #field: Field | undefined; // that the newest key names
  #inner: Map<string, Field> | undefined; // of the object that is open
  #hasBegun = false; // the value of #field
  #text = "";
  #textBytes = 0;

  readonly #body: Uint8Array;

  constructor(body: Uint8Array) {
    this.#body = body;
    const scanner = new Scanner(this);
    if (!scanner.push(body) || !scanner.isDone) this.facts = { ...nothingKnown };
    this.#copyTo(body.length);
  }

  #copyTo(end: number): void {
    if (end > this.#done)
      this.frames.push(
        this.#done === 0 && end === this.#body.length ? this.#body : this.#body.subarray(this.#done, end),
      );
    this.#done = end;
  }

  token(
    kind: number,
    last: boolean,
    depth: number,
    start: number,
    end: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): boolean {
    if (depth === 0) return this.isObject && (kind === Kind.begin || kind === Kind.end);
    if (depth > 2 || (depth === 2 && this.#inner === undefined)) return true;
    if (kind === Kind.key) {
      if (this.#collect(last, bytes, from, to)) this.#field = (depth === 1 ? members : this.#inner)?.get(this.#text);
      return true;
    }
    if (depth === 1) this.#inner = kind === Kind.begin && this.isObject ? this.#field?.opens : undefined;
    if (this.#field !== undefined && kind !== Kind.end)
      this.#read(this.#field, kind, last, start, end, bytes, from, to);
    return true;
  }

  /** Collects a text in pieces, which end where characters do; tells whether it is whole. */
  #collect(last: boolean, bytes: Uint8Array, from: number, to: number): boolean {
    if (!this.#hasBegun) {
      this.#text = "";
      this.#textBytes = 0;
    }
    this.#hasBegun = !last;
    if (this.#textBytes <= maxSlotBytes) this.#text += textOf(bytes, from, to);
    this.#textBytes += to - from;
    return last;
  }

  #read(
    field: Field,
    kind: number,
    last: boolean,
    start: number,
    end: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): void {
    if (!this.#hasBegun) this.#forget(field, kind, start);
    if (kind === Kind.number && last && field.seconds !== undefined) {
      this.facts[field.seconds] = milliseconds(textOf(this.#body, start, end));
    }
    const isRead = kind === Kind.string && (field.text ?? field.time ?? field.slot) !== undefined;
    if (!isRead) this.#hasBegun = !last;
    else if (this.#collect(last, bytes, from, to)) {
      if (field.slot !== undefined) this.#slot(field.slot, start, end);
      this.#learn(field);
    }
  }

  /** Of repeated members the last counts. */
  #forget({ text, seconds, time, opens, isOutput }: Field, kind: number, start: number): void {
    const { facts } = this;
    if (text) facts[text] = "";
    const number = seconds ?? time;
    if (number) facts[number] = 0;
    if (opens === metrics) facts.predictMS = facts.totalMS = 0;
    if (isOutput) facts.hasOutput = kind !== Kind.literal || this.#body[start] !== null0;
  }

  #slot(kind: number, start: number, end: number): void {
    if (end - start > maxSlotBytes) return;
    this.#copyTo(start);
    const isPlain = this.#textBytes === end - start - 2 && !this.#text.includes("\ufffd");
    const raw = isPlain ? undefined : this.#body.slice(start, end);
    this.frames.push({ kind, value: this.#text, raw });
    this.#done = end;
  }

  #learn({ text, time, slot }: Field): void {
    const { facts } = this;
    if (text === "error") facts.error = firstOf(this.#text);
    else if (this.#textBytes > (slot === undefined ? maxFactBytes : maxSlotBytes)) return;
    else if (text) facts[text] = this.#text;
    else if (time) facts[time] = epochMS(this.#text);
  }
}

/** A loop costs less for short texts than leaving JavaScript for a decoder. */
function textOf(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let i = from; i < to; i++) {
    const c = bytes[i]!;
    if (c > 0x7f || i - from > 256) return decoder.decode(bytes.subarray(from, to));
    text += String.fromCharCode(c);
  }
  return text;
}

/** The first bytes of an error, and no half character. */
function firstOf(text: string): string {
  const bytes = encoder.encode(text);
  if (bytes.length <= maxErrorBytes) return text;
  let end = maxErrorBytes;
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return decoder.decode(bytes.subarray(0, end));
}

function epochMS(text: string): number {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text)) return 0;
  const ms = Date.parse(text);
  return ms > 0 ? ms : 0;
}

function milliseconds(seconds: string): number {
  const ms = Math.floor(Number(seconds) * 1_000 + 0.5);
  return ms > 0 && ms <= 2 ** 53 ? ms : 0;
}

/** How the prediction of an answer ended. */
export function endedOf(facts: Facts, httpStatus: number, synchronous: boolean): Ended | "" {
  if (httpStatus < 200 || httpStatus > 299) return "";
  const { status, hasOutput, error } = facts;
  const known = Object.values(Ended).find((ended) => ended === status);
  if (known !== undefined) return known;
  const isDone = synchronous && httpStatus === 201 && hasOutput && error === "";
  return status === "processing" && isDone ? Ended.succeeded : "";
}
