// Perch's own webhook in the creates of services that learn outcomes by it. The
// client's is sealed into its URL: relay.ts passes deliveries on.

import { contextOf } from "./answers.ts";
import type { Told } from "./answers.ts";
import type { Tail } from "./body.ts";
import { Reason } from "./columns.ts";
import { isPrivate, refusalOf } from "./destination.ts";
import { log } from "./env.ts";
import type { Env } from "./env.ts";
import type { Passage } from "./passage.ts";
import { Refusal } from "./refusal.ts";
import { secretsOf } from "./relay.ts";
import { canSeal, seal } from "./seal.ts";

const completed = "completed";
const events = ["start", "output", "logs", completed];

/** What is done with the webhook of a create for this target; undefined if nothing. */
export async function webhookTail(p: Passage, told: Told): Promise<Tail | undefined> {
  const { plan } = told.loaded;
  const byReplicate = p.route.creates && told.servedBy.url === "" && !p.body.encoded;
  if (plan.outcomes !== "webhook" || !byReplicate || told.reason === Reason.bypass) return undefined;
  const { origin, missing } = await own(p);
  if (missing) once(plan.service, `no webhook is added: ${missing}`);
  return origin === undefined ? undefined : (had) => members(p, told, origin, had);
}

/** Where Replicate reaches this worker by https, or what is missing for it. */
async function own({ env, url }: Passage): Promise<{ origin?: string; missing?: string }> {
  if (secretsOf(env).length === 0) return { missing: "REPLICATE_WEBHOOK_SECRET is not set" };
  if (!(await canSeal(env))) return { missing: "PERCH_SEAL_KEY is not set" };
  if (privateToo(env)) return { origin: url.origin };
  if (isPrivate(url)) return { missing: `Replicate cannot reach ${url.host}` };
  return { origin: `https://${url.host}` };
}

const privateToo = (env: Env) => env.PERCH_PRIVATE_WEBHOOKS === "1";

/** The webhook members to send; those that the client had where they are not Perch's to judge. */
async function members(p: Passage, told: Told, origin: string, had: string): Promise<string> {
  const { webhook, webhook_events_filter: filter } = JSON.parse(had) as Record<string, unknown>;
  if (!(webhook === undefined || isHTTPS(webhook)) || !(filter === undefined || isFilter(filter))) return had;
  if (webhook !== undefined) {
    const refusal = refusalOf(new URL(webhook), p.url, privateToo(p.env));
    if (refusal) throw new Refusal(422, refusal);
  }
  const theirs = webhook === undefined ? {} : { h: webhook, f: filter };
  const t = Math.floor(Date.now() / 1000);
  const sealed = await seal(p.env, { ...contextOf(p, told), ...theirs, p: "webhook", t });
  if (sealed === undefined) {
    once(told.loaded.plan.service, "no webhook is added: the client's is too long to be sealed");
    return had;
  }
  const wanted = webhook === undefined ? [completed] : filter && withCompleted(filter);
  return JSON.stringify({ webhook: `${origin}/_perch/webhook/${sealed}`, webhook_events_filter: wanted });
}

/** An empty filter stays so: it may stand for all. */
const withCompleted = (filter: string[]) =>
  filter.length === 0 || filter.includes(completed) ? filter : [...filter, completed];

/** Plain enough to be read alike by all. Replicate judges what is not. */
function isHTTPS(value: unknown): value is string {
  return typeof value === "string" && /^https:\/\/[!-[\]-~]+$/i.test(value) && URL.canParse(value);
}

function isFilter(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((event) => events.includes(event as string));
}

const logged = new Set<string>();
const maxLogged = 1000;

function once(service: string, error: string): void {
  const line = `${service}\n${error}`;
  if (logged.has(line) || logged.size >= maxLogged) return;
  logged.add(line);
  log("webhook", { service, error });
}
