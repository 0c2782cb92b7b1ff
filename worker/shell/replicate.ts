// Calls that no rollout decides: they pass to Replicate as the client meant them.

import { admitUnrouted } from "./access.ts";
import { ask } from "./attempt.ts";
import { Edit, Endpoint } from "./core.ts";
import { log, replicateBase } from "./env.ts";
import type { Passage } from "./passage.ts";
import { conceal, dress } from "./secrets.ts";
import { answer, problem, requestHeaders } from "./upstream.ts";

/** Passes a request on that no rollout decides; the answer's header tells the reason. */
export async function unrouted(p: Passage, reason: string): Promise<Response> {
  if (reason !== "no-rollout") log("unrouted", { reason, path: p.url.pathname, trace: p.trace.id });
  const headers = { "x-perch-unrouted": reason };
  if (p.route.endpoint !== Endpoint.http) return toReplicate(p, headers);
  return answer(noDocument(p.route.keys?.service ?? p.url.pathname, reason !== "no-rollout"), headers);
}

export function noDocument(service: string, unreachable: boolean): Response {
  return unreachable
    ? problem(503, "Unavailable", `the rollout document of ${service} cannot be read`)
    : problem(404, "Not found", `there is no rollout document for ${service}`);
}

export async function toReplicate(p: Passage, own: Record<string, string> = {}): Promise<Response> {
  p.entry = await admitUnrouted(p, p.entry, own["x-perch-unrouted"] ?? "");
  const { request, route, core, env, entry } = p;
  const url = replicateBase(p.env) + route.rest + p.url.search;
  const body = await p.body.send(p.core, Edit.none, "");
  const headers = requestHeaders(request, p.trace);
  p.secrets = dress(headers, { core, env, entry, to: url });
  const { response } = await ask(p, url, headers, body);
  const answered = response ?? problem(502, "Bad gateway", "Replicate did not answer");
  const changed = answer(answered, { ...own, "x-perch-trace": p.trace.id });
  if (changed.status !== 101) conceal(changed.headers, p.secrets);
  return changed;
}
