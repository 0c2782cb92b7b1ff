// The columns of an analytics point that requests and predictions' ends share.

import { Blob, Double, maxIndexBytes } from "./columns.ts";
import type { Kind, Outcome } from "./columns.ts";

/** What each point tells. */
export interface Told {
  service: string;
  variant: string; // assigned
  servedBy: string; // who answered, or ""
  reason: string;
  rollout: string;
  generation: number; // 0: of a document that is gone
  index: string; // what analytics are sampled by
  user: string;
  trace: string;
  prediction: string; // its id, or ""
  status: number;
  firstTokenMS: number; // 0 is unknown
  eventsPerSecond: number;
}

/** A point as the binding takes it, its own columns still to be filled in. */
export interface Point {
  blobs: string[];
  doubles: number[];
  indexes: string[];
}

/** An index for some of a service's points; of a name that is too long, near enough. */
export const indexFor = (service: string, which: string) => `${service}|${which}`.slice(-maxIndexBytes);

const blobs = Object.keys(Blob).length;
const doubles = Object.keys(Double).length;

export function pointOf(
  kind: Kind,
  { outcome, errorClass }: { outcome: Outcome | ""; errorClass: string },
  cf: IncomingRequestCfProperties | undefined,
  told: Told,
): Point {
  const texts = new Array<string>(blobs).fill("");
  texts[Blob.service] = told.service;
  texts[Blob.variant] = told.variant;
  texts[Blob.servedBy] = told.servedBy;
  texts[Blob.kind] = kind;
  texts[Blob.outcome] = outcome;
  texts[Blob.reason] = told.reason;
  texts[Blob.rollout] = told.rollout;
  texts[Blob.colo] = cf?.colo ?? "";
  texts[Blob.country] = cf?.country ?? "";
  texts[Blob.trace] = told.trace;
  texts[Blob.user] = told.user;
  texts[Blob.errorClass] = errorClass;
  texts[Blob.prediction] = told.prediction;
  const numbers = new Array<number>(doubles).fill(0);
  numbers[Double.status] = told.status;
  numbers[Double.generation] = told.generation;
  numbers[Double.firstTokenMS] = told.firstTokenMS;
  numbers[Double.eventsPerSecond] = told.eventsPerSecond;
  return { blobs: texts, doubles: numbers, indexes: [told.index] };
}
