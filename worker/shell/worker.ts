// The worker around a routing core: it asks the core where a request belongs,
// and carries bytes there and back.

import { Body } from "./body.ts";
import { Failure, Reason } from "./columns.ts";
import { Action, Edit, Endpoint, TooLong, Trap } from "./core.ts";
import type { Core, Decision, Loaded, Route, ServiceKeys } from "./core.ts";
import { log, replicateBase } from "./env.ts";
import type { Env } from "./env.ts";
import { record } from "./record.ts";
import { Rollouts } from "./rollouts.ts";
import { answer, problem, requestHeaders, targetURL, traceOf, withholdCredentials } from "./upstream.ts";
import type { Trace } from "./upstream.ts";

/** A request on its way. */
interface Passage {
  core: Core;
  rollouts: Rollouts;
  request: Request;
  url: URL;
  route: Route;
  body: Body;
  trace: Trace;
  env: Env;
  ctx: ExecutionContext;
  startedAt: number;
  asked: boolean; // an upstream; it must not be asked again
}

/** Who answers a request, and why; no bucket where nothing was decided. */
type Choice = Omit<Decision, "bucket"> & { bucket?: number; cookie?: string };

/** A worker that asks this core, which serves one isolate. */
export function createWorker(core: Core) {
  const rollouts = new Rollouts(core);
  return {
    async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
      const url = new URL(request.url);
      const route = resolve(core, request, url);
      const startedAt = Date.now();
      const body = new Body(request);
      const trace = traceOf(request);
      const p: Passage = { core, rollouts, request, url, route, body, trace, env, ctx, startedAt, asked: false };
      try {
        return await dispatch(p);
      } catch (error) {
        log("failure", { error: String(error), path: url.pathname, trace: p.trace.id });
        if (p.asked || route.action === Action.variant) return problem(502, "Bad gateway", "Perch failed");
        return unrouted(p, "failure");
      }
    },
  } satisfies ExportedHandler<Env>;
}

/** Where the request belongs. A trap is tried once more with a fresh core. */
function resolve(core: Core, request: Request, url: URL): Route {
  const internal = url.pathname.startsWith("/_perch/");
  const named = request.headers.get("x-perch-service") ?? ((internal && url.searchParams.get("service")) || "");
  const upgrade = request.headers.has("upgrade");
  for (let tries = 0; tries < 2; tries++) {
    try {
      return core.resolve(request.method, url.pathname, named, upgrade);
    } catch (error) {
      if (!(error instanceof Trap)) break;
    }
  }
  const isReplicate = url.pathname.startsWith("/v1/");
  const action = isReplicate ? Action.pass : Action.notFound;
  return { action, endpoint: Endpoint.predictions, undecided: true, variant: "", rest: url.pathname.slice(3) };
}

function dispatch(p: Passage): Promise<Response> | Response {
  switch (p.route.action) {
    case Action.pass:
      return toReplicate(p, {});
    case Action.health:
      return Response.json({ status: "ok", traps: p.core.traps, bypass: p.env.PERCH_BYPASS === "1" });
    case Action.variant:
      return variant(p);
    case Action.service:
      return p.route.keys ? byService(p, p.route.keys) : unrouted(p, "no-rollout");
    case Action.version:
      return byVersion(p);
  }
  return problem(404, "Not found", "Perch serves /v1/… and the services that it was given; this path belongs to none");
}

/** Finds the service through the version that the body names. */
async function byVersion(p: Passage): Promise<Response> {
  const unfound = await p.body.find(p.core);
  if (unfound) return unrouted(p, unfound);
  const lookup = p.core.resolveVersion(p.body.version);
  const { keys, unreachable } =
    typeof lookup === "string" ? await p.rollouts.alias(lookup, p.env, p.ctx) : { keys: lookup, unreachable: false };
  return keys ? byService(p, keys) : unrouted(p, unreachable ? "no-document" : "no-rollout");
}

async function byService(p: Passage, keys: ServiceKeys): Promise<Response> {
  const { loaded, unreachable } = await p.rollouts.find(keys, p.env, p.ctx);
  if (loaded === undefined) return unrouted(p, unreachable ? "no-document" : "no-rollout");
  const choice = choose(p, loaded);
  if (choice.edit !== Edit.none && p.body.encoded) return unrouted(p, "body-encoded");
  return toTarget(p, loaded, choice);
}

/** The decision, or stable where there must be none or it failed. */
function choose(p: Passage, loaded: Loaded): Choice {
  const undecided = (reason: string): Choice => ({
    ...p.core.stable(loaded, p.body.version, p.route.endpoint),
    isNew: false,
    reason,
    user: "",
  });
  if (p.env.PERCH_BYPASS === "1" || p.route.undecided) return undecided(Reason.bypass);
  try {
    return decide(p, loaded);
  } catch (error) {
    if (!(error instanceof Trap || error instanceof TooLong)) throw error;
    return undecided(Reason.trap);
  }
}

