// What the shell asks of the routing core. The core decides; the shell does I/O.

import type { Ended, Outcome } from "./columns.ts";

export const Action = {
  notFound: 0,
  pass: 1, // to Replicate, as it is
  health: 2,
  variant: 3,
  service: 4, // by the document of route.keys
  version: 5, // the service follows from the body's version
  prediction: 6, // a poll or a cancellation of route.prediction
  at: 7, // to where route.seal leads
  webhook: 8, // a delivery for what route.seal names
  feedback: 9, // a rating, of route.keys if they were named
} as const;
export const Endpoint = { predictions: 0, named: 1, http: 2 } as const;
export const Edit = { none: 0, set: 1, remove: 2 } as const;
/** How far the search for a body's version has come; but for searching and found, that is the end of it. */
export const Search = { searching: 0, found: 1, absent: 2, duplicate: 3, malformed: 4 } as const;

/** Why a body must go on as it is, unrouted, for Replicate to refuse it. */
export type Fault = "" | "duplicate-key" | "malformed";

/** What the JSON of an answer holds whose URLs are Replicate's. */
export const Shape = {
  none: 0,
  prediction: 1, // a prediction or a training
  predictions: 2, // a page of those
  page: 3, // a page of something else: next and previous only
} as const;

/** The KV keys under which a service is found. */
export interface ServiceKeys {
  service: string;
  rollout: string;
  halt: string;
  alias: string; // "" for services that have no other names
}

export interface Route {
  action: number;
  endpoint: number;
  undecided: boolean;
  variant: string;
  rest: string;
  keys?: ServiceKeys;
  shape: number; // of a good answer of Replicate's: a Shape
  prediction: string; // of Action.prediction: its id, perhaps with ~ and a seal behind it
  seal: string; // of Action.at and Action.webhook
  cancel: boolean; // Action.prediction is a cancellation
  creates: boolean; // a prediction, by Replicate's API
  safe: boolean; // GET, HEAD, OPTIONS, QUERY: sending it twice changes nothing
}

export interface Target {
  name: string;
  at: number; // its place in plan.targets
  index: string; // of its analytics points
  path: string; // below Replicate's base URL, or ""
  url: string; // or the base of a model server
  version: string; // to set in bodies
  credentials: boolean;
  fallback: number; // place in plan.targets of who answers where this one fails, or −1
  timeoutMS: number; // until the answer begins; 0: no limit, as there is no fallback and none was asked for
  idleMS: number; // between two events of a stream
  headers: [name: string, value: string][]; // to add; a value may be secret:NAME
}

/** Who may come in. Texts that are absent are "". */
export interface Access {
  token: string; // secret:NAME of the token that is held, or "": clients bring their own
  keys: { name: string; sha256: string }[];
  jwt: JWTAccess | null;
  rateLimit: string; // name of the binding
}

export interface JWTAccess {
  algorithms: ("HS256" | "RS256" | "ES256")[]; // HS256 stands alone
  jwks: string; // URL; or
  key: string; // secret:NAME
  issuer: string;
  audience: string;
  user: string; // the claim that tells the user
}

/** What the core says about a document once, when it is loaded. */
export interface Plan {
  service: string;
  rollout: string;
  generation: number;
  percentage: number;
  from: "" | "token" | "address";
  cookie: string;
  overrides: boolean; // testers' tokens are accepted
  outcomes: "" | "webhook";
  access: Access | null;
  fallback: { maxBodyBytes: number }; // of a body that is kept to be sent again
  headers: string[]; // to hand to decide, in this order
  targets: Target[];
}

/** A document that the core holds. */
export interface Loaded {
  readonly text: string;
  readonly halt: string;
  readonly plan: Plan;
}

export interface Question {
  identity: string; // the verified user, who outranks every other, or ""
  override: string; // variant asked for by somebody who may, or ""
  client: string;
  random: string;
  cookie: string;
  version: string;
  headers: string[]; // values of plan.headers
  /** Nobody is sent there: the breaker's probe is left to another. */
  preview?: boolean;
}

/** A target, and what becomes of the version in a body for it. */
export interface Use {
  target: Target;
  edit: number;
}

export interface Decision extends Use {
  isNew: boolean;
  reason: string;
  user: string; // fingerprint
  bucket: number;
  skipped: boolean; // the breaker is open: target.fallback answers, and target is not asked
}

/** A request that a target did not answer well, before the first byte went out. */
export interface Trouble {
  cause: number; // a Failure; none where it is the status
  status: number; // 0 if none came
  creates: boolean; // route.creates
  safe: boolean; // route.safe
  resendable: boolean; // the whole body is at hand, or there is none
}

export interface Finder {
  /** Reads on in the body and returns a Search. Pushing on after found tells whether the rest is fit too. */
  push(chunk: Uint8Array): number;
  version: string;
  /** Call it when the body has ended, or no more of it is read: returns the Search. */
  close(): number;
}

