// Failing over: what a target does not answer well goes to its fallback, once.

import { Class, Failure, Outcome } from "./columns.ts";
import { Edit, Trap } from "./core.ts";
import type { Loaded, Target, Use } from "./core.ts";
import { log } from "./env.ts";
import type { Choice, Passage } from "./passage.ts";
import { Refusal } from "./refusal.ts";
import { tryTarget } from "./target.ts";
import type { Try } from "./target.ts";

/** Who answered, and what the assigned target did. */
export interface Result {
  tried: Try; // whose answer goes out, or who was the last not to give one
  status: number; // of the assigned target
  failure: Failure; // of the assigned target
  cause: string; // why its fallback was asked, or ""
  prediction: string; // that its fallback made up for, or ""
}

/** Asks the target of the choice, and its fallback where it must. */
export async function answered(p: Passage, loaded: Loaded, choice: Choice): Promise<Result> {
  const { target, reason, user } = choice;
  const fallback = loaded.plan.targets[target.fallback];
  const told = { loaded, target, reason, user };
  if (!fallback) return alone(await tryTarget(p, choice, { ...told, servedBy: target }));
  const second = async () => tryTarget(p, useOf(p, loaded, fallback), { ...told, servedBy: fallback });
  if (choice.skipped) {
    return { tried: await second(), status: 0, failure: Failure.breaker, cause: Class.breaker, prediction: "" };
  }
  p.body.keep(loaded.plan.fallback.maxBodyBytes);
  const first = await firstTry(p, choice, { ...told, servedBy: target });
  const cause = await rescueOf(p, loaded, first);
  if (cause === "") return alone(first);
  const prediction = first.read?.facts?.id ?? "";
  const assigned = { status: first.response?.status ?? 0, failure: failureOf(first), cause, prediction };
  const tried = await second().catch((error: unknown) => unmade(p, error));
  const isBetter = first.response !== undefined && !first.call.signal.aborted;
  if (tried === undefined || (tried.response === undefined && isBetter)) return { tried: first, ...assigned };
  first.call.abort();
  return { tried, ...assigned };
}

/** A second try that could not be made: the first one's answer, or the lack of it, stays. A Refusal is the client's to see. */
function unmade(p: Passage, error: unknown): undefined {
  if (error instanceof Refusal) throw error;
  log("rescue", { error: String(error), trace: p.trace.id });
}

const alone = (tried: Try): Result => ({
  tried,
  status: tried.response?.status ?? 0,
  failure: tried.failure,
  cause: "",
  prediction: "",
});

/** What becomes of the body for the target. A trap is tried once more with a fresh core. */
function useOf({ core, body, route }: Passage, loaded: Loaded, { at }: Target): Use {
  const use = () => core.use(loaded, at, body.version, route.endpoint);
  try {
    return use();
  } catch (error) {
    if (!(error instanceof Trap)) throw error;
    return use();
  }
}

/** The first of two tries: a target that cannot be asked for want of a secret is one that does not answer. */
async function firstTry(p: Passage, choice: Choice, told: Parameters<typeof tryTarget>[2]): Promise<Try> {
  try {
    return await tryTarget(p, choice, told);
  } catch (error) {
    if (!(error instanceof Refusal) || error.status < 500) throw error;
    const now = Date.now();
    const { target } = choice;
    return { target, failure: Failure.connect, askedAt: now, answeredAt: now, call: new AbortController() };
  }
}

/** How a try failed by what its answer says, where it did not fail before. */
function failureOf({ failure, read }: Try): Failure {
  if (failure !== Failure.none) return failure;
  if (read?.ended === "failed") return Failure.failed;
  return read?.ended === "aborted" ? Failure.aborted : Failure.none;
}

/** Why the fallback is to be asked, or "". Tells the breaker. */
async function rescueOf(p: Passage, loaded: Loaded, first: Try): Promise<string> {
  const cause = failureOf(first);
  const status = first.response?.status ?? 0;
  if (cause === Failure.clientGone) return "";
  const { core, route } = p;
  try {
    const { outcome, errorClass } = core.classify(status, cause);
    const isTrouble = outcome === Outcome.error;
    const isRescued = isTrouble && (await isToRescue(p, loaded, first, { cause, status }));
    const isPrediction = cause === Failure.failed || cause === Failure.aborted;
    if (!route.undecided) core.report(loaded, first.target.at, isPrediction ? isRescued : isTrouble, Date.now());
    return isRescued ? (errorClass === Class.http ? "5xx" : errorClass) : "";
  } catch (error) {
    log("rescue", { error: String(error), trace: p.trace.id }); // the core failed: the answer stays as it is
    return "";
  }
}

async function isToRescue(
  p: Passage,
  loaded: Loaded,
  { target, call }: Try,
  trouble: { cause: Failure; status: number },
): Promise<boolean> {
  const { core, route, body } = p;
  const { creates, safe } = route;
  const rescue = (resendable: boolean) =>
    core.rescue(loaded, target.at, { ...trouble, creates, safe, resendable }) && !p.gone;
  if (body.isLost || !rescue(true)) return false; // whatever the rest of the body
  if (!body.complete) call.abort(); // so that the sending of the body ends
  const fallback = loaded.plan.targets[target.fallback];
  if (fallback === undefined || !isEditable(p, useOf(p, loaded, fallback))) return false;
  return rescue(await body.resendable());
}

const isEditable = (p: Passage, { edit }: Use) => edit === Edit.none || !p.body.encoded;
