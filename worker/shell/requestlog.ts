// One line for each request. It holds no path, no header and no query: these
// may hold what only the client and the upstream should know.

import { Action } from "./core.ts";
import { log } from "./env.ts";
import type { Passage } from "./passage.ts";

/** What a line tells beside what the request itself does. Names and ids only; times in ms. */
export interface Told {
  status: number; // answered to the client
  firstByteMS: number;
  totalMS?: number;
  service?: string;
  variant?: string;
  servedBy?: string;
  reason?: string;
  rollout?: string;
  cause?: string; // why the fallback answered, or how the answer failed
  prediction?: string;
  unrouted?: string; // why no rollout decided
}

export function logRequest(p: Passage, told: Told): void {
  if (p.env.PERCH_LOG === "0") return;
  const { status, service, variant, servedBy, reason, rollout, cause, prediction, unrouted } = told;
  log("request", {
    trace: p.trace.id,
    method: p.request.method,
    status,
    service: service || undefined,
    variant: variant || undefined,
    served_by: servedBy || undefined,
    reason: reason || undefined,
    rollout: rollout || undefined,
    cause: cause || undefined,
    prediction: prediction || undefined,
    unrouted: unrouted || undefined,
    first_byte_ms: told.firstByteMS,
    total_ms: told.totalMS,
  });
}

const sealed: number[] = [Action.prediction, Action.at, Action.webhook];

/** A request's path for the log, unless it may hold a seal. */
export const pathOf = ({ route, url }: Passage) => (sealed.includes(route.action) ? undefined : url.pathname);