/** What a body becomes: bytes to pass on, and places to fill in. */
export type Frame = Uint8Array | Slot;

/** A value to be replaced, or kept by putting the same one back: fill of frames.ts makes its bytes. */
export interface Slot {
  kind: number;
  /** The decoded string that stood there; of SlotKind.tail and kept, JSON. */
  value: string;
  /** The same as it was written, where that cannot be told from value. */
  raw?: Uint8Array;
  /** Of a tail: members stand before it. */
  comma?: boolean;
}

export const SlotKind = {
  id: 1,
  get: 2, // urls.get
  cancel: 3, // urls.cancel
  stream: 4, // urls.stream
  page: 5, // next or previous
  webhook: 6, // of an answer
  /** Of a create's body: value is the JSON object of the webhook members that the client had; members take its place. */
  tail: 7,
  /** Like tail, but one of them is too long to be taken out, or repeated, and stays: nothing but the value may be put back. */
  kept: 8,
} as const;

export interface Edits {
  edit: number; // of the version
  version: string; // to set
  webhook: boolean; // take the webhook members out, and leave a tail slot for others
}

export interface Editor {
  push(chunk: Uint8Array): Frame[];
  /** What was still held back; nothing the second time. */
  close(): Frame[];
}

/** What an answer tells about its prediction. Texts and times that are absent are "" and 0. */
export interface Facts {
  id: string;
  status: string;
  version: string;
  model: string;
  deployment: string;
  error: string;
  hasOutput: boolean;
  predictMS: number;
  totalMS: number;
  createdAtMS: number; // epoch
  startedAtMS: number;
  completedAtMS: number;
  webhook: string;
}

export interface Answered {
  frames: Frame[];
  facts: Facts; // of Shape.prediction
  listed: Facts[]; // of Shape.predictions, in their order
}

/** An answer of a shape, with slots where Replicate's URLs and ids stand. */
export interface Answer {
  push(chunk: Uint8Array): Frame[];
  /** What was still held back; nothing the second time. */
  close(): Frame[];
  /** Of Shape.prediction: what is known so far, and nothing of what proves malformed. */
  facts(): Facts;
  /** Of Shape.predictions: those that have passed since the last call. */
  listed(): Facts[];
}

/** The largest body that is searched or edited in one call, in bytes. */
export const wholeBytes = 64 << 10;

/** Every call may throw a Trap; the next one finds a fresh core. */
export interface Core extends BodyCore {
  readonly traps: number;
  resolve(method: string, path: string, service: string, upgrade: boolean): Route;
  /** The service keys, an alias key, or undefined. */
  resolveVersion(version: string): ServiceKeys | string | undefined;
  resolveService(name: string): ServiceKeys | undefined;
  /** Throws Unusable if the document is not fit for use. */
  load(text: string, halt: string): Loaded;
  release(loaded: Loaded): void;
  /** Reads PERCH_ACCESS by the rules of documents. Throws Unusable. */
  access(text: string): Access;
  /** Reads REPLICATE_HEADERS by the rules of documents. Throws Unusable. */
  headers(text: string): Target["headers"];
  decide(loaded: Loaded, question: Question, now: number, endpoint: number): Decision;
  /** What becomes of a body for the target at that place. */
  use(loaded: Loaded, target: number, version: string, endpoint: number): Use;
  /** use of stable. */
  stable(loaded: Loaded, version: string, endpoint: number): Use;
  /** Whether a request that the target did not answer well goes to its fallback, once. */
  rescue(loaded: Loaded, target: number, trouble: Trouble): boolean;
  /** Tells the breaker of a target with a fallback whether an answer counts against it. */
  report(loaded: Loaded, target: number, failed: boolean, now: number): void;
  /** failure is one of columns.ts. */
  classify(status: number, failure: number): { outcome: Outcome; errorClass: string };
}

/** The part of the core that reads and changes bodies. */
export interface BodyCore {
  /** The version of a whole body of at most wholeBytes, or "". */
  findWhole(body: Uint8Array): { version: string; fault: Fault };
  /** A whole body of at most wholeBytes, edited, unless it has a fault. */
  editWhole(body: Uint8Array, edits: Edits): { frames: Frame[]; fault: Fault };
  finder(): Finder;
  /** Of a member that is repeated, only the first is taken out: the upstream refuses such a body. */
  editor(edits: Edits): Editor;
  answer(shape: number): Answer;
  /** A whole answer of at most wholeBytes. */
  answerWhole(shape: number, body: Uint8Array): Answered;
  /** How a prediction ended, or "" while it has not; synchronous: the client waits for its end in this answer. */
  ended(facts: Facts, status: number, synchronous: boolean): Ended | "";
}

/** The core failed. It is not the request's fault. */
export class Trap extends Error {}

/** The request's head does not fit into the core's input. */
export class TooLong extends Error {}

/** A document that must not be used; the message says why. */
export class Unusable extends Error {}
