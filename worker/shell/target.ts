// One try at a target: the request made fit for it, its time limit, and as much
// of its answer as may still change who answers.

import { readAnswer } from "./answers.ts";
import type { Read, Told } from "./answers.ts";
import { ask } from "./attempt.ts";
import type { Attempt } from "./attempt.ts";
import { Edit, Shape, wholeBytes } from "./core.ts";
import type { Target, Use } from "./core.ts";
import { replicateBase } from "./env.ts";
import { isEventStream } from "./events.ts";
import type { Passage } from "./passage.ts";
import { waitS } from "./prefer.ts";
import { dress } from "./secrets.ts";
import { queryOf, requestHeaders, targetURL } from "./upstream.ts";
import { lengthOf } from "./watch.ts";
import { webhookTail } from "./webhook.ts";

/** What a target made of a request. */
export interface Try extends Attempt {
  target: Target;
  read?: Read; // of an answer whose JSON is read
  bytes?: ArrayBuffer; // the body of a small answer
  askedAt: number; // epoch milliseconds
  answeredAt: number;
}

/** Asks the target. told.servedBy is that target. Throws a Refusal where the client is to blame or a secret is missing. */
export async function tryTarget(p: Passage, use: Use, told: Told): Promise<Try> {
  const { core, env, entry, request, route } = p;
  const { target } = use;
  const edit = isToBeSure(p, target) ? Edit.set : use.edit;
  const headers = requestHeaders(request, p.trace);
  const tail = await webhookTail(p, told);
  if (edit !== Edit.none || tail) headers.delete("content-length");
  const to = targetURL(target, route.endpoint, replicateBase(env), route.rest, queryOf(p.url));
  p.secrets.push(...dress(headers, { core, env, entry, to, target, service: told.loaded.plan.service }));
  const body = await p.body.send(core, edit, target.version, tail);
  const tried: Partial<Try> = {};
  const askedAt = Date.now();
  const encoded = (p.isEncoded = isPassed(p));
  const attempt = await ask(p, to, headers, body, { limitMS: limitOf(p, target), encoded }, async (response) => {
    tried.answeredAt = Date.now();
    if (route.shape !== Shape.none || response.headers.has("location")) {
      tried.read = await readAnswer(p, response, { asked: to, shape: route.shape, target });
    } else if (isSmall(response, encoded)) {
      tried.bytes = await response.arrayBuffer();
    }
  });
  return { answeredAt: Date.now(), ...tried, ...attempt, target, askedAt };
}

/**
 * Whether the version is set even if it stands there already: behind what was read
 * of the body another may follow, for which Perch's own token is not meant.
 */
const isToBeSure = ({ entry, body }: Passage, target: Target) =>
  entry.held && target.version !== "" && !body.isSearched;

/** Whether nothing reads the answer, so that it may stay compressed. */
const isPassed = ({ route, request }: Passage) =>
  route.shape === Shape.none && !(request.headers.get("accept") ?? "").includes("text/event-stream");

/**
 * Whether the body is read before anything goes out: it costs less than watching
 * for its end, and one that breaks off can still be answered by another target.
 */
function isSmall(response: Response, encoded: boolean): boolean {
  const { headers } = response;
  if (response.body === null || !(lengthOf(headers) <= wholeBytes) || isEventStream(response)) return false;
  return encoded || !headers.has("content-encoding"); // of which the length is not known
}

const graceMS = 10_000; // for Replicate to answer after the client's wait
const longestWaitS = 60; // that Replicate allows

/** How long the target has until its answer begins. A create that waits for its end has as long as it wants to wait. */
function limitOf({ route, request }: Passage, { timeoutMS }: Target): number {
  if (timeoutMS === 0 || !route.creates) return timeoutMS;
  const wait = waitS(request.headers);
  return wait === undefined ? timeoutMS : Math.min(wait, longestWaitS) * 1_000 + graceMS;
}
