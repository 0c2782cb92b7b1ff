// What clients bring back: polls and cancels of predictions, and the URLs that
// were sealed into answers.

import { accessOf, admitTo } from "./access.ts";
import type { Source } from "./answers.ts";
import { Shape } from "./core.ts";
import type { Loaded } from "./core.ts";
import { replicateBase } from "./env.ts";
import { isReplicate, parsed, targetAt, withoutSeal } from "./links.ts";
import { documentOf } from "./outcome.ts";
import type { Passage } from "./passage.ts";
import { Refusal } from "./refusal.ts";
import { forward, toReplicate } from "./replicate.ts";
import type { Found } from "./rollouts.ts";
import { Refused, unseal } from "./seal.ts";
import type { Context } from "./seal.ts";
import { nobody } from "./secrets.ts";
import { queryOf } from "./upstream.ts";

/** A poll or a cancellation: by a bare id, or with a seal that tells whose the prediction is. */
export async function byPrediction(p: Passage): Promise<Response> {
  const [id = "", behind] = p.route.prediction.split(/~|%7e/i, 2);
  const sealed = behind || p.url.searchParams.get("perch") || "";
  const context = sealed === "" ? undefined : await opened(p, id, sealed);
  const rest = `/predictions/${id}${p.route.cancel ? "/cancel" : ""}`;
  p.route = { ...p.route, prediction: id, rest };
  p.url = Object.assign(new URL(p.url), { search: withoutSeal(queryOf(p.url)) });
  if (context === undefined) return toReplicate(p);
  p.context = context;
  if (context.p === "prediction") p.sealed = sealed;
  if (context.l) p.asked = true; // whatever fails, it is nothing to pass to Replicate
  const found = await admitted(p, context);
  const asked = home(p, context, found.loaded) ?? replicateBase(p.env) + rest + queryOf(p.url);
  return fetched(p, leadingTo(p, asked, found));
}

/** Opens the seal of a prediction; undefined if what is asked can do without it. Throws a Refusal. */
export async function opened(p: Passage, id: string, sealed: string): Promise<Context | undefined> {
  try {
    const context = await unseal(p.env, sealed, "prediction").catch((error: unknown) => {
      const other = error instanceof Refused && error.refusal === "purpose" && !p.route.cancel;
      return other ? unseal(p.env, sealed, "follow") : Promise.reject(error);
    });
    if (context.i === id) return context;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    // Replicate's own answer to the client's own token needs nothing of Perch's.
    if (error.context && !error.context.c && !error.context.l) return undefined;
    throw new Refusal(403, error.message);
  }
  throw new Refusal(403, "this seal was made for another prediction");
}

/** Where a model server has a prediction; undefined for one of Replicate's. */
function home(p: Passage, context: Context, loaded: Loaded | undefined): string | undefined {
  const followed = context.p === "follow" && loaded?.plan.targets.find(({ name }) => name === context.v)?.url;
  const text = context.l || (followed && `${followed.replace(/\/$/, "")}/${p.route.prediction}`);
  if (!text) return undefined;
  const url = new URL(text);
  if (p.route.cancel) url.pathname += "/cancel";
  return url.href;
}

/** A URL that was sealed into an answer: a stream, or something on a model server's host. */
export async function bySealedURL(p: Passage): Promise<Response> {
  p.asked = true; // whatever fails, it is nothing to pass to Replicate
  const context = await unsealURL(p);
  const { m: method = "", l: asked = "" } = context;
  const methods = method === "" ? ["GET", "HEAD"] : [method];
  if (!methods.includes(p.request.method) && p.request.method !== "OPTIONS") {
    throw new Refusal(405, `this URL may be asked with ${methods.join(" and ")} only`, { allow: methods.join(", ") });
  }
  p.context = context;
  return fetched(p, leadingTo(p, asked, await admitted(p, context)));
}

async function unsealURL(p: Passage): Promise<Context> {
  const { seal } = p.route;
  try {
    return await unseal(p.env, seal, "stream").catch((error: unknown) => {
      const other = error instanceof Refused && error.refusal === "purpose";
      return other ? unseal(p.env, seal, "at") : Promise.reject(error);
    });
  } catch (error) {
    throw error instanceof Refused ? new Refusal(403, error.message) : error;
  }
}

/** Lets the client in to what a seal names, and returns the document of its service. Throws a Refusal. */
async function admitted(p: Passage, context: Context): Promise<Found> {
  const found = await documentOf(p, context.s ?? "");
  const access = accessOf(p, found.loaded?.plan);
  if (context.p !== "follow") p.entry = await admitTo(p, access, context);
  else if (access?.token) p.entry = { ...nobody, held: true, token: access.token };
  return found;
}

/** The way to a URL, if it is one of Replicate's or of the service's model servers as they are now. Throws a Refusal. */
function leadingTo(p: Passage, asked: string, { loaded, unreachable }: Found): Source {
  const { context, route } = p;
  const url = parsed(asked);
  const ofReplicate = url !== undefined && isReplicate(url, replicateBase(p.env));
  const whose = loaded?.plan.targets.find(({ name }) => name === context?.v);
  // A model server may be on the host of the gateway before Replicate.
  const target = ofReplicate && whose?.url === "" ? whose : url && targetAt(url, loaded, context?.v);
  if (!ofReplicate && !target && !loaded && unreachable) {
    throw new Refusal(503, `the rollout document of ${context?.s} cannot be read`);
  }
  if (!ofReplicate && !target) {
    throw new Refusal(404, `what this seal leads to is no longer a target of ${context?.s || "any service"}`);
  }
  const isPrediction = context?.p === "at" && context.i; // not a redirect of another service's
  return { asked, shape: isPrediction ? Shape.prediction : route.shape, target };
}

function fetched(p: Passage, source: Source): Promise<Response> {
  const { context } = p;
  const own: Record<string, string> = {};
  if (context?.v) own["x-perch-variant"] = own["x-perch-served-by"] = context.v;
  if (context?.r) own["x-perch-rollout"] = context.r;
  return forward(p, source, own);
}
