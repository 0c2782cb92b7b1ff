// What the shell asks of the routing core. The core decides; the shell does I/O.

export const Action = { notFound: 0, pass: 1, health: 2, variant: 3, service: 4, version: 5 } as const;
export const Endpoint = { predictions: 0, named: 1, http: 2 } as const;
export const Edit = { none: 0, set: 1, remove: 2 } as const;
export const Search = { searching: 0, found: 1, absent: 2 } as const;

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
}

export interface Target {
  name: string;
  index: string; // of its analytics points
  path: string; // below Replicate's base URL, or ""
  url: string; // or the base of a model server
  version: string; // to set in bodies
  credentials: boolean;
}

/** What the core says about a document once, when it is loaded. */
export interface Plan {
  service: string;
  rollout: string;
  generation: number;
  percentage: number;
  from: "" | "token" | "address";
  cookie: string;
  overrides: boolean;
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
  override: string;
  client: string;
  random: string;
  cookie: string;
  version: string;
  headers: string[]; // values of plan.headers
}

export interface Decision {
  target: Target;
  edit: number;
  isNew: boolean;
  reason: string;
  user: string; // fingerprint
  bucket: number;
}

export interface Finder {
  /** Reads on in the body and returns a Search. */
  push(chunk: Uint8Array): number;
  version: string;
  close(): void;
}

export interface Editor {
  push(chunk: Uint8Array): Uint8Array;
  /** What was still held back; nothing the second time. */
  close(): Uint8Array;
}

/** The largest body that is searched or edited in one call, in bytes. */
export const wholeBytes = 64 << 10;

/** Every call may throw a Trap; the next one finds a fresh core. */
export interface Core {
  readonly traps: number;
  resolve(method: string, path: string, service: string, upgrade: boolean): Route;
  /** The service keys, an alias key, or undefined. */
  resolveVersion(version: string): ServiceKeys | string | undefined;
  resolveService(name: string): ServiceKeys | undefined;
  /** Throws Unusable if the document is not fit for use. */
  load(text: string, halt: string): Loaded;
  release(loaded: Loaded): void;
  decide(loaded: Loaded, question: Question, now: number, endpoint: number): Decision;
  stable(loaded: Loaded, version: string, endpoint: number): { target: Target; edit: number };
  classify(status: number, failure: number): { outcome: string; errorClass: string };
  /** The version of a whole body of at most wholeBytes, or undefined. */
  findWhole(body: Uint8Array): string | undefined;
  /** A whole body of at most wholeBytes with its version set, or removed if version is "". */
  editWhole(body: Uint8Array, version: string): Uint8Array<ArrayBuffer>;
  finder(): Finder;
  /** Sets the version of a body, or removes it if version is "". */
  editor(version: string): Editor;
}

/** The core failed. It is not the request's fault. */
export class Trap extends Error {}

/** The request's head does not fit into the core's input. */
export class TooLong extends Error {}

/** A document that must not be used; the message says why. */
export class Unusable extends Error {}
