import type { IncomingMessage, ServerResponse } from "node:http";
import { readBody } from "./http.ts";

interface Stored {
  status: number;
  headers: [string, string][];
  body: Buffer;
  storedMs: number;
  expiresMs: number;
}

const maxEntries = 1000;

/** The Cache API store of one place, spoken to by workerd's cacheApiOutbound. */
export class CacheStore {
  private readonly entries = new Map<string, Stored>();
  private readonly timeScale: number;

  /** `timeScale` is production seconds per local second; it shortens every max-age. */
  constructor(timeScale: number) {
    this.timeScale = timeScale;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const key = `${String(request.headers["cf-cache-namespace"] ?? "")} ${request.url}`;
    const body = await readBody(request);
    switch (request.method) {
      case "GET":
        return this.match(key, response);
      case "PUT":
        this.put(key, body);
        response.writeHead(204).end();
        return;
      case "PURGE":
        response.writeHead(this.entries.delete(key) ? 200 : 404).end();
        return;
      default:
        response.writeHead(405).end();
    }
  }

  private match(key: string, response: ServerResponse): void {
    const stored = this.entries.get(key);
    const now = Date.now();
    if (!stored || stored.expiresMs <= now) {
      this.entries.delete(key);
      response.writeHead(504, { "cf-cache-status": "MISS" }).end();
      return;
    }
    const age = Math.floor(((now - stored.storedMs) * this.timeScale) / 1000);
    const headers = [...stored.headers, ["age", String(age)], ["cf-cache-status", "HIT"]];
    response.writeHead(stored.status, headers.flat()).end(stored.body);
  }

  // The body of the PUT is the whole answer as HTTP/1.1 text, its body never chunked whatever its headers say.
  private put(key: string, serialized: Buffer): void {
    const end = serialized.indexOf("\r\n\r\n");
    const [statusLine, ...lines] = serialized.subarray(0, end).toString("latin1").split("\r\n");
    const status = Number(statusLine!.split(" ")[1]);
    const headers = lines.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    });
    const lifetime = lifetimeSeconds(status, new Map(headers));
    if (lifetime <= 0) return;
    const now = Date.now();
    this.entries.delete(key);
    this.entries.set(key, {
      status,
      headers: headers.filter(([name]) => name !== "transfer-encoding" && name !== "content-length"),
      body: serialized.subarray(end + 4),
      storedMs: now,
      expiresMs: now + (lifetime * 1000) / this.timeScale,
    });
    const oldest = this.entries.keys().next().value;
    if (this.entries.size > maxEntries && oldest !== undefined) this.entries.delete(oldest);
  }
}

// Cloudflare's order: s-maxage, max-age, Expires, else a default by status.
function lifetimeSeconds(status: number, headers: Map<string, string>): number {
  const control = (headers.get("cache-control") ?? "").toLowerCase();
  if (/no-store|private|no-cache/.test(control) || headers.has("set-cookie")) return 0;
  const age = /s-maxage=(\d+)/.exec(control) ?? /max-age=(\d+)/.exec(control);
  if (age) return Number(age[1]);
  const expires = Date.parse(headers.get("expires") ?? "");
  if (!Number.isNaN(expires)) return (expires - Date.now()) / 1000;
  const defaults: Record<number, number> = { 200: 7200, 301: 7200, 302: 1200, 303: 1200, 404: 180, 410: 180 };
  return defaults[status] ?? 0;
}
