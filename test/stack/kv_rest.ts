import type { ServerResponse } from "node:http";
import { sendError, sendResult, type ApiRequest, type Handler } from "./api.ts";
import { KvError, type Entry, type Namespace, type Store } from "./kv.ts";
import { decode, putOptions } from "./kv_binding.ts";

const maxBulkPairs = 10_000;
const maxBulkBytes = 100 * 1024 * 1024;
const maxBulkGetKeys = 100;

/** Answers the KV part of Cloudflare's REST API: /accounts/{a}/storage/kv/namespaces… */
export function kvRest(store: Store): Handler {
  return async (request, response) => {
    try {
      await route(store, request, response);
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      const headers: Record<string, string> =
        error.retryAfter === undefined ? {} : { "retry-after": String(error.retryAfter) };
      sendError(response, error.status, error.code, error.message, headers);
    }
  };
}

async function route(store: Store, request: ApiRequest, response: ServerResponse): Promise<void> {
  const [, , , id, part, ...rest] = request.path;
  const operation = `${request.method} ${[part, ...(part === "bulk" ? rest : [])].filter(Boolean).join("/")}`.trim();
  if (id === undefined) return namespaces(store, request, response);
  const namespace = store.namespace(id);
  // Names may hold slashes that the client did not escape.
  const key = rest.join("/");
  switch (operation) {
    case "GET":
      return sendResult(response, describe(namespace));
    case "GET keys":
      return listKeys(namespace, request, response);
    case "GET values":
      return getValue(namespace, key, response);
    case "GET metadata":
      return getMetadata(namespace, key, response);
    case "POST bulk/get":
      return bulkGet(namespace, request, response);
    case "DELETE":
      return write(store, response, () => store.namespaces.delete(id), null);
    case "PUT values": {
      const { value, metadata } = await uploaded(request);
      return write(store, response, () => namespace.put(key, value, putOptions(request.url, metadata)), {});
    }
    case "DELETE values":
      return write(store, response, () => namespace.delete(key), {});
    case "PUT bulk":
      return bulkPut(store, namespace, request, response);
    case "POST bulk/delete":
    case "DELETE bulk":
      return bulkDelete(store, namespace, request, response);
  }
  throw new KvError(405, 10405, `method ${request.method} is not allowed for ${request.url.pathname}`);
}

function describe(namespace: Namespace) {
  return { id: namespace.id, title: namespace.title, supports_url_encoding: true };
}

function namespaces(store: Store, request: ApiRequest, response: ServerResponse): void {
  if (request.method === "POST") {
    const { title } = parseJson(request.body) as { title?: string };
    let result: unknown;
    return write(
      store,
      response,
      () => (result = describe(store.create(title ?? ""))),
      () => result,
    );
  }
  const page = Number(request.url.searchParams.get("page") ?? 1);
  const perPage = Number(request.url.searchParams.get("per_page") ?? 20);
  const all = [...store.namespaces.values()].map(describe);
  const shown = all.slice((page - 1) * perPage, page * perPage);
  sendResult(response, shown, { page, per_page: perPage, count: shown.length, total_count: all.length });
}

/** Runs a write with the faults asked for; `result` may depend on what the write did. */
function write(store: Store, response: ServerResponse, effect: () => unknown, result: unknown): void {
  const { persist, answer } = store.nextWrite();
  if (persist) effect();
  if (answer === "ok") sendResult(response, typeof result === "function" ? result() : result);
  else if (answer === "error") sendError(response, 500, 10001, "internal error");
  // "hang" leaves the client waiting.
}

function found(namespace: Namespace, key: string, what: string): Entry {
  const entry = namespace.get(key);
  if (!entry) throw new KvError(404, 10009, `${what}: 'key not found'`);
  return entry;
}

function getValue(namespace: Namespace, key: string, response: ServerResponse): void {
  const { value, expiresMs } = found(namespace, key, "get");
  const headers: Record<string, string> = { "content-type": "application/octet-stream" };
  if (expiresMs !== undefined) headers.expiration = String(Math.floor(expiresMs / 1000));
  response.writeHead(200, headers).end(value);
}

function getMetadata(namespace: Namespace, key: string, response: ServerResponse): void {
  const { metadata } = found(namespace, key, "metadata");
  sendResult(response, metadata === undefined ? null : JSON.parse(metadata));
}

