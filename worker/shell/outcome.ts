// How predictions end: one point each time that an end is seen.

import { Blob, Double, Ended, Failure, Kind, Reason } from "./columns.ts";
import type { Facts, Loaded, ServiceKeys, Target } from "./core.ts";
import { log } from "./env.ts";
import { made, Part } from "./made.ts";
import type { Passage } from "./passage.ts";
import { indexFor, pointOf } from "./point.ts";
import type { Aliased, Found } from "./rollouts.ts";
import type { Context } from "./seal.ts";

/** A prediction's end as it was seen. Times are in milliseconds; 0 is unknown. */
export interface End {
  id: string;
  ended: Ended | ""; // "": its stream was cut
  status: number; // of the answer that told it
  firstByteMS: number; // of the create that told it, request received to response headers
  queueMS: number;
  predictMS: number;
  totalMS: number;
  firstTokenMS: number;
  eventsPerSecond: number;
}

/** The end that an answer or a webhook tells. */
export function endOf(facts: Facts, ended: Ended, status: number, firstByteMS = 0): End {
  const { id, predictMS, createdAtMS, startedAtMS, completedAtMS } = facts;
  const between = (from: number, to: number) => (from > 0 && to > from ? to - from : 0);
  return {
    id,
    ended,
    status,
    firstByteMS,
    queueMS: between(createdAtMS, startedAtMS),
    predictMS,
    totalMS: facts.totalMS || between(createdAtMS, completedAtMS),
    firstTokenMS: 0,
    eventsPerSecond: 0,
  };
}

/** Records a prediction's end, behind the answer's back. */
export function recordEnd(p: Passage, context: Context, end: End): void {
  // Of what counts for nobody the request's point says all.
  if (!context.s || !context.v || !context.w) return;
  const what = Part.end | (end.totalMS > 0 ? Part.times : 0) | (end.firstTokenMS > 0 ? Part.tokens : 0);
  if (end.ended !== "" && made.told(end.id, what)) return;
  p.ctx.waitUntil(
    write(p, context, end).catch((error: unknown) => log("point", { error: String(error), prediction: end.id })),
  );
}

/** What a stream told of its prediction. */
export interface StreamEnd {
  ended: Ended | ""; // "" for one that told no end: its prediction may still end well
  cut?: boolean; // by the upstream: an error, whatever becomes of the prediction
  firstTokenMS: number; // request received to the first event with output
  eventsPerSecond: number;
}

/** Records the end of the prediction whose stream has ended. */
export function streamEnded(p: Passage, context: Context, stream: StreamEnd): void {
  const { ended, cut, firstTokenMS, eventsPerSecond } = stream;
  if ((ended === "" && !cut) || !context.i) return;
  const times = { queueMS: 0, predictMS: 0, totalMS: 0, firstTokenMS, eventsPerSecond };
  recordEnd(p, context, { id: context.i, ended, status: 200, firstByteMS: 0, ...times });
}

/** Records the end that a verified webhook tells. */
export function webhookEnded(p: Passage, context: Context, facts: Facts): void {
  const ended = p.core.ended(facts, 200, false);
  if (ended !== "") recordEnd(p, { ...context, i: facts.id }, endOf(facts, ended, 200));
}

async function write(p: Passage, context: Context, end: End): Promise<void> {
  const { s: service = "", v: variant = "", r: rollout = "" } = context;
  const { loaded } = await documentOf(p, service);
  const classified = p.core.classify(200, failures[end.ended || "cut"]);
  const point = pointOf(Kind.prediction, classified, p.request.cf as IncomingRequestCfProperties | undefined, {
    service,
    variant,
    servedBy: variant,
    reason: context.w ?? "",
    rollout,
    generation: loaded?.plan.rollout === rollout ? loaded.plan.generation : 0,
    index: indexOf(loaded, service, variant),
    user: context.u ?? "",
    trace: context.n || p.trace.id,
    prediction: end.id,
    status: end.status,
    firstTokenMS: end.firstTokenMS,
    eventsPerSecond: end.eventsPerSecond,
  });
  point.blobs[Blob.ended] = end.ended;
  point.doubles[Double.firstByteMS] = end.firstByteMS;
  point.doubles[Double.queueMS] = end.queueMS;
  point.doubles[Double.predictMS] = end.predictMS;
  point.doubles[Double.totalMS] = end.totalMS;
  p.env.ANALYTICS.writeDataPoint(point);
}

