import type { IncomingMessage, ServerResponse } from "node:http";
import { readBody, sendJson } from "./http.ts";
import { KvError, type Entry, type Namespace, type PutOptions, type Store } from "./kv.ts";

const minCacheTtl = 30;
const defaultCacheTtl = 60;
const maxBulkKeys = 100;
const maxListKeys = 1000;

interface Cached {
  /** undefined: the key was absent, and that is remembered too. */
  entry: Entry | undefined;
  readMs: number;
  ttlMs: number;
}

/** A namespace as one place sees it: what it has read it believes for the cacheTtl, absence included. */
export class PlaceCache {
  private readonly namespace: Namespace;
  private readonly timeScale: number;
  private readonly cached = new Map<string, Cached>();

  /** `timeScale` is production seconds per local second; it shortens every cacheTtl. */
  constructor(namespace: Namespace, timeScale: number) {
    this.namespace = namespace;
    this.timeScale = timeScale;
  }

  /** Reads a key with a cacheTtl in seconds, at least 30; 60 unless given. */
  get(key: string, cacheTtl: number = defaultCacheTtl): Entry | undefined {
    if (!(cacheTtl >= minCacheTtl)) {
      const message = `Invalid cache_ttl of ${cacheTtl}. Cache TTL must be at least ${minCacheTtl}.`;
      throw new KvError(400, 10021, message);
    }
    const ttlMs = (cacheTtl * 1000) / this.timeScale;
    const cached = this.cached.get(key);
    const now = Date.now();
    // A shorter cacheTtl than the one that filled the cache ends the copy's life sooner.
    if (cached && now - cached.readMs < Math.min(ttlMs, cached.ttlMs)) return cached.entry;
    const entry = this.namespace.get(key);
    this.cached.set(key, { entry, readMs: now, ttlMs });
    return entry;
  }

  put(key: string, value: Buffer, options: PutOptions): void {
    this.namespace.put(key, value, options);
    this.cached.delete(key);
  }

  delete(key: string): void {
    this.namespace.delete(key);
    this.cached.delete(key);
  }

  list(prefix: string, limit: number, cursor: string): { keys: { name: string; metadata?: string }[]; cursor: string } {
    const page = this.namespace.list(prefix, limit, cursor);
    const keys = page.keys.map((name) => {
      const metadata = this.namespace.get(name)?.metadata;
      return metadata === undefined ? { name } : { name, metadata };
    });
    return { keys, cursor: page.cursor };
  }
}

/** Answers workerd's kvNamespace binding. */
export class KvBinding {
  private readonly store: Store;
  private readonly places: PlaceCache[];

  constructor(store: Store, places: PlaceCache[]) {
    this.store = store;
    this.places = places;
  }

  async handle(place: number, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const cache = this.places[place]!;
    const url = new URL(request.url!, "http://kv");
    const body = await readBody(request);
    const reading = request.method === "GET" || url.pathname === "/bulk/get";
    if (reading && this.store.faults.reads !== "ok") {
      if (this.store.faults.reads === "error") fail(response, 500, "Internal Server Error");
      return;
    }
    try {
      if (request.method === "POST") bulkGet(cache, body, response);
      else if (request.method === "GET" && url.pathname === "/") list(cache, url, response);
      else if (request.method === "GET") getOne(cache, url, response);
      else write(cache, request, url, body, response);
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      fail(response, error.status, error.message);
    }
  }
}

// workerd puts the status text into the exception that the worker sees.
function fail(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, message).end(message);
}

function keyOf(url: URL): string {
  return decodeURIComponent(url.pathname.slice(1));
}

function getOne(cache: PlaceCache, url: URL, response: ServerResponse): void {
  const entry = cache.get(keyOf(url), numberOf(url.searchParams.get("cache_ttl")));
  if (!entry) return fail(response, 404, "Not Found");
  const headers: Record<string, string> = {};
  if (entry.metadata !== undefined) headers["cf-kv-metadata"] = entry.metadata;
  if (entry.expiresMs !== undefined) headers["cf-expiration"] = String(Math.floor(entry.expiresMs / 1000));
  response.writeHead(200, headers).end(entry.value);
}

function bulkGet(cache: PlaceCache, body: Buffer, response: ServerResponse): void {
  const query = JSON.parse(body.toString()) as {
    keys: string[];
    type?: string;
    cacheTtl?: string;
    withMetadata?: boolean;
  };
  if (query.keys.length > maxBulkKeys)
    throw new KvError(400, 10040, `You can request a maximum of ${maxBulkKeys} keys`);
  if (query.keys.length < 1) throw new KvError(400, 10040, "You must request a minimum of 1 key");
  const type = query.type ?? "text";
  if (type !== "text" && type !== "json") {
    throw new KvError(400, 10041, `"${type}" is not a valid type. Use "json" or "text"`);
  }
  const values: Record<string, unknown> = {};
  for (const key of query.keys) {
    const entry = cache.get(key, numberOf(query.cacheTtl ?? null));
    const value = entry ? decode(entry.value, type) : null;
    const metadata = entry?.metadata === undefined ? null : JSON.parse(entry.metadata);
    values[key] = entry && query.withMetadata ? { value, metadata } : value;
  }
  sendJson(response, 200, values);
}

export function decode(value: Buffer, type: "text" | "json"): unknown {
  const text = value.toString();
  if (type === "text") return text;
  try {
    return JSON.parse(text);
  } catch {
    throw new KvError(400, 10041, "At least one of the requested keys corresponds to a non-json value");
  }
}

function list(cache: PlaceCache, url: URL, response: ServerResponse): void {
  const limit = numberOf(url.searchParams.get("key_count_limit")) ?? maxListKeys;
  if (!(limit >= 1 && limit <= maxListKeys)) throw new KvError(400, 10021, `Invalid key_count_limit of ${limit}.`);
  const page = cache.list(url.searchParams.get("prefix") ?? "", limit, url.searchParams.get("cursor") ?? "");
  const rest = page.cursor ? { list_complete: false, cursor: page.cursor } : { list_complete: true };
  sendJson(response, 200, { keys: page.keys, ...rest, cacheStatus: null });
}

function write(cache: PlaceCache, request: IncomingMessage, url: URL, body: Buffer, response: ServerResponse): void {
  if (request.method === "DELETE") cache.delete(keyOf(url));
  else if (request.method === "PUT") cache.put(keyOf(url), body, putOptions(url, header(request, "cf-kv-metadata")));
  else throw new KvError(405, 10021, `unknown operation ${request.method}`);
  response.end();
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** The expiry in a write's query, in both spellings of Cloudflare's. */
export function putOptions(url: URL, metadata: string | undefined): PutOptions {
  const options: PutOptions = {};
  if (metadata !== undefined) options.metadata = metadata;
  const ttl = numberOf(url.searchParams.get("expiration_ttl"));
  const expiration = numberOf(url.searchParams.get("expiration"));
  if (ttl !== undefined) options.ttl = ttl;
  if (expiration !== undefined) options.expiration = expiration;
  return options;
}

function numberOf(text: string | null): number | undefined {
  return text === null ? undefined : Number(text);
}
