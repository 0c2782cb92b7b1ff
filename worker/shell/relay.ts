// Webhooks that Replicate sends to Perch: what they tell is recorded, and they go
// on to the client's own as they came.

import { Webhook, WebhookVerificationError } from "standardwebhooks";
import { budget } from "./budget.ts";
import { join } from "./bytes.ts";
import { Shape, wholeBytes } from "./core.ts";
import type { Facts } from "./core.ts";
import { log } from "./env.ts";
import type { Env } from "./env.ts";
import { webhookEnded } from "./outcome.ts";
import type { Passage } from "./passage.ts";
import { Refusal } from "./refusal.ts";
import { logRequest } from "./requestlog.ts";
import { Refused, unseal } from "./seal.ts";
import type { Context } from "./seal.ts";
import { problem } from "./upstream.ts";
import { lengthOf } from "./watch.ts";

/** The largest webhook that is taken, in bytes. */
const maxBytes = 8 << 20;
/** How often its body is in memory while it is verified: as bytes, as text, behind its id and time, and as bytes again. */
const copies = 4;
/** How long the client's receiver may take. */
const timeoutMS = 20_000;

const signature = ["webhook-id", "webhook-timestamp", "webhook-signature"];
const passed = [...signature, "content-type", "user-agent"];

/** Takes a delivery and answers as the client's own webhook did. */
export async function relay(p: Passage): Promise<Response> {
  p.asked = true; // whatever comes of it, it is nothing to pass to Replicate
  const context = await opened(p.env, p.route.seal);
  if (context.n) p.trace = { ...p.trace, id: context.n }; // of the create
  try {
    return await take(p, context, await read(p.request));
  } finally {
    budget.give(p.request);
  }
}

async function take(p: Passage, context: Context, body: Uint8Array<ArrayBuffer>): Promise<Response> {
  const unsigned = unsignedOf(p.env, p.request.headers, body);
  if (unsigned) {
    log("webhook", { service: context.s, error: unsigned, trace: p.trace.id });
    throw new Refusal(401, unsigned);
  }
  budget.give(p.request);
  budget.take(p.request, body.length, Date.now()); // the copies are gone
  const told = toldBy(p, body);
  // The body is signed, its URL is not: another prediction's would count for the wrong variant.
  if (told?.facts.webhook && !told.facts.webhook.endsWith(`/${p.route.seal}`)) {
    throw new Refusal(403, "This webhook was signed for another URL");
  }
  if (told) note(p, context, told.facts);
  const unwanted = told?.ended && context.f && !context.f.includes("completed");
  const response = context.h && !unwanted ? await deliver(p, context.h, body) : new Response(null, { status: 204 });
  const { s: service, v: variant, r: rollout } = context;
  const line = { status: response.status, firstByteMS: Date.now() - p.startedAt };
  logRequest(p, { ...line, service, variant, rollout, prediction: told?.facts.id });
  return response;
}

async function opened(env: Env, seal: string): Promise<Context> {
  try {
    return await unseal(env, seal, "webhook");
  } catch (error) {
    throw error instanceof Refused ? new Refusal(403, error.message) : error;
  }
}

/** The body. Room is taken for what has come, not for what a sender says will: that costs it nothing. */
async function read(request: Request): Promise<Uint8Array<ArrayBuffer>> {
  const length = lengthOf(request.headers);
  if (length > maxBytes) throw tooLarge();
  if (length <= wholeBytes) {
    hold(request, length, 0);
    return new Uint8Array(await request.arrayBuffer());
  }
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of request.body ?? []) {
    hold(request, piece.length, bytes);
    bytes += piece.length;
    pieces.push(piece);
  }
  return join(pieces);
}

function hold(request: Request, more: number, held: number): void {
  if (held + more > maxBytes) throw tooLarge();
  if (budget.take(request, copies * more, Date.now())) return;
  throw new Refusal(503, "Perch holds as many bodies as it can; try again", { "retry-after": "1" });
}

const tooLarge = () => new Refusal(413, `A webhook of more than ${maxBytes >> 20} MiB is not taken`);

let known: { text: string; secrets: Webhook[] } = { text: "", secrets: [] };

/** The secrets that webhooks may be signed with. */
export function secretsOf(env: Env): Webhook[] {
  const text = env.REPLICATE_WEBHOOK_SECRET ?? "";
  if (text !== known.text) known = { text, secrets: text.split(",").flatMap(secretOf) };
  return known.secrets;
}

function secretOf(text: string): Webhook[] {
  if (text.trim() === "") return [];
  try {
    return [new Webhook(text.trim())];
  } catch {
    log("webhook", { error: "REPLICATE_WEBHOOK_SECRET holds something that is no whsec_…: it is not used" });
    return [];
  }
}

/** Why a webhook is not to be believed, in a sentence; "" if one of the secrets signed it within 5 minutes. */
function unsignedOf(env: Env, headers: Headers, body: Uint8Array): string {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return "The webhook is not UTF-8";
  }
  const signed = Object.fromEntries(signature.map((name) => [name, headers.get(name) ?? ""]));
  const secrets = secretsOf(env);
  if (secrets.length === 0) return "This worker holds no REPLICATE_WEBHOOK_SECRET to verify the webhook with";
  let why = "";
  for (const secret of secrets) {
    try {
      secret.verify(text, signed, { jsonParse: false });
      return "";
    } catch (error) {
      if (!(error instanceof WebhookVerificationError)) throw error;
      why = error.message;
    }
  }
  return `The webhook is not signed as Replicate signs: ${why}`;
}

/** What the prediction in the body tells; undefined if it cannot be read. */
function toldBy({ core, trace }: Passage, body: Uint8Array): { facts: Facts; ended: boolean } | undefined {
  try {
    const answer = core.answer(Shape.prediction);
    try {
      answer.push(body);
    } finally {
      answer.close();
    }
    const facts = answer.facts();
    return { facts, ended: core.ended(facts, 200, false) !== "" };
  } catch (error) {
    log("webhook", { error: String(error), trace: trace.id });
    return undefined;
  }
}

/** Records what is told. Whatever fails here, the client gets its webhook. */
function note(p: Passage, context: Context, facts: Facts): void {
  try {
    webhookEnded(p, context, facts);
  } catch (error) {
    log("webhook", { error: String(error), trace: p.trace.id });
  }
}

/** Sends the webhook on. Of the answer only the status goes back, for Replicate to try again. */
async function deliver(p: Passage, to: string, body: Uint8Array<ArrayBuffer>): Promise<Response> {
  const headers = new Headers();
  for (const name of passed) {
    const value = p.request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  const signal = AbortSignal.timeout(timeoutMS);
  try {
    const { status, body: rest } = await fetch(to, { method: "POST", headers, body, redirect: "manual", signal });
    await rest?.cancel();
    return new Response(null, { status });
  } catch (error) {
    log("webhook", { error: String(error), host: new URL(to).host, trace: p.trace.id });
    return signal.aborted
      ? problem(504, "Gateway timeout", "The client's webhook did not answer in time")
      : problem(502, "Bad gateway", "The client's webhook could not be reached");
  }
}
