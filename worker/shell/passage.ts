// What is known of a request while it is on its way.

import type { Body } from "./body.ts";
import type { Core, Decision, Route } from "./core.ts";
import type { Env } from "./env.ts";
import type { Rollouts } from "./rollouts.ts";
import type { Context } from "./seal.ts";
import type { Entry } from "./secrets.ts";
import type { Trace } from "./upstream.ts";

export interface Passage {
  core: Core;
  rollouts: Rollouts;
  request: Request;
  url: URL;
  route: Route;
  body: Body;
  trace: Trace;
  env: Env;
  ctx: ExecutionContext;
  startedAt: number;
  asked: boolean; // an upstream; it must not be asked again
  entry: Entry; // who comes; nobody until it was looked at
  override: string; // the variant that a tester chose, or ""
  secrets: string[]; // that went upstream
  context?: Context; // of the seal by which the client asks
  sealed?: string; // that seal, if it is a prediction's
  call?: AbortController; // of the upstream that is being asked
  gone?: boolean; // the client went away
  isEncoded?: boolean; // the answer's body is compressed as the upstream sent it
}

/** Who answers a request, and why; no bucket where nothing was decided. */
export type Choice = Omit<Decision, "bucket"> & { bucket?: number; cookie?: string };
