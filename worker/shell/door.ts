// What a request must pass before a service answers it.

import { accessOf, admit, admitTo, isAnonymous, limitRate } from "./access.ts";
import type { Loaded } from "./core.ts";
import type { Passage } from "./passage.ts";
import type { Context } from "./seal.ts";
import { nobody } from "./secrets.ts";
import { overrideOf } from "./tester.ts";

/** Notes who comes to a service, and which variant a tester chose. Throws a Refusal. */
export async function enter(p: Passage, { plan }: Loaded): Promise<void> {
  const access = accessOf(p, plan);
  if (access !== null) {
    p.entry = await admit(p, access);
    await limitRate(p, access, p.entry, plan.service, plan.headers[0] ?? "");
  }
  if (plan.overrides) p.override = await overrideOf(p, plan);
}

/** The same for somebody who rates an answer; sealed is what its prediction's id holds, if it is sealed. */
export async function enterToRate(p: Passage, { plan }: Loaded, sealed: Context | undefined): Promise<void> {
  const access = accessOf(p, plan);
  p.entry = sealed ? await admitTo(p, access, sealed) : await admit(p, access);
  await limitRate(p, access, p.entry, plan.service, plan.headers[0] ?? "");
}

/** The same for somebody who only asks who would answer: that is open to everyone. */
export async function enterToAsk(p: Passage, { plan }: Loaded): Promise<void> {
  const access = accessOf(p, plan);
  p.entry = access === null || isAnonymous(p, access) ? nobody : await admit(p, access);
  p.override = await overrideOf(p, plan);
}