function listKeys(namespace: Namespace, request: ApiRequest, response: ServerResponse): void {
  const query = request.url.searchParams;
  const limit = Number(query.get("limit") ?? 1000);
  if (!(limit >= 10 && limit <= 1000))
    throw new KvError(400, 10021, `limit ${query.get("limit")} is not from 10 to 1000`);
  const page = namespace.list(query.get("prefix") ?? "", limit, query.get("cursor") ?? "");
  const keys = page.keys.map((name) => {
    const { metadata, expiresMs } = namespace.get(name)!;
    return {
      name,
      ...(expiresMs === undefined ? {} : { expiration: Math.floor(expiresMs / 1000) }),
      ...(metadata === undefined ? {} : { metadata: JSON.parse(metadata) as unknown }),
    };
  });
  sendResult(response, keys, { count: keys.length, cursor: page.cursor });
}

/** The value as multipart form data (cloudflare-go, wrangler) or as the raw body. */
async function uploaded(request: ApiRequest): Promise<{ value: Buffer; metadata: string | undefined }> {
  const type = request.headers["content-type"] ?? "";
  if (!type.startsWith("multipart/form-data")) return { value: request.body, metadata: undefined };
  const form = await new Response(new Uint8Array(request.body), { headers: { "content-type": type } })
    .formData()
    .catch((error: unknown) => {
      throw new KvError(400, 10021, `could not parse multipart body: ${String(error)}`);
    });
  const value = form.get("value");
  if (value === null) throw new KvError(400, 10021, "multipart body has no part named value");
  const metadata = form.get("metadata");
  return {
    value: typeof value === "string" ? Buffer.from(value) : Buffer.from(await value.arrayBuffer()),
    metadata: metadata === null ? undefined : typeof metadata === "string" ? metadata : await metadata.text(),
  };
}

interface Pair {
  key: string;
  value: string;
  base64?: boolean;
  metadata?: unknown;
  expiration?: number;
  expiration_ttl?: number;
}

function bulkPut(store: Store, namespace: Namespace, request: ApiRequest, response: ServerResponse): void {
  if (request.body.length > maxBulkBytes) throw new KvError(413, 10011, "the request is larger than 100 MB");
  const pairs = parseJson(request.body) as Pair[];
  if (!Array.isArray(pairs) || !pairs.every((pair) => typeof pair?.key === "string" && typeof pair.value === "string"))
    throw new KvError(400, 10012, "could not parse array of key/value pairs");
  if (pairs.length > maxBulkPairs) throw new KvError(400, 10025, `at most ${maxBulkPairs} pairs are allowed`);
  const unsuccessful: string[] = [];
  const put = (pair: Pair) => {
    try {
      namespace.put(pair.key, Buffer.from(pair.value, pair.base64 ? "base64" : "utf8"), {
        ...(pair.metadata === undefined ? {} : { metadata: JSON.stringify(pair.metadata) }),
        ...(pair.expiration === undefined ? {} : { expiration: pair.expiration }),
        ...(pair.expiration_ttl === undefined ? {} : { ttl: pair.expiration_ttl }),
      });
    } catch (error) {
      if (!(error instanceof KvError && error.status === 429)) throw error;
      unsuccessful.push(pair.key);
    }
  };
  const result = () => ({ successful_key_count: pairs.length - unsuccessful.length, unsuccessful_keys: unsuccessful });
  write(store, response, () => pairs.forEach(put), result);
}

function bulkDelete(store: Store, namespace: Namespace, request: ApiRequest, response: ServerResponse): void {
  const keys = parseJson(request.body) as (string | { name: string })[];
  if (!Array.isArray(keys)) throw new KvError(400, 10012, "could not parse array of keys");
  const remove = () => keys.forEach((key) => namespace.delete(typeof key === "string" ? key : key.name));
  write(store, response, remove, { successful_key_count: keys.length, unsuccessful_keys: [] });
}

function bulkGet(namespace: Namespace, request: ApiRequest, response: ServerResponse): void {
  const query = parseJson(request.body) as { keys: string[]; type?: "text" | "json"; withMetadata?: boolean };
  if (!Array.isArray(query.keys) || query.keys.length < 1 || query.keys.length > maxBulkGetKeys) {
    throw new KvError(400, 10040, `keys must hold 1 to ${maxBulkGetKeys} names`);
  }
  const values: Record<string, unknown> = {};
  for (const key of query.keys) {
    const entry = namespace.get(key);
    const value = entry ? decode(entry.value, query.type ?? "text") : null;
    const metadata = entry?.metadata === undefined ? null : (JSON.parse(entry.metadata) as unknown);
    values[key] = entry && query.withMetadata ? { value, metadata } : value;
  }
  sendResult(response, { values });
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    throw new KvError(400, 10012, "could not parse request body");
  }
}
