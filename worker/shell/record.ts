// One analytics point per routed request.

import { Blob, Double, Kind } from "./columns.ts";
import type { Failure } from "./columns.ts";
import type { Core, Loaded, Target } from "./core.ts";
import type { Env } from "./env.ts";
import type { Trace } from "./upstream.ts";

/** What happened to a routed request. */
export interface Event {
  loaded: Loaded;
  target: Target; // assigned
  servedBy: string; // who answered, or ""
  reason: string;
  user: string;
  trace: Trace;
  prediction: string; // id of the prediction that was made, or ""
  status: number; // of the assigned target; 0 if none came
  failure: Failure;
  firstByteMS: number;
  durationMS: number;
  firstTokenMS: number;
  eventsPerSecond: number;
}

const blobs = Object.keys(Blob).length;
const doubles = Object.keys(Double).length;

export function record(core: Core, env: Env, cf: IncomingRequestCfProperties | undefined, e: Event): void {
  const { outcome, errorClass } = core.classify(e.status, e.failure);
  const texts = new Array<string>(blobs).fill("");
  texts[Blob.service] = e.loaded.plan.service;
  texts[Blob.variant] = e.target.name;
  texts[Blob.servedBy] = e.servedBy;
  texts[Blob.kind] = Kind.request;
  texts[Blob.outcome] = outcome;
  texts[Blob.reason] = e.reason;
  texts[Blob.rollout] = e.loaded.plan.rollout;
  texts[Blob.colo] = cf?.colo ?? "";
  texts[Blob.country] = cf?.country ?? "";
  texts[Blob.trace] = e.trace.id;
  texts[Blob.user] = e.user;
  texts[Blob.errorClass] = errorClass;
  texts[Blob.prediction] = e.prediction;
  const numbers = new Array<number>(doubles).fill(0);
  numbers[Double.status] = e.status;
  numbers[Double.firstByteMS] = e.firstByteMS;
  numbers[Double.generation] = e.loaded.plan.generation;
  numbers[Double.durationMS] = e.durationMS;
  numbers[Double.firstTokenMS] = e.firstTokenMS;
  numbers[Double.eventsPerSecond] = e.eventsPerSecond;
  env.ANALYTICS.writeDataPoint({ blobs: texts, doubles: numbers, indexes: [e.target.index] });
}
