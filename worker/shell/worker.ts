// The worker around a routing core: it asks the core where a request belongs,
// and carries bytes there and back.

import { followClient } from "./attempt.ts";
import { Body } from "./body.ts";
import { health, variant } from "./control.ts";
import { Action, Endpoint, Shape, Trap } from "./core.ts";
import type { Core, Route } from "./core.ts";
import { log } from "./env.ts";
import type { Env } from "./env.ts";
import { feedback } from "./feedback.ts";
import type { Passage } from "./passage.ts";
import { Refusal } from "./refusal.ts";
import { logRequest, pathOf } from "./requestlog.ts";
import { relay } from "./relay.ts";
import { toReplicate, unrouted } from "./replicate.ts";
import { Rollouts } from "./rollouts.ts";
import { byService, byVersion } from "./routed.ts";
import { byPrediction, bySealedURL } from "./sealed.ts";
import { nobody } from "./secrets.ts";
import { problem, traceOf } from "./upstream.ts";

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
      const known = { asked: false, entry: nobody, override: "", secrets: [] };
      const p: Passage = { core, rollouts, request, url, route, body, trace, env, ctx, startedAt, ...known };
      try {
        return await dispatch(p);
      } catch (error) {
        if (error instanceof Refusal) return refused(p, error);
        log("failure", { error: String(error), path: pathOf(p), trace: p.trace.id });
        if (p.asked || route.action === Action.variant) return problem(502, "Bad gateway", "Perch failed");
        return await unrouted(p, "failure").catch((refusal: unknown) => refused(p, refusal));
      } finally {
        body.release();
      }
    },
  } satisfies ExportedHandler<Env>;
}

/** The answer to a request that was refused; other errors are thrown again. */
function refused(p: Passage, error: unknown): Response {
  if (!(error instanceof Refusal)) throw error;
  const { status } = error;
  const firstByteMS = Date.now() - p.startedAt;
  logRequest(p, { status, service: p.route.keys?.service, cause: "refused", firstByteMS });
  return error.response(p.trace);
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
  const nothing = {
    variant: "",
    prediction: "",
    seal: "",
    shape: Shape.none,
    cancel: false,
    creates: false,
    safe: false,
  };
  return { ...nothing, action, endpoint: Endpoint.predictions, undecided: true, rest: url.pathname.slice(3) };
}

function dispatch(p: Passage): Promise<Response> | Response {
  // An upstream would answer with all that it was sent.
  if (p.request.method === "TRACE") throw new Refusal(405, "TRACE is not answered");
  switch (p.route.action) {
    case Action.pass:
      return toReplicate(p);
    case Action.health:
      return health(p);
    case Action.variant:
      return variant(p);
    case Action.service:
      return p.route.keys ? followed(p, byService(p, p.route.keys)) : unrouted(p, "no-rollout");
    case Action.version:
      return followed(p, byVersion(p));
    case Action.webhook:
      return followed(p, relay(p));
    case Action.feedback:
      return followed(p, feedback(p));
    case Action.prediction:
      return byPrediction(p);
    case Action.at:
      return bySealedURL(p);
  }
  return problem(404, "Not found", "Perch serves /v1/… and the services that it was given; this path belongs to none");
}

function followed(p: Passage, work: Promise<Response>): Promise<Response> {
  followClient(p, work);
  return work;
}