function decide(p: Passage, loaded: Loaded): Choice {
  const { headers } = p.request;
  const { plan } = loaded;
  const random = crypto.randomUUID();
  const client = plan.from && headers.get(plan.from === "token" ? "authorization" : "cf-connecting-ip");
  const question = {
    override: p.route.variant || (plan.overrides ? (headers.get("x-perch-variant") ?? "") : ""),
    client: client ?? "",
    random,
    cookie: headers.get("cookie") ?? "",
    version: p.body.version,
    headers: plan.headers.map((name) => headers.get(name) ?? ""),
  };
  const decision = p.core.decide(loaded, question, p.startedAt, p.route.endpoint);
  return { ...decision, cookie: decision.isNew ? random : "" };
}

async function toTarget(p: Passage, loaded: Loaded, choice: Choice): Promise<Response> {
  const { target } = choice;
  const { request, trace } = p;
  const headers = requestHeaders(request, trace);
  withholdCredentials(headers, target);
  if (choice.edit !== Edit.none) headers.delete("content-length");
  const body = await p.body.send(p.core, choice.edit, target.version);
  const to = targetURL(target, p.route.endpoint, replicateBase(p.env), p.route.rest, p.url.search);
  const askedAt = Date.now();
  const outcome = await ask(p, to, headers, body);
  const now = Date.now();
  if (!p.route.undecided) {
    const { reason, user } = choice;
    const { response, failure } = outcome;
    const status = response?.status ?? 0;
    const event = { loaded, target, reason, user, trace, status, failure, firstByteMS: now - p.startedAt };
    const cf = request.cf as IncomingRequestCfProperties | undefined;
    p.ctx.waitUntil(later(() => record(p.core, p.env, cf, event)));
  }
  const own = {
    "x-perch-variant": target.name,
    "x-perch-served-by": outcome.response ? target.name : "perch",
    "x-perch-rollout": loaded.plan.rollout,
    "x-perch-trace": trace.id,
  };
  const response =
    outcome.response ?? problem(502, "Bad gateway", `${target.name} of ${loaded.plan.service} did not answer`);
  const answered = answer(response, own);
  if (answered.status === 101) return answered;
  answered.headers.append("server-timing", `perch;dur=${askedAt - p.startedAt}, upstream;dur=${now - askedAt}`);
  if (choice.cookie) answered.headers.append("set-cookie", userCookie(loaded.plan.cookie, choice.cookie, p.url));
  return answered;
}

async function later(work: () => void): Promise<void> {
  await Promise.resolve();
  try {
    work();
  } catch (error) {
    log("point", { error: String(error) });
  }
}

async function ask(
  p: Passage,
  to: string,
  headers: Headers,
  body: BodyInit | null,
): Promise<{ response?: Response; failure: number }> {
  const { request } = p;
  const { method } = request;
  p.asked = true;
  try {
    const rarely = body !== null && (method === "GET" || method === "HEAD");
    const response = rarely
      ? await fetch(new Request(to, request), { headers, redirect: "manual" }) // workerd copies it, but would not make it
      : await fetch(to, { method, headers, body, redirect: "manual" });
    return { response, failure: Failure.none };
  } catch (error) {
    log("upstream", { error: String(error) });
    return { failure: request.signal.aborted ? Failure.clientGone : Failure.connect };
  }
}

function userCookie(name: string, value: string, url: URL): string {
  const secure = url.protocol === "https:" ? "; Secure" : "";
  return `${name}=${value}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax${secure}`;
}

/** Passes a request on that no rollout decides, as the client meant it. */
async function unrouted(p: Passage, reason: string): Promise<Response> {
  if (reason !== "no-rollout") log("unrouted", { reason, path: p.url.pathname, trace: p.trace.id });
  const headers = { "x-perch-unrouted": reason };
  if (p.route.endpoint !== Endpoint.http) return toReplicate(p, headers);
  return answer(noDocument(p.route.keys?.service ?? p.url.pathname, reason !== "no-rollout"), headers);
}

function noDocument(service: string, unreachable: boolean): Response {
  return unreachable
    ? problem(503, "Unavailable", `the rollout document of ${service} cannot be read`)
    : problem(404, "Not found", `there is no rollout document for ${service}`);
}

async function toReplicate(p: Passage, own: Record<string, string>): Promise<Response> {
  const { request, route } = p;
  const url = replicateBase(p.env) + route.rest + p.url.search;
  const body = await p.body.send(p.core, Edit.none, "");
  const { response } = await ask(p, url, requestHeaders(request, p.trace), body);
  const answered = response ?? problem(502, "Bad gateway", "Replicate did not answer");
  return answer(answered, { ...own, "x-perch-trace": p.trace.id });
}

/** Who would serve this user, and why. */
async function variant(p: Passage): Promise<Response> {
  if (!p.route.keys) return problem(400, "Bad request", "name a service: /_perch/variant?service=model:owner/name");
  const { loaded, unreachable } = await p.rollouts.find(p.route.keys, p.env, p.ctx);
  if (!loaded) return noDocument(p.route.keys.service, unreachable);
  const { target, reason, bucket } = choose(p, loaded);
  const { service, rollout, generation, percentage } = loaded.plan;
  return Response.json({ service, variant: target.name, reason, bucket, percentage, rollout, generation });
}
