// Routed requests: service, decision, target, answer.

import { ask } from "./attempt.ts";
import { choose } from "./choose.ts";
import { Edit } from "./core.ts";
import type { Loaded, ServiceKeys } from "./core.ts";
import { enter } from "./door.ts";
import { log, replicateBase } from "./env.ts";
import type { Choice, Passage } from "./passage.ts";
import { record } from "./record.ts";
import { unrouted } from "./replicate.ts";
import { conceal, dress } from "./secrets.ts";
import { answer, problem, requestHeaders, targetURL } from "./upstream.ts";
import { webhookTail } from "./webhook.ts";

/** Finds the service through the version that the body names. */
export async function byVersion(p: Passage): Promise<Response> {
  const unfound = await p.body.find(p.core);
  if (unfound) return unrouted(p, unfound);
  const lookup = p.core.resolveVersion(p.body.version);
  const { keys, unreachable } =
    typeof lookup === "string" ? await p.rollouts.alias(lookup, p.env, p.ctx) : { keys: lookup, unreachable: false };
  return keys ? byService(p, keys) : unrouted(p, unreachable ? "no-document" : "no-rollout");
}

export async function byService(p: Passage, keys: ServiceKeys): Promise<Response> {
  const { loaded, unreachable } = await p.rollouts.find(keys, p.env, p.ctx);
  if (loaded === undefined) return unrouted(p, unreachable ? "no-document" : "no-rollout");
  await enter(p, loaded);
  const choice = choose(p, loaded);
  if (choice.edit !== Edit.none && p.body.encoded) return unrouted(p, "body-encoded");
  return toTarget(p, loaded, choice);
}

async function toTarget(p: Passage, loaded: Loaded, choice: Choice): Promise<Response> {
  const { target } = choice;
  const { request, trace } = p;
  const headers = requestHeaders(request, trace);
  const { reason, user } = choice;
  const tail = await webhookTail(p, { loaded, target, servedBy: target, reason, user });
  if (choice.edit !== Edit.none || tail) headers.delete("content-length");
  const body = await p.body.send(p.core, choice.edit, target.version, tail);
  const to = targetURL(target, p.route.endpoint, replicateBase(p.env), p.route.rest, p.url.search);
  const { core, env, entry } = p;
  p.secrets = dress(headers, { core, env, entry, to, target, service: loaded.plan.service });
  const askedAt = Date.now();
  const outcome = await ask(p, to, headers, body);
  const now = Date.now();
  if (!p.route.undecided) {
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
  conceal(answered.headers, p.secrets);
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

function userCookie(name: string, value: string, url: URL): string {
  const secure = url.protocol === "https:" ? "; Secure" : "";
  return `${name}=${value}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax${secure}`;
}
