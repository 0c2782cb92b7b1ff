// Who may come in, and as whom.

import type { Access, Core } from "./core.ts";
import { Unusable } from "./core.ts";
import { log } from "./env.ts";
import type { Env } from "./env.ts";
import { verify } from "./jwt.ts";
import { Refusal } from "./refusal.ts";
import type { Context } from "./seal.ts";
import { nobody, settingOf } from "./secrets.ts";
import type { Entry } from "./secrets.ts";

/** The longest key or token that is looked at, in characters. */
const longestToken = 8 << 10;
/** How long an accepted key or token is believed without another look, in ms. */
const rememberMS = 5 * 60_000;
const maxRemembered = 1_000;
/** The shortest period of a rate-limit binding, which does not tell its own. */
const retryAfterS = "10";

/** What of a request decides whether it may come in. */
export interface Arrival {
  core: Core;
  env: Env;
  request: Request;
}

interface Known {
  identity: string;
  client: string;
  until: number; // epoch milliseconds
}

/** The access that counts for a document, or for what has none. Throws a Refusal if the worker's cannot be read. */
export function accessOf(p: Arrival, plan?: { access: Access | null }): Access | null {
  return plan?.access ?? workerAccess(p);
}

let workers: { text: string; access?: Access } = { text: "" };

function workerAccess({ core, env }: Arrival): Access | null {
  const text = settingOf(env.PERCH_ACCESS);
  if (text === "") return null;
  if (text !== workers.text) {
    workers = { text };
    try {
      workers.access = core.access(text);
    } catch (error) {
      if (!(error instanceof Unusable)) {
        workers = { text: "" }; // the core failed, not the text
        throw error;
      }
      log("access", { what: "PERCH_ACCESS", trouble: error.message });
    }
  }
  if (workers.access) return workers.access;
  throw new Refusal(503, "PERCH_ACCESS of this worker cannot be used, so nobody is let in");
}

/** Lets a client in by its key or token. Throws a Refusal that says why not. */
export async function admit(p: Arrival, access: Access | null): Promise<Entry> {
  if (access === null || (access.keys.length === 0 && access.jwt === null)) return nobody;
  const { token } = access;
  const held = token !== "";
  // A preflight carries no credentials; it creates nothing and gets no token.
  if (p.request.method === "OPTIONS") return { ...nobody, held };
  const shown = credential(p.request.headers, held);
  if (shown === "") {
    if (!held) return nobody;
    throw unauthorized(`send ${wanted(access)} as Authorization: Bearer …`);
  }
  try {
    const { identity, client } = await recognise(p.env, access, shown);
    return { identity, client, held, token };
  } catch (error) {
    // Whoever brings a token of Replicate's needs none of ours: it tells who they are, no more.
    if (!held && error instanceof Refusal && error.status === 503) return nobody;
    throw error;
  }
}

/**
 * Lets a client in to what a seal names: under a held token only the one who
 * made it. A stream's URL is enough for who sends no key, as Replicate's own is:
 * clients follow it without their credentials.
 */
export async function admitTo(p: Arrival, access: Access | null, sealed: Context): Promise<Entry> {
  const { p: purpose, c: maker = "" } = sealed;
  if (access === null && maker !== "") throw new Refusal(503, "who may see this prediction cannot be read now");
  if (access !== null && purpose === "stream" && isAnonymous(p, access)) {
    return { ...nobody, held: access.token !== "" };
  }
  const entry = await admit(p, access);
  if (!entry.held || p.request.method === "OPTIONS" || maker === entry.client) return entry;
  throw new Refusal(403, "this was not made through Perch by this client");
}

/**
 * Lets through what no document decides. Under a held token that is nothing: it
 * would give the account to everyone who may make predictions.
 */
export async function admitUnrouted(p: Arrival, entry: Entry, reason: string): Promise<Entry> {
  let known = entry;
  if (!known.held) {
    const access = accessOf(p);
    if (!access?.token) return nobody;
    known = await admit(p, access);
  }
  if (p.request.method === "OPTIONS") return known;
  throw closed(reason);
}

