import { randomUUID } from "node:crypto";

export interface Entry {
  value: Buffer;
  /** JSON text. */
  metadata?: string;
  /** When the entry ends, in milliseconds since 1970. */
  expiresMs?: number;
}

export interface PutOptions {
  metadata?: string;
  /** Seconds from now, at least 60. */
  ttl?: number;
  /** Seconds since 1970, at least 60 from now. */
  expiration?: number;
}

/**
 * A refusal with a status and code of Cloudflare's API. 10009, 10013 and 10014 are known to be the real ones; the
 * codes of other refusals are undocumented, so callers should go by the status.
 */
export class KvError extends Error {
  readonly status: number;
  readonly code: number;
  /** For 429: seconds until the write would be taken. */
  readonly retryAfter?: number;

  constructor(status: number, code: number, message: string, retryAfter?: number) {
    super(message);
    this.status = status;
    this.code = code;
    if (retryAfter !== undefined) this.retryAfter = retryAfter;
  }
}

const maxKeyBytes = 512;
const maxValueBytes = 25 * 1024 * 1024;
const maxMetadataBytes = 1024;
const minTtlSeconds = 60;

/** One namespace as the central store sees it: always current, no cache. */
export class Namespace {
  readonly id: string;
  readonly title: string;
  private readonly entries = new Map<string, Entry>();
  private readonly writtenMs = new Map<string, number>();
  private readonly timeScale: number;

  /** `timeScale` is production seconds per local second. */
  constructor(id: string, title: string, timeScale: number) {
    this.id = id;
    this.title = title;
    this.timeScale = timeScale;
  }

  get(key: string): Entry | undefined {
    checkKey(key);
    const entry = this.entries.get(key);
    if (entry?.expiresMs !== undefined && entry.expiresMs <= Date.now()) {
      this.entries.delete(key);
      return undefined;
    }
    return entry;
  }

  put(key: string, value: Buffer, options: PutOptions = {}): void {
    checkKey(key);
    if (value.length > maxValueBytes) {
      throw new KvError(413, 10033, `Value length of ${value.length} exceeds limit of ${maxValueBytes}.`);
    }
    const entry: Entry = { value };
    if (options.metadata !== undefined) entry.metadata = checkMetadata(options.metadata);
    const ttl = ttlOf(options);
    if (ttl !== undefined) entry.expiresMs = Date.now() + (ttl * 1000) / this.timeScale;
    this.spendWrite(key);
    this.entries.set(key, entry);
  }

  delete(key: string): void {
    checkKey(key);
    this.spendWrite(key);
    this.entries.delete(key);
  }

  /** The keys with a prefix in order, at most `limit` of them, those after `cursor` only. */
  list(prefix: string, limit: number, cursor: string): { keys: string[]; cursor: string } {
    const after = Buffer.from(cursor, "base64url").toString();
    const all = [...this.entries.keys()].filter((key) => key.startsWith(prefix) && key > after && this.get(key));
    const keys = all.sort().slice(0, limit);
    const more = all.length > keys.length;
    return { keys, cursor: more ? Buffer.from(keys.at(-1)!).toString("base64url") : "" };
  }

  // One write a second to a key.
  private spendWrite(key: string): void {
    const intervalMs = 1000 / this.timeScale;
    const waitMs = (this.writtenMs.get(key) ?? -Infinity) + intervalMs - Date.now();
    if (waitMs > 0) {
      const seconds = Math.max(1, Math.ceil(waitMs / 1000));
      throw new KvError(429, 10058, `KV: too many writes to key ${key}: one a second is allowed`, seconds);
    }
    this.writtenMs.set(key, Date.now());
  }
}

function checkKey(key: string): void {
  if (key === "" || key === "." || key === "..")
    throw new KvError(400, 10028, `illegal key name ${JSON.stringify(key)}`);
  const length = Buffer.byteLength(key);
  if (length > maxKeyBytes) {
    throw new KvError(414, 10030, `UTF-8 encoded length of ${length} exceeds key length limit of ${maxKeyBytes}.`);
  }
}

function checkMetadata(metadata: string): string {
  const length = Buffer.byteLength(metadata);
  if (length > maxMetadataBytes) {
    throw new KvError(413, 10034, `Metadata length of ${length} exceeds limit of ${maxMetadataBytes}.`);
  }
  try {
    JSON.parse(metadata);
  } catch {
    throw new KvError(400, 10021, "could not parse metadata, it must be JSON");
  }
  return metadata;
}

function ttlOf({ ttl, expiration }: PutOptions): number | undefined {
  const seconds = ttl ?? (expiration === undefined ? undefined : expiration - Date.now() / 1000);
  if (seconds === undefined) return undefined;
  if (!(seconds >= minTtlSeconds)) {
    throw new KvError(400, 10022, `Invalid expiration: it must be at least ${minTtlSeconds} seconds in the future.`);
  }
  return seconds;
}

export type Mode = "ok" | "error" | "hang";

/** From the `write`-th REST write on (1 is the next) writes fail; that one may still be persisted, later ones are not. */
export interface Trip {
  write: number;
  persist: boolean;
  then: "error" | "hang";
}

/** Faults on demand, for the worker's reads, for the writes of the REST API, and for all of its calls. */
export interface Faults {
  reads: Mode;
  writes: Mode;
  api: Mode;
  trip: Trip | null;
}

/** All namespaces of the account. */
export class Store {
  readonly namespaces = new Map<string, Namespace>();
  readonly faults: Faults = { reads: "ok", writes: "ok", api: "ok", trip: null };
  private readonly timeScale: number;

  constructor(timeScale: number) {
    this.timeScale = timeScale;
  }

  create(title: string, id: string = randomUUID().replaceAll("-", "")): Namespace {
    if (title === "") throw new KvError(400, 10019, "namespace title must not be empty");
    for (const { title: taken } of this.namespaces.values()) {
      if (taken === title) throw new KvError(400, 10014, "a namespace with this account ID and title already exists");
    }
    const namespace = new Namespace(id, title, this.timeScale);
    this.namespaces.set(id, namespace);
    return namespace;
  }

  namespace(id: string): Namespace {
    const namespace = this.namespaces.get(id);
    if (!namespace) throw new KvError(404, 10013, "namespace not found");
    return namespace;
  }

  /** How the REST write that comes now ends: whether it takes effect, and how it is answered. */
  nextWrite(): { persist: boolean; answer: Mode } {
    const { trip, writes } = this.faults;
    if (trip) {
      trip.write--;
      if (trip.write <= 0) return { persist: trip.write === 0 && trip.persist, answer: trip.then };
    }
    return { persist: writes === "ok", answer: writes };
  }
}
