// Routed requests: service, decision, target, answer.

import type { Told } from "./answers.ts";
import { Unfit } from "./body.ts";
import { choose } from "./choose.ts";
import { Edit } from "./core.ts";
import type { Loaded, ServiceKeys } from "./core.ts";
import { deliver } from "./deliver.ts";
import { enter } from "./door.ts";
import { answered } from "./failover.ts";
import type { Result } from "./failover.ts";
import { conclude } from "./conclude.ts";
import type { Choice, Passage } from "./passage.ts";
import { Failure } from "./columns.ts";
import { unrouted } from "./replicate.ts";
import { conceal } from "./secrets.ts";
import { withWait } from "./throttle.ts";
import { problem, setOwn } from "./upstream.ts";

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
  try {
    return await toClient(p, loaded, choice, await answered(p, loaded, choice));
  } catch (error) {
    if (error instanceof Unfit) return await unrouted(p, error.fault);
    throw error;
  }
}

/** The answer as the client gets it. Its end is recorded. */
async function toClient(p: Passage, loaded: Loaded, choice: Choice, result: Result): Promise<Response> {
  const { tried, cause } = result;
  const { target, reason, user } = choice;
  const { service, rollout } = loaded.plan;
  const told = { loaded, target, servedBy: tried.target, reason, user };
  const response = await withWait(await bodyOf(result, told), tried.bytes);
  if (response.status === 101) {
    conclude(p, loaded, choice, result, { how: "whole" }, response.status);
    return response;
  }
  const delivered = deliver(p, response, {
    isWhole: tried.response === undefined || tried.bytes !== undefined || tried.read?.isWhole === true,
    idleMS: tried.target.idleMS,
    needsDone: false,
    detail: `${tried.target.name} of ${service} broke off`,
    ended: (ending) => conclude(p, loaded, choice, result, ending, response.status),
  });
  const { headers } = delivered;
  setOwn(headers, {
    "x-perch-variant": target.name,
    "x-perch-served-by": tried.response ? tried.target.name : "perch",
    "x-perch-rollout": rollout,
    "x-perch-trace": p.trace.id,
  });
  if (cause !== "") headers.set("x-perch-fallback", cause);
  conceal(headers, p.secrets);
  const { askedAt, answeredAt } = tried;
  headers.append("server-timing", `perch;dur=${askedAt - p.startedAt}, upstream;dur=${answeredAt - askedAt}`);
  if (choice.cookie) headers.append("set-cookie", userCookie(loaded.plan.cookie, choice.cookie, p.url));
  return delivered;
}

/** What the target answered, or a problem that names it. The headers can be changed. */
async function bodyOf({ tried }: Result, told: Told): Promise<Response> {
  const { response, read, bytes, target, failure } = tried;
  if (response === undefined) {
    const late = failure === Failure.timeout;
    const how = late ? "did not answer in time" : "did not answer";
    const detail = `${target.name} of ${told.loaded.plan.service} ${how}`;
    return late ? problem(504, "Gateway timeout", detail) : problem(502, "Bad gateway", detail);
  }
  if (response.status === 101) return response;
  if (read !== undefined) return read.pass(told);
  return new Response(bytes ?? response.body, response);
}

function userCookie(name: string, value: string, url: URL): string {
  const secure = url.protocol === "https:" ? "; Secure" : "";
  return `${name}=${value}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax${secure}`;
}
