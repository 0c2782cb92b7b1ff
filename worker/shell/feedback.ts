// Ratings of answers by those who got them: one point each. Which variant gave the
// answer SQL learns from the point of the request, unless a seal tells it.

import { join } from "./bytes.ts";
import { choose } from "./choose.ts";
import { Double, Kind } from "./columns.ts";
import type { Loaded } from "./core.ts";
import { enterToRate } from "./door.ts";
import type { Passage } from "./passage.ts";
import { indexFor, pointOf } from "./point.ts";
import { Refusal } from "./refusal.ts";
import { noDocument } from "./replicate.ts";
import { logRequest } from "./requestlog.ts";
import type { Context } from "./seal.ts";
import { opened } from "./sealed.ts";
import { lengthOf } from "./watch.ts";

/** The largest body that is taken, in bytes. */
const maxBytes = 4 << 10;

/** What a client says. Either trace or prediction is "". */
interface Rating {
  trace: string;
  prediction: string; // its id, perhaps with ~ and a seal behind it
  score: number; // in [0,1]
  service: string; // or ""
}

/** Takes a rating of the answer with this trace, or of this prediction. */
export async function feedback(p: Passage): Promise<Response> {
  if (p.request.method !== "POST") throw new Refusal(405, "send ratings by POST", { allow: "POST" });
  p.asked = true; // whatever comes of it, it is nothing to pass to Replicate
  const rating = ratingIn(await read(p.request));
  const { id, context } = await unsealed(p, rating.prediction);
  const keys = serviceOf(p, rating, context);
  const { loaded, unreachable } = await p.rollouts.find(keys, p.env, p.ctx);
  if (loaded === undefined) return noDocument(keys.service, unreachable);
  await enterToRate(p, loaded, context);
  record(p, loaded, { ...rating, prediction: id }, context);
  const { service } = loaded.plan;
  const told = { service, variant: context?.v, rollout: context?.r, prediction: id };
  logRequest(p, { ...told, status: 202, firstByteMS: Date.now() - p.startedAt });
  const headers = { "x-perch-served-by": "perch", "x-perch-trace": p.trace.id };
  return Response.json({ service, score: rating.score }, { status: 202, headers });
}

async function read(request: Request): Promise<string> {
  const tooLarge = () => new Refusal(413, `a rating has at most ${maxBytes} bytes`);
  if (request.headers.has("content-encoding")) throw new Refusal(415, "send the rating without content-encoding");
  if (lengthOf(request.headers) > maxBytes) throw tooLarge();
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of request.body ?? []) {
    bytes += piece.length;
    if (bytes > maxBytes) throw tooLarge();
    pieces.push(piece);
  }
  return new TextDecoder().decode(join(pieces));
}

const bad = (detail: string) => new Refusal(400, detail);
const form = `{"trace": "<32 hexadecimal digits>", "score": 0.8}`;
const known = ["trace", "prediction", "score", "service"];

function ratingIn(text: string): Rating {
  const { score, ...names } = members(text);
  const { trace = "", prediction = "", service = "" } = names;
  for (const [name, value] of Object.entries(names)) {
    if (!known.includes(name)) throw bad(`${name} is not known: a rating has ${known.join(", ")}`);
    if (typeof value !== "string" || value === "") throw bad(`${name} must be a string that is not empty`);
  }
  if ((trace === "") === (prediction === "")) throw bad(`name what is rated, by either trace or prediction: ${form}`);
  if (trace !== "" && !/^[0-9a-f]{32}$/.test(trace as string)) {
    throw bad("trace must be 32 hexadecimal digits in lower case, as x-perch-trace of the answer has them");
  }
  const isScore = typeof score === "boolean" || (typeof score === "number" && score >= 0 && score <= 1);
  if (!isScore) throw bad("score must be a number from 0 to 1, or true or false");
  return { trace, prediction, service, score: Number(score) } as Rating;
}

function members(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw bad(`the body must be JSON: ${form}`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw bad(`the body must be a JSON object: ${form}`);
}

/** The plain id of a prediction, and what the seal behind it holds. */
async function unsealed(p: Passage, prediction: string): Promise<{ id: string; context?: Context }> {
  if (prediction === "") return { id: "" };
  const [, id = "", sealed = ""] = /^([!-}]{1,256})(?:~(.*))?$/.exec(prediction) ?? [];
  if (id === "") throw bad("prediction is no id: 1 to 256 printable characters, perhaps with ~ and a seal behind them");
  return { id, context: sealed === "" ? undefined : await opened(p, id, sealed) };
}

/** The service of a rating: what a seal tells outranks what the body says, and this the header or the query. */
function serviceOf(p: Passage, rating: Rating, context: Context | undefined) {
  const name = context?.s || rating.service;
  const keys = name === "" ? p.route.keys : p.core.resolveService(name);
  if (keys !== undefined) return keys;
  throw bad(
    name === ""
      ? 'name the service: "service": "model:owner/name" in the body, or the header x-perch-service'
      : "service must be a name such as model:owner/name or http:name",
  );
}

function record(p: Passage, loaded: Loaded, rating: Rating, context: Context | undefined): void {
  const { service, rollout, generation } = loaded.plan;
  const { v: variant = "", r: rated = rollout, w: reason = "" } = context ?? {};
  const unclassified = { outcome: "", errorClass: "" } as const;
  const point = pointOf(Kind.feedback, unclassified, p.request.cf as IncomingRequestCfProperties | undefined, {
    service,
    variant,
    servedBy: "",
    reason,
    rollout: rated,
    generation: rated === rollout ? generation : 0,
    index: indexFor(service, Kind.feedback),
    user: context?.u ?? userOf(p, loaded),
    trace: rating.trace,
    prediction: rating.prediction,
    status: 0,
    firstTokenMS: 0,
    eventsPerSecond: 0,
  });
  point.doubles[Double.score] = rating.score;
  p.env.ANALYTICS.writeDataPoint(point);
}

/** The fingerprint of who rates, or "" of somebody unknown. */
function userOf(p: Passage, loaded: Loaded): string {
  const { user, isNew } = choose(p, loaded, true);
  return isNew ? "" : user;
}
