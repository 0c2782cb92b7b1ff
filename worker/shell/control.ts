// Perch's own paths under /_perch/.

import { choose } from "./choose.ts";
import { enterToAsk } from "./door.ts";
import type { Passage } from "./passage.ts";
import { noDocument } from "./replicate.ts";
import { keyIDs } from "./seal.ts";
import { problem } from "./upstream.ts";

export async function health(p: Passage): Promise<Response> {
  const { core, env } = p;
  return Response.json({
    status: "ok",
    traps: core.traps,
    bypass: env.PERCH_BYPASS === "1",
    seal: await keyIDs(env),
  });
}

/** Who would serve this user, and why. */
export async function variant(p: Passage): Promise<Response> {
  if (!p.route.keys) return problem(400, "Bad request", "name a service: /_perch/variant?service=model:owner/name");
  const { loaded, unreachable } = await p.rollouts.find(p.route.keys, p.env, p.ctx);
  if (!loaded) return noDocument(p.route.keys.service, unreachable);
  await enterToAsk(p, loaded);
  const { target, reason, bucket } = choose(p, loaded, true);
  const { service, rollout, generation, percentage } = loaded.plan;
  return Response.json({ service, variant: target.name, reason, bucket, percentage, rollout, generation });
}
