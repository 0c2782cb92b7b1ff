// Rollout documents and aliases: from KV, kept in the isolate, with the last
// good document in the colo's cache for the time when KV is away.

import { Trap, Unusable } from "./core.ts";
import type { Core, Loaded, ServiceKeys } from "./core.ts";
import { log, maxAgeMS, refreshMS } from "./env.ts";
import type { Env } from "./env.ts";

const cacheTtl = 30; // seconds, the least that KV allows
const kvTimeoutMS = 2_000;
const copyEveryMS = 60 * 60 * 1_000;
const maxEntries = 1_000;
const maxAliasHops = 2;

interface Entry {
  readAt: number;
  refreshedAt: number; // when the latest refresh began
  loaded?: Loaded;
  aliasOf?: Alias; // what this name belongs to
  copiedAt: number; // when the colo's copy was written
  trouble?: string; // why KV's document was not used, as logged
}

/** What an alias key tells of a version, deployment or model. */
export interface Alias {
  service: string;
  variant: string; // that it was in the rollout, or ""
  rollout: string; // or ""
}

/** What is known of a service: its document, or why there is none. */
export interface Found {
  loaded?: Loaded;
  unreachable: boolean; // KV did not answer, so that there may be a document
}

/** The service that an alias names, or why there is none. */
export interface Aliased {
  keys?: ServiceKeys;
  alias?: Alias;
  unreachable: boolean;
}

const unreachable = "unreachable";

export class Rollouts {
  #entries = new Map<string, Entry>();
  constructor(private readonly core: Core) {}

  /** The document of a service, or of the service that its name is an alias of. */
  async find(keys: ServiceKeys, env: Env, ctx: ExecutionContext, hops = 0): Promise<Found> {
    const entry = await this.#current(keys.rollout, env, ctx, () => this.#readService(keys, env, ctx));
    if (entry.loaded === undefined && entry.aliasOf !== undefined && hops < maxAliasHops) {
      const target = this.core.resolveService(entry.aliasOf.service);
      if (target) return this.find(target, env, ctx, hops + 1);
    }
    return { loaded: entry.loaded, unreachable: entry.trouble === unreachable };
  }

  /** The service that an alias key names. */
  async alias(key: string, env: Env, ctx: ExecutionContext): Promise<Aliased> {
    const entry = await this.#current(key, env, ctx, () => this.#readAlias(key, env));
    const keys = entry.aliasOf && this.core.resolveService(entry.aliasOf.service);
    return { keys, alias: entry.aliasOf, unreachable: entry.trouble === unreachable };
  }

  /** An entry that is young enough; old ones are read anew, ageing ones behind the request's back. */
  async #current(key: string, env: Env, ctx: ExecutionContext, read: () => Promise<Entry>): Promise<Entry> {
    const now = Date.now();
    const entry = this.#entries.get(key);
    if (entry === undefined || now - entry.readAt >= maxAgeMS(env)) return this.#keep(key, await read());
    // A refresh that its request could not finish must not stop later ones.
    const due = Math.max(entry.readAt, entry.refreshedAt) + refreshMS(env);
    if (now >= due) {
      entry.refreshedAt = now;
      const refresh = read().then((next) => this.#keep(key, next));
      ctx.waitUntil(refresh.catch((error: unknown) => log("refresh", { key, error: String(error) })));
    }
    return entry;
  }

