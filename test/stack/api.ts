import type { IncomingMessage, ServerResponse } from "node:http";
import { readBody, sendJson } from "./http.ts";

export const account = "local-account";

/** A refusal in the envelope of Cloudflare's API. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: number;

  constructor(status: number, code: number, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export type Permission = "kv" | "analytics" | "scripts";

const tokens = new Map<string, Permission[]>([
  ["local-token", ["kv", "analytics", "scripts"]],
  ["local-token-kv", ["kv"]],
  ["local-token-analytics", ["analytics"]],
]);

/** A request to the API, read whole. */
export interface ApiRequest {
  method: string;
  url: URL;
  /** The path below /accounts/{account}, split at slashes and decoded. */
  path: string[];
  headers: IncomingMessage["headers"];
  body: Buffer;
}

export type Handler = (request: ApiRequest, response: ServerResponse) => Promise<void> | void;

export interface Routes {
  /** Below /accounts/{account}: the first path segments, their permission, and who answers. */
  accounts: { prefix: string[]; permission: Permission; handle: Handler }[];
}

/** Counts the calls of the API: what Cloudflare allows 1,200 of in 5 minutes. */
export class Calls {
  readonly counts: Record<string, number> = {};

  /** Counts a call under its method and what it is of, such as "PUT kv/bulk"; ids and keys are left out. */
  add(method: string, path: string[]): void {
    const [first, ...rest] = path.slice(1);
    const [, , , ...ofNamespace] = rest;
    const of =
      first === "storage"
        ? ["kv", ...(ofNamespace[0] === "bulk" ? ofNamespace : ofNamespace.slice(0, 1))]
        : path.slice(1, 3);
    const name = `${method} ${of.join("/")}`;
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }
}

/** The envelope that all of Cloudflare's API but the SQL endpoint answers in. */
export function sendResult(response: ServerResponse, result: unknown, info?: Record<string, unknown>): void {
  const envelope = { success: true, errors: [], messages: [], result };
  sendJson(response, 200, info ? { ...envelope, result_info: info } : envelope);
}

export function sendError(
  response: ServerResponse,
  status: number,
  code: number,
  message: string,
  headers?: Record<string, string>,
): void {
  sendJson(response, status, { success: false, errors: [{ code, message }], messages: [], result: null }, headers);
}

/** Answers everything under /client/v4: checks the token, then routes. */
export async function handleApi(
  routes: Routes,
  calls: Calls,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(incoming.url!, "http://api");
  const [first, ...rest] = url.pathname.replace("/client/v4/", "").split("/").map(decodeURIComponent);
  calls.add(incoming.method!, rest);
  const body = await readBody(incoming);
  try {
    const granted = authenticate(incoming);
    if (first === "user" && rest.join("/") === "tokens/verify") return verifyToken(response);
    const route = routes.accounts.find(({ prefix }) => prefix.every((segment, i) => rest[i + 1] === segment));
    if (first !== "accounts" || !route) {
      throw new ApiError(404, 7003, `Could not route to ${url.pathname}, perhaps your object identifier is invalid?`);
    }
    if (rest[0] !== account || !granted.includes(route.permission)) {
      throw new ApiError(403, 10000, "Authentication error");
    }
    const request = { method: incoming.method!, url, path: rest.slice(1), headers: incoming.headers, body };
    await route.handle(request, response);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    sendError(response, error.status, error.code, error.message);
  }
}

function authenticate(incoming: IncomingMessage): Permission[] {
  const header = incoming.headers.authorization;
  if (!header) throw new ApiError(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers");
  const [scheme, token] = header.split(" ");
  if (scheme !== "Bearer" || !token) throw new ApiError(400, 6003, "Invalid request headers");
  const granted = tokens.get(token);
  if (granted) return granted;
  if (incoming.url!.endsWith("/user/tokens/verify")) throw new ApiError(401, 1000, "Invalid API Token");
  throw new ApiError(401, 10000, "Authentication error");
}

function verifyToken(response: ServerResponse): void {
  sendJson(response, 200, {
    success: true,
    errors: [],
    messages: [{ code: 10000, message: "This API Token is valid and active", type: null }],
    result: { id: "local-token-id", status: "active" },
  });
}
