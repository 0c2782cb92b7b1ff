// Calls that no rollout decides: they pass as the client meant them.

import { admitUnrouted } from "./access.ts";
import { readAnswer } from "./answers.ts";
import type { Read, Source } from "./answers.ts";
import { ask, followClient, plainTerms } from "./attempt.ts";
import { Class, Ended } from "./columns.ts";
import { Edit, Endpoint } from "./core.ts";
import { deliver } from "./deliver.ts";
import type { Ending } from "./deliver.ts";
import { log, replicateBase } from "./env.ts";
import { isEventStream } from "./events.ts";
import { streamEnded } from "./outcome.ts";
import type { Passage } from "./passage.ts";
import { logRequest, pathOf } from "./requestlog.ts";
import type { Context } from "./seal.ts";
import { conceal, dress } from "./secrets.ts";
import type { Listener } from "./sse.ts";
import { withWait } from "./throttle.ts";
import { problem, queryOf, requestHeaders, setOwn } from "./upstream.ts";

/** Passes a request on that no rollout decides; the answer's header tells the reason. */
export async function unrouted(p: Passage, reason: string): Promise<Response> {
  if (reason !== "no-rollout") log("unrouted", { reason, path: pathOf(p), trace: p.trace.id });
  if (p.route.endpoint !== Endpoint.http) return toReplicate(p, reason);
  const answer = noDocument(p.route.keys?.service ?? p.url.pathname, reason !== "no-rollout");
  answer.headers.set("x-perch-unrouted", reason);
  logRequest(p, { status: answer.status, unrouted: reason, firstByteMS: Date.now() - p.startedAt });
  return answer;
}

export function noDocument(service: string, unreachable: boolean): Response {
  return unreachable
    ? problem(503, "Unavailable", `the rollout document of ${service} cannot be read`)
    : problem(404, "Not found", `there is no rollout document for ${service}`);
}

/** Passes a call on to Replicate; reason tells why no rollout decides, where one might have. */
export async function toReplicate(p: Passage, reason = ""): Promise<Response> {
  p.entry = await admitUnrouted(p, p.entry, reason);
  const { route } = p;
  const asked = replicateBase(p.env) + route.rest + queryOf(p.url);
  return forward(p, { asked, shape: route.shape }, reason === "" ? {} : { "x-perch-unrouted": reason });
}

/** Asks whom the source names, and passes the answer on with these headers. */
export async function forward(p: Passage, source: Source, own: Record<string, string>): Promise<Response> {
  const { core, env, entry, context, trace } = p;
  const { asked: to, target } = source;
  const headers = requestHeaders(p.request, trace);
  p.secrets = dress(headers, { core, env, entry, to, target, service: context?.s });
  followClient(p);
  const body = await p.body.send(core, Edit.none, "");
  let read: Read | undefined;
  const { response } = await ask(p, to, headers, body, plainTerms, async (answer) => {
    if (answer.status !== 101) read = await readAnswer(p, answer, source);
  });
  return response?.status === 101 ? response : await toClient(p, source, own, response && read);
}

async function toClient(
  p: Passage,
  source: Source,
  own: Record<string, string>,
  read: Read | undefined,
): Promise<Response> {
  const { context } = p;
  const name = context?.v || "Replicate";
  const asOne = { "x-perch-trace": p.trace.id, ...own };
  const firstByteMS = Date.now() - p.startedAt;
  const told = { firstByteMS, service: context?.s, variant: context?.v, rollout: context?.r, prediction: context?.i };
  const line = { ...told, unrouted: own["x-perch-unrouted"] };
  if (read === undefined) {
    const answer = problem(502, "Bad gateway", `${name} did not answer`);
    setOwn(answer.headers, { ...asOne, "x-perch-served-by": "perch" });
    logRequest(p, { ...line, status: 502 });
    return answer;
  }
  let answer = await withWait(await read.pass());
  if (context && isEventStream(answer)) answer = events(p, context, source, answer);
  else logRequest(p, { ...line, status: answer.status });
  setOwn(answer.headers, asOne);
  conceal(answer.headers, p.secrets);
  return answer;
}

const defaultIdleMS = 30_000;
/** Replicate itself says after 30 s that a stream is idle. */
const graceMS = 5_000;

/** The stream that a seal leads to. What it tells of its prediction is recorded. */
function events(p: Passage, context: Context, { target }: Source, response: Response): Response {
  const firstByteMS = Date.now() - p.startedAt;
  const { s: service, v: variant, r: rollout, i: prediction } = context;
  const isPrediction = context.p === "stream";
  const ended = ({ how, listener }: Ending) => {
    const firstOutputAt = listener?.firstOutputAt ?? 0;
    const firstTokenMS = firstOutputAt > 0 ? firstOutputAt - p.startedAt : 0;
    const told = { firstTokenMS, eventsPerSecond: listener?.eventsPerSecond ?? 0 };
    if (isPrediction) streamEnded(p, context, { ended: endTold(listener), cut: how === "cut", ...told });
    const totalMS = Date.now() - p.startedAt;
    const cause = how === "whole" ? "" : how === "cut" ? Class.cut : Class.client;
    logRequest(p, { status: response.status, service, variant, rollout, prediction, cause, firstByteMS, totalMS });
  };
  const idleMS = (target?.idleMS ?? defaultIdleMS) + graceMS;
  const detail = `the stream of ${variant || "Replicate"} broke off`;
  return deliver(p, response, { isWhole: false, idleMS, needsDone: isPrediction, detail, ended });
}

/** How a prediction ended, by its stream. One that was aborted ends its stream like a canceled one, without output. */
function endTold(listener: Listener | undefined): Ended | "" {
  if (listener === undefined) return "";
  return listener.ended === Ended.canceled && listener.firstOutputAt === 0 ? "" : listener.ended;
}
