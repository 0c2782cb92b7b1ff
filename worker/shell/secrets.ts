// What upstreams are told beside what the client says, and what they are not
// told of it. Values that read secret:NAME stand for the worker's secrets.

import { Unusable } from "./core.ts";
import type { Core, Target } from "./core.ts";
import { log, replicateBase } from "./env.ts";
import type { Env } from "./env.ts";
import { isSameOrigin, parsed } from "./links.ts";
import { Refusal } from "./refusal.ts";

/** Who a client proved to be, and what goes upstream in its name. */
export interface Entry {
  identity: string; // verified user, or ""
  client: string; // whose predictions are whose under a held token, or ""
  held: boolean; // the client's own credentials stay here
  token: string; // secret:NAME of Replicate's, held by Perch, or ""
}

/** Somebody of whom nothing is known. The credentials it sends are for the upstream. */
export const nobody: Entry = { identity: "", client: "", held: false, token: "" };

/** A call to an upstream, of a target or of none. */
export interface Way {
  core: Core;
  env: Env;
  to: string;
  entry: Entry;
  service?: string;
  target?: Target;
}

/** A variable's text: wrangler.toml may hold JSON as a string or as a table. */
export const settingOf = (value: unknown): string =>
  typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);

const reference = /^secret:([A-Z][A-Z0-9_]*)$/;
const headerValue = /^[\t\x20-\x7e\x80-\xff]*$/;
/** An answer that holds fewer characters of a secret says nothing of it. */
const shortestEcho = 6;

/**
 * The text that a value stands for: itself, or the secret that it names. Perch's
 * own are not to be had: whoever may write a document must not read them.
 */
export function reveal(env: Env, value: string, what: string): string {
  if (!value.startsWith("secret:")) return value;
  const name = reference.exec(value)?.[1];
  const secret = name && !isOwn(name) ? textBinding(env, name) : "";
  if (secret !== "") return secret;
  log("secret", { what, missing: value });
  throw new Refusal(503, `${what} needs a secret that this worker does not have`);
}

const isOwn = (name: string) => name.startsWith("PERCH_") || name === "REPLICATE_WEBHOOK_SECRET";

function textBinding(env: Env, name: string): string {
  const value = Object.hasOwn(env, name) ? (env as unknown as Record<string, unknown>)[name] : undefined;
  return typeof value === "string" ? value.trim() : ""; // piped into a secret, a text often ends with a line break
}

/**
 * Makes a request's headers fit for where it goes: nobody's credentials reach a
 * host that they are not for, and what Perch adds outranks what the client sent.
 * Returns the secrets that it added. Throws a Refusal where one is missing.
 */
export function dress(headers: Headers, way: Way): string[] {
  const { env, entry, target } = way;
  const isReplicate = isBelow(way.to, replicateBase(env));
  const isTarget = target !== undefined && (target.url === "" ? isReplicate : isBeside(way.to, target.url));
  withhold(headers, entry, target?.url ? isTarget && target.credentials : isReplicate);
  const added: string[] = [];
  if (isReplicate && entry.token !== "") {
    const token = reveal(env, entry.token, "calling Replicate");
    headers.set("authorization", `Bearer ${token}`);
    added.push(token);
  }
  const set = (list: Target["headers"], whose: string) => {
    for (const [name, value] of list) {
      const what = `the header ${name} of ${whose}`;
      const revealed = reveal(env, value, what);
      if (!headerValue.test(revealed)) throw new Refusal(503, `${what} has a value that no header can have`);
      withholdTwins(headers, name);
      headers.set(name, revealed);
      if (revealed !== value) added.push(revealed);
    }
  };
  if (isReplicate && env.REPLICATE_HEADERS)
    set(replicateHeaders(way.core, settingOf(env.REPLICATE_HEADERS)), "REPLICATE_HEADERS");
  if (isTarget && target.headers.length > 0) set(target.headers, `${target.name} of ${way.service}`);
  return added;
}

/** By which some servers take a request for one of another method: Perch looked at the request's own. */
const otherMethod = /^x[-_](http[-_])?method([-_]override)?$/;

function withhold(headers: Headers, entry: Entry, isTheirs: boolean): void {
  if (entry.held) {
    headers.delete("x-api-key");
    for (const name of [...headers.keys()]) if (otherMethod.test(name)) headers.delete(name);
  }
  if (!entry.held && isTheirs) return withholdCookie(headers, testerCookie);
  headers.delete("authorization");
  headers.delete("cookie");
}

/** The cookie that carries a tester's token. */
export const testerCookie = "perch-tester";

function withholdCookie(headers: Headers, name: string): void {
  const cookies = headers.get("cookie");
  if (cookies === null || !cookies.includes(name)) return;
  const rest = cookies.split(";").filter((pair) => pair.split("=")[0]?.trim() !== name);
  if (rest.length === 0) headers.delete("cookie");
  else headers.set("cookie", rest.join(";").trim());
}

/** Takes out what some servers take for the header of that name: x_api_key for x-api-key. */
function withholdTwins(headers: Headers, name: string): void {
  for (const other of [...headers.keys()]) {
    if (other.includes("_") && other.replaceAll("_", "-") === name) headers.delete(other);
  }
}

/** Takes out of an answer what would hand a secret of its request to the client. */
export function conceal(headers: Headers, secrets: readonly string[]): void {
  for (const secret of secrets) {
    if (secret.length < shortestEcho) continue;
    for (const [name, value] of [...headers]) if (value.includes(secret)) headers.delete(name);
  }
}

const isBelow = (url: string, base: string) =>
  url.startsWith(base) && (url.length === base.length || "/?".includes(url.charAt(base.length)));

function isBeside(to: string, target: string): boolean {
  if (to.startsWith(target) && target.endsWith("/")) return true;
  const url = parsed(to);
  return url !== undefined && isSameOrigin(url, target);
}

let known: { text: string; headers: Target["headers"] } = { text: "", headers: [] };

/** The headers of every call to Replicate, or to the gateway before it: a JSON object of names and values. */
function replicateHeaders(core: Core, text: string): Target["headers"] {
  if (text === known.text) return known.headers;
  try {
    known = { text, headers: core.headers(text) };
    return known.headers;
  } catch (error) {
    if (!(error instanceof Unusable)) throw error;
    log("secret", { what: "REPLICATE_HEADERS", trouble: error.message });
    throw new Refusal(503, "REPLICATE_HEADERS of this worker cannot be used");
  }
}
