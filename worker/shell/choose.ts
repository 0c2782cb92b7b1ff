// Who answers: the core's decision, or stable where there must be none.

import { Reason } from "./columns.ts";
import { TooLong, Trap } from "./core.ts";
import type { Loaded } from "./core.ts";
import type { Choice, Passage } from "./passage.ts";

/** The decision, or stable where there must be none or it failed. Nobody is sent there for a preview. */
export function choose(p: Passage, loaded: Loaded, preview = false): Choice {
  const undecided = (reason: string): Choice => ({
    ...p.core.stable(loaded, p.body.version, p.route.endpoint),
    isNew: false,
    reason,
    user: "",
    skipped: false,
  });
  if (p.env.PERCH_BYPASS === "1" || p.route.undecided) return undecided(Reason.bypass);
  try {
    return decide(p, loaded, preview);
  } catch (error) {
    if (!(error instanceof Trap || error instanceof TooLong)) throw error;
    return undecided(Reason.trap);
  }
}

function decide(p: Passage, loaded: Loaded, preview: boolean): Choice {
  const { headers } = p.request;
  const { plan } = loaded;
  const random = crypto.randomUUID();
  const client = plan.from && headers.get(plan.from === "token" ? "authorization" : "cf-connecting-ip");
  const question = {
    identity: p.entry.identity,
    override: p.override,
    client: client ?? "",
    random,
    cookie: headers.get("cookie") ?? "",
    version: p.body.version,
    headers: plan.headers.map((name) => headers.get(name) ?? ""),
    preview,
  };
  const decision = p.core.decide(loaded, question, p.startedAt, p.route.endpoint);
  return { ...decision, cookie: decision.isNew ? random : "" };
}
