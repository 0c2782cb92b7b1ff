// One analytics point per routed request.

import { Double, Kind } from "./columns.ts";
import type { Failure } from "./columns.ts";
import type { Core } from "./core.ts";
import type { Env } from "./env.ts";
import { pointOf } from "./point.ts";
import type { Told } from "./point.ts";

/** What happened to a routed request. Its status is the assigned target's; 0 if none came. */
export interface Event extends Told {
  failure: Failure;
  firstByteMS: number;
  durationMS: number;
}

export function record(core: Core, env: Env, cf: IncomingRequestCfProperties | undefined, e: Event): void {
  const point = pointOf(Kind.request, core.classify(e.status, e.failure), cf, e);
  point.doubles[Double.firstByteMS] = e.firstByteMS;
  point.doubles[Double.durationMS] = e.durationMS;
  env.ANALYTICS.writeDataPoint(point);
}
