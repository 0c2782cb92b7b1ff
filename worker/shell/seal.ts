// Seals: what Perch hands to clients and wants back unaltered. The format is that
// of the Go package shared/seal; its vectors hold the two together.

import { log } from "./env.ts";

export type Purpose = "prediction" | "stream" | "at" | "webhook" | "tester" | "follow";

/** What a seal holds. Only the purpose is in every one. */
export interface Context {
  p: Purpose;
  s?: string; // service: full name, such as model:acme/flux
  v?: string; // variant
  r?: string; // rollout
  w?: string; // why the variant was assigned; "" if it counts for nobody
  u?: string; // user: salted fingerprint
  i?: string; // prediction's id
  c?: string; // the client who made it, under a held token
  t?: number; // issued: Unix time in seconds
  x?: number; // expires: Unix time in seconds from which it does not open
  l?: string; // URL
  m?: string; // the only method for the URL; "" stands for GET and HEAD
  h?: string; // the client's own webhook
  f?: string[]; // its events
  n?: string; // trace: 32 hexadecimal digits
}

/** The worker's secrets; each is base64url of 32 bytes. */
export interface SealKeys {
  /** Makes and opens seals. */
  PERCH_SEAL_KEY?: string;
  /** Opens those that were made before the key was changed. */
  PERCH_SEAL_KEY_PREVIOUS?: string;
}

type Reason = "malformed" | "large" | "key" | "forged" | "purpose" | "expired";

/** A seal that does not open. */
export class Refused extends Error {
  readonly refusal: Reason;
  /** What it held, if nothing but its time speaks against it. */
  readonly context?: Context;

  constructor(refusal: Reason, context?: Context) {
    super(sentences[refusal]);
    this.refusal = refusal;
    this.context = context;
  }
}

const sentences: Record<Reason, string> = {
  malformed: "this is not a seal of Perch's",
  large: "this is too long for a seal of Perch's",
  key: "this seal was made with a key that this worker does not hold, or holds no more",
  forged: "this seal was altered, or not made by this worker",
  purpose: "this seal was made for another purpose",
  expired: "this seal has expired",
};

/** The longest seal that is made, or looked at when it comes back. */
export const maxSealBytes = 6 << 10;

const format = "p1";
const keyBytes = 32;
const algorithm = { name: "HMAC", hash: "SHA-256" };
const order = ["p", "s", "v", "r", "w", "u", "i", "c", "t", "x", "l", "m", "h", "f", "n"] as const;

interface Key {
  id: string;
  key: CryptoKey;
}

const encoder = new TextEncoder();
/** By the secret's text; null for one that holds no key. Not promises: one must not wait for another request's. */
const imported = new Map<string, Key | null>();
const maxImported = 8;

/** The key that a secret holds; undefined if it holds none. */
async function keyOf(name: keyof SealKeys, env: SealKeys): Promise<Key | undefined> {
  const text = env[name];
  if (!text) return undefined;
  let key = imported.get(text);
  if (key === undefined) {
    key = (await importKey(name, text)) ?? null;
    if (imported.size >= maxImported) imported.clear();
    imported.set(text, key);
  }
  return key ?? undefined;
}

async function importKey(name: string, text: string): Promise<Key | undefined> {
  const bytes = decode(text.replace(/=+$/, ""));
  if (bytes?.length !== keyBytes) {
    log("seal", { error: `${name} is not base64url of ${keyBytes} bytes: it is not used` });
    return undefined;
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const id = [...digest.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { id, key: await crypto.subtle.importKey("raw", bytes, algorithm, false, ["sign", "verify"]) };
}

let missing = false; // logged

/** Whether anything can be sealed: without a key, URLs that would need one stay as they are. */
export const canSeal = async (env: SealKeys): Promise<boolean> => (await sealingKey(env)) !== undefined;

async function sealingKey(env: SealKeys): Promise<Key | undefined> {
  const key = await keyOf("PERCH_SEAL_KEY", env);
  if (key === undefined && !missing) {
    missing = true;
    log("seal", { error: "PERCH_SEAL_KEY is not set: streams and model servers are asked directly" });
  }
  return key;
}

/** The ids of the keys that are set, first the one that seals. They tell nothing of the keys. */
export async function keyIDs(env: SealKeys): Promise<string[]> {
  const keys = await Promise.all(
    (["PERCH_SEAL_KEY", "PERCH_SEAL_KEY_PREVIOUS"] as const).map((name) => keyOf(name, env)),
  );
  return keys.flatMap((key) => key?.id ?? []);
}

/** The sealed context; undefined without a key, and for one that is too large. */
export async function seal(env: SealKeys, context: Context): Promise<string | undefined> {
  const key = await sealingKey(env);
  if (key === undefined) return undefined;
  const payload: Record<string, unknown> = {};
  for (const name of order) if (!empty(context[name])) payload[name] = context[name];
  const signed = `${format}.${key.id}.${encode(encoder.encode(JSON.stringify(payload)))}`;
  const mac = await crypto.subtle.sign("HMAC", key.key, encoder.encode(signed));
  const sealed = `${signed}.${encode(new Uint8Array(mac))}`;
  return sealed.length > maxSealBytes ? undefined : sealed;
}

const empty = (value: unknown) =>
  value === undefined || value === "" || value === 0 || (Array.isArray(value) && value.length === 0);

/** What a seal holds that one of the keys made for this purpose; throws Refused. Without a mac of ours it is not read. */
export async function unseal(
  env: SealKeys,
  text: string,
  purpose: Purpose,
  now = Math.floor(Date.now() / 1000),
): Promise<Context> {
  if (text.length > maxSealBytes) throw new Refused("large");
  const [version, id, payload, mac, more] = text.split(".");
  const bytes = decode(payload);
  const macBytes = decode(mac);
  if (version !== format || more !== undefined || !bytes || !macBytes) throw new Refused("malformed");
  const key = await keyNamed(env, id);
  if (key === undefined) throw new Refused("key");
  const signed = encoder.encode(text.slice(0, text.lastIndexOf(".")));
  if (!(await crypto.subtle.verify("HMAC", key.key, macBytes, signed))) throw new Refused("forged");
  const context = read(bytes);
  if (context === undefined) throw new Refused("malformed");
  if (context.p !== purpose) throw new Refused("purpose");
  if (context.x && now >= context.x) throw new Refused("expired", context);
  return context;
}

async function keyNamed(env: SealKeys, id: string | undefined): Promise<Key | undefined> {
  for (const name of ["PERCH_SEAL_KEY", "PERCH_SEAL_KEY_PREVIOUS"] as const) {
    const key = await keyOf(name, env);
    if (key !== undefined && key.id === id) return key;
  }
  return undefined;
}

/** The context of a payload, if each of its fields has its type. */
function read(bytes: Uint8Array): Context | undefined {
  try {
    const value = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    for (const name of order) if (value[name] !== undefined && !isField(name, value[name])) return undefined;
    return value as unknown as Context;
  } catch {
    return undefined;
  }
}

function isField(name: (typeof order)[number], value: unknown): boolean {
  if (name === "f") return Array.isArray(value) && value.every((item) => typeof item === "string");
  return typeof value === (name === "t" || name === "x" ? "number" : "string");
}

function encode(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** Strict, so that no two texts stand for the same bytes. */
function decode(text: string | undefined): Uint8Array<ArrayBuffer> | undefined {
  if (text === undefined || !/^[A-Za-z0-9_-]*$/.test(text)) return undefined;
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
    return encode(bytes) === text ? bytes : undefined;
  } catch {
    return undefined;
  }
}