function closed(reason: string): Refusal {
  const only = "with Perch's own token only creates of configured services, and what they made, are open";
  switch (reason) {
    case "no-document":
    case "failure":
      return new Refusal(503, `${only}; which those are cannot be read now`);
    case "body-encoded":
      return new Refusal(415, `${only}; send the body without content-encoding, for its service to be found`);
    case "body-too-large":
      return new Refusal(403, `${only}; name the service by path or x-perch-service, for a body of this size`);
  }
  return new Refusal(403, only);
}

function wanted(access: Access): string {
  if (access.jwt === null) return "an API key";
  return access.keys.length === 0 ? "a JWT" : "an API key or a JWT";
}

/** Whether a request brings no key and no token for Perch. */
export const isAnonymous = (p: Arrival, access: Access) => credential(p.request.headers, access.token !== "") === "";

const unauthorized = (detail: string) => new Refusal(401, detail, { "www-authenticate": "Bearer" });

/** The key or token that a client sends for Perch, or "". */
function credential(headers: Headers, held: boolean): string {
  const header = headers.get(held ? "authorization" : "x-perch-authorization") ?? "";
  const key = (held && headers.get("x-api-key")) || "";
  if (Math.max(header.length, key.length) > longestToken) {
    throw unauthorized(`a key or token has at most ${longestToken} characters`);
  }
  const token = /^(?:bearer|token) +(\S+) *$/i.exec(header)?.[1] ?? key;
  if (token === "" && header !== "") throw unauthorized("send the key or token as Bearer …");
  return token;
}

const remembered = new WeakMap<Access, Map<string, Known>>();

/** Whose a key or token is. What was accepted is believed for a while. */
async function recognise(env: Env, access: Access, token: string): Promise<Known> {
  const now = Date.now();
  const accepted = remembered.get(access) ?? new Map<string, Known>();
  remembered.set(access, accepted);
  const before = accepted.get(token);
  if (before && now < before.until) return before;
  const found = (await byKey(access, token)) ?? (await byToken(env, access, token));
  const known = { ...found, until: Math.min(found.until, now + rememberMS) };
  if (accepted.size >= maxRemembered) accepted.clear();
  accepted.set(token, known);
  return known;
}

async function byKey(access: Access, token: string): Promise<Known | undefined> {
  if (access.keys.length === 0) return undefined;
  const digest = await sha256(token);
  let name: string | undefined;
  for (const key of access.keys) if (isEqual(key.sha256, digest)) name = key.name;
  return name === undefined ? undefined : { identity: "", client: `key:${name}`, until: Infinity };
}

async function byToken(env: Env, access: Access, token: string): Promise<Known> {
  const { jwt } = access;
  if (jwt === null || token.split(".").length !== 3)
    throw unauthorized(`this is not ${wanted(access)} that Perch knows`);
  const { user, expiresAt } = await verify(env, jwt, token);
  // Whoever holds a seal can read the client in it: no user ID there.
  return { identity: user, client: `jwt:${(await sha256(user)).slice(0, 32)}`, until: expiresAt };
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  let hex = "";
  for (const byte of new Uint8Array(digest)) hex += byte.toString(16).padStart(2, "0");
  return hex;
}

/** Compares in the same time wherever the texts differ. */
function isEqual(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < b.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

interface RateLimit {
  limit(options: { key: string }): Promise<{ success: boolean }>;
}

/** Holds a user to the rate limit of its service. userHeader is the document's. Throws a Refusal past it. */
export async function limitRate(p: Arrival, access: Access | null, entry: Entry, service: string, userHeader: string) {
  if (!access?.rateLimit || p.request.method === "OPTIONS") return;
  const { headers } = p.request;
  const named = headers.get(userHeader);
  const unknown = named ? `header ${named}` : `address ${headers.get("cf-connecting-ip") ?? ""}`;
  const user = entry.identity ? `user ${entry.identity}` : entry.client || unknown;
  if (await isWithin(p.env, access.rateLimit, (await sha256(`${service}\n${user}`)).slice(0, 32))) return;
  throw new Refusal(429, `too many requests of this user for ${service}`, { "retry-after": retryAfterS });
}

async function isWithin(env: Env, name: string, key: string): Promise<boolean> {
  const binding = (env as unknown as Record<string, Partial<RateLimit> | undefined>)[name];
  try {
    if (typeof binding?.limit !== "function") throw new Error("the worker has no such rate-limit binding");
    return (await binding.limit({ key })).success;
  } catch (error) {
    log("rate-limit", { binding: name, error: String(error) });
    return true;
  }
}