/** How an end counts: a canceled one as a client that went away. */
const failures: Record<Ended | "cut", Failure> = {
  cut: Failure.cut,
  [Ended.succeeded]: Failure.none,
  [Ended.failed]: Failure.failed,
  [Ended.canceled]: Failure.clientGone,
  [Ended.aborted]: Failure.aborted,
};

/** The index of the variant's points; of a variant that has left the document, near enough. */
function indexOf(loaded: Loaded | undefined, service: string, variant: string): string {
  const target = loaded?.plan.targets.find(({ name }) => name === variant);
  return target?.index ?? indexFor(service, variant);
}

/** The document of a service by its name. */
export async function documentOf(p: Passage, service: string): Promise<Found> {
  const keys = service === "" ? undefined : p.core.resolveService(service);
  return keys ? p.rollouts.find(keys, p.env, p.ctx) : { unreachable: false };
}

/** Records an end behind the answer's back whose prediction another isolate made. */
export function recordStranger(p: Passage, facts: Facts, ended: Ended, status: number): void {
  const find = async () => {
    const context = await attributed(p, facts);
    if (context) recordEnd(p, context, endOf(facts, ended, status));
  };
  p.ctx.waitUntil(find().catch((error: unknown) => log("point", { error: String(error), prediction: facts.id })));
}

/** Whose a prediction is, by what it ran on. */
async function attributed(p: Passage, facts: Facts): Promise<Context | undefined> {
  const lookup = p.core.resolveVersion(facts.version);
  const named: Partial<Aliased> =
    typeof lookup === "string" ? await p.rollouts.alias(lookup, p.env, p.ctx) : { keys: lookup };
  let ambiguous = false;
  for (const loaded of await documentsOf(p, facts, named.keys)) {
    const [target, another] = ranOn(facts, loaded.plan.targets);
    if (another !== undefined) ambiguous = true; // of two that are the same it may be either's
    if (target === undefined || another !== undefined) continue;
    const { service, rollout } = loaded.plan;
    return polled(service, target.name, rollout);
  }
  // What has left the document, as the former stable has after a promotion, its alias still knows.
  const { alias } = named;
  if (ambiguous || facts.deployment || !alias?.variant) return undefined;
  return polled(alias.service, alias.variant, alias.rollout);
}

function polled(s: string, v: string, r: string): Context {
  return { p: "prediction", s, v, r, w: Reason.polled };
}

/** The documents to which a deployment, version or model leads. */
async function documentsOf(p: Passage, facts: Facts, byVersion: ServiceKeys | undefined): Promise<Loaded[]> {
  const { core, rollouts, env, ctx } = p;
  const keys = [
    facts.deployment && core.resolveService(`deployment:${facts.deployment}`),
    byVersion,
    facts.model && core.resolveService(`model:${facts.model}`),
  ];
  const found: Loaded[] = [];
  for (const key of keys) {
    const loaded = key && (await rollouts.find(key, env, ctx)).loaded;
    if (loaded && !found.includes(loaded)) found.push(loaded);
  }
  return found;
}

/** The targets that a prediction may have run on. A deployment or a version tells more than a model. */
function ranOn(facts: Facts, targets: Target[]): Target[] {
  const by = (kind: string, name: string) => targets.filter(({ path }) => path === `/${kind}/${name}/predictions`);
  if (facts.deployment) return by("deployments", facts.deployment);
  const versions = targets.filter(({ version }) => version && version.split(":").pop() === facts.version);
  return versions.length > 0 ? versions : by("models", facts.model);
}
