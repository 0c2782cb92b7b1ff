// What is recorded of a routed request once its answer has ended.

import { Class, Failure } from "./columns.ts";
import type { Loaded } from "./core.ts";
import type { Ending } from "./deliver.ts";
import { log } from "./env.ts";
import type { Result } from "./failover.ts";
import type { Choice, Passage } from "./passage.ts";
import { record } from "./record.ts";
import type { Event } from "./record.ts";
import { logRequest } from "./requestlog.ts";

/** Writes the request's point and its line. status is what the client got. */
export function conclude(
  p: Passage,
  loaded: Loaded,
  choice: Choice,
  result: Result,
  ending: Ending,
  status: number,
): void {
  try {
    const event = eventOf(p, loaded, choice, result, ending);
    if (!p.route.undecided) record(p.core, p.env, p.request.cf as IncomingRequestCfProperties | undefined, event);
    const { service, variant, servedBy, reason, rollout, prediction, firstByteMS, durationMS: totalMS } = event;
    const cause = result.cause || p.core.classify(status, event.failure).errorClass;
    logRequest(p, { status, service, variant, servedBy, reason, rollout, cause, prediction, firstByteMS, totalMS });
  } catch (error) {
    log("point", { error: String(error) });
  }
}

function eventOf(p: Passage, loaded: Loaded, choice: Choice, result: Result, { how, listener }: Ending): Event {
  const { tried, status, cause } = result;
  const { target, reason, user } = choice;
  const { service, rollout, generation } = loaded.plan;
  const since = (time: number) => (time > 0 ? time - p.startedAt : 0);
  return {
    service,
    variant: target.name,
    servedBy: tried.response ? tried.target.name : "",
    reason,
    rollout,
    generation,
    index: target.index,
    user,
    trace: p.trace.id,
    // That of the assigned target: of what another answered the request's own point says all.
    prediction: cause === "" ? (tried.read?.facts?.id ?? "") : result.prediction,
    status,
    failure: cause === "" ? failureOf(result, how, listener?.ended) : result.failure,
    firstByteMS: since(tried.answeredAt),
    durationMS: since(Date.now()),
    firstTokenMS: since(listener?.firstOutputAt ?? 0),
    eventsPerSecond: listener?.eventsPerSecond ?? 0,
  };
}

/** How a request failed whose answer the assigned target gave. */
function failureOf({ failure }: Result, how: Ending["how"], streamed: string | undefined): Failure {
  if (failure !== Failure.none) return failure;
  if (how === "gone") return Failure.clientGone;
  if (how === "cut") return Failure.cut;
  return streamed === Class.failed ? Failure.failed : Failure.none;
}