  #keep(key: string, entry: Entry): Entry {
    const previous = this.#entries.get(key)?.loaded;
    if (previous && previous !== entry.loaded) this.core.release(previous);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > maxEntries) this.#dropOldest();
    return entry;
  }

  /** Drops an entry. Those without a document go first: anybody can ask for names that nobody has. */
  #dropOldest(): void {
    let oldest: string | undefined;
    for (const [key, { loaded }] of this.#entries) {
      oldest ??= key;
      if (loaded) continue;
      oldest = key;
      break;
    }
    if (oldest === undefined) return;
    const { loaded } = this.#entries.get(oldest) ?? {};
    if (loaded) this.core.release(loaded);
    this.#entries.delete(oldest);
  }

  async #readService(keys: ServiceKeys, env: Env, ctx: ExecutionContext): Promise<Entry> {
    const values = await readKV(env, [keys.rollout, keys.halt]);
    // Another request may have read while this one waited: what it found is the last good document now.
    const previous = this.#entries.get(keys.rollout);
    const next = entryAfter(previous);
    if (values === undefined) return this.#lastGood(keys, next, previous, unreachable);
    const text = values.get(keys.rollout) ?? null;
    const halt = values.get(keys.halt) ?? "";
    next.aliasOf = undefined;
    if (text === null && !next.loaded && keys.alias !== "") {
      const aliases = await readKV(env, [keys.alias]);
      if (aliases === undefined) return this.#lastGood(keys, next, previous, unreachable, halt);
      next.aliasOf = aliasOf(aliases.get(keys.alias) ?? null);
      if (next.aliasOf !== undefined) return next;
    }
    const trouble = text === null ? "missing" : this.#load(next, text, halt);
    if (trouble !== undefined) return this.#lastGood(keys, next, previous, trouble, halt);
    this.#copy(keys, next, ctx);
    return next;
  }

  /** Loads a document into the entry, or says why it cannot be used. */
  #load(entry: Entry, text: string, halt: string): string | undefined {
    if (entry.loaded?.text === text && entry.loaded.halt === halt) return undefined;
    try {
      entry.loaded = this.core.load(text, halt);
      return undefined;
    } catch (error) {
      if (error instanceof Unusable || error instanceof Trap) return error.message;
      throw error;
    }
  }

  /** The isolate's last good document, else the colo's copy, else none. */
  async #lastGood(keys: ServiceKeys, next: Entry, previous: Entry | undefined, trouble: string, halt?: string) {
    next.trouble = trouble;
    let good = previous?.loaded;
    if (good === undefined) {
      const copy = await readCopy(keys);
      if (copy && this.#load(next, copy.text, halt || copy.halt) === undefined) good = next.loaded;
    } else if (halt && halt !== good.halt) {
      this.#load(next, good.text, halt);
    }
    const unwritten = trouble === "missing" && good === undefined; // nobody's service, or not yet
    if (trouble !== previous?.trouble && !unwritten) {
      log("document", { service: keys.service, trouble, using: good ? "last good" : "none" });
    }
    return next;
  }

  #copy(keys: ServiceKeys, entry: Entry, ctx: ExecutionContext): void {
    const { loaded } = entry;
    const changed = loaded !== this.#entries.get(keys.rollout)?.loaded;
    if (loaded === undefined || (!changed && entry.readAt - entry.copiedAt < copyEveryMS)) return;
    entry.copiedAt = entry.readAt;
    const copy = Response.json(
      { text: loaded.text, halt: loaded.halt },
      { headers: { "cache-control": "max-age=86400" } },
    );
    ctx.waitUntil(caches.default.put(copyURL(keys), copy).catch(() => undefined));
  }

  async #readAlias(key: string, env: Env): Promise<Entry> {
    const values = await readKV(env, [key]);
    const previous = this.#entries.get(key);
    const next = entryAfter(previous);
    if (values !== undefined) return { ...next, aliasOf: aliasOf(values.get(key) ?? null) };
    if (previous?.trouble !== unreachable) log("alias", { key, trouble: unreachable });
    return { ...next, trouble: unreachable };
  }
}

/** An entry that was read now, with all that is known from before. */
function entryAfter(previous: Entry | undefined): Entry {
  const now = Date.now();
  const { loaded, aliasOf, copiedAt = 0 } = previous ?? {};
  return { readAt: now, refreshedAt: now, loaded, aliasOf, copiedAt };
}

/** The values, or undefined if KV did not give them. */
async function readKV(env: Env, keys: string[]): Promise<Map<string, string | null> | undefined> {
  let timer = 0;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), kvTimeoutMS);
  });
  try {
    return await Promise.race([env.ROLLOUTS.get(keys, { type: "text", cacheTtl }), timeout]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}

const copyURL = (keys: ServiceKeys) => `https://perch.invalid/${encodeURIComponent(keys.rollout)}`;

async function readCopy(keys: ServiceKeys): Promise<{ text: string; halt: string } | undefined> {
  try {
    const response = await caches.default.match(copyURL(keys));
    return response && (await response.json());
  } catch {
    return undefined;
  }
}

function aliasOf(text: string | null): Alias | undefined {
  if (text === null) return undefined;
  try {
    const { service, variant = "", rollout = "" } = JSON.parse(text) as Record<string, unknown>;
    const isAlias = typeof service === "string" && typeof variant === "string" && typeof rollout === "string";
    return isAlias ? { service, variant, rollout } : undefined;
  } catch {
    return undefined;
  }
}
