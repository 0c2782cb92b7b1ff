// A canary router as a team would write it by hand for its own services: the
// same split, answer headers and points; a canary that is late, breaks off or
// answers 5xx is made up for by stable; predictions' outcomes are recorded, and
// their polls come back through it. It has no rules, overrides, breaker, access
// or seals, and nothing that the three scenarios do not need.

import { counted } from "./points.ts";

interface Env {
  ROLLOUTS: KVNamespace;
  ANALYTICS: AnalyticsEngineDataset;
  REPLICATE_BASE_URL: string;
}

interface Target {
  version?: string;
  deployment?: string;
  model?: string;
  url?: string;
}

interface Rollout {
  rollout: string;
  generation: number;
  percentage: number;
  salt: string;
  targets: { stable: Target; canary: Target };
}

interface Prediction {
  status: string;
  output: unknown;
  urls?: Record<string, string>;
}

const api = "https://api.replicate.com";
const timeoutMS = 30_000;
const smallBytes = 64 << 10;
const freshMS = 5_000;
const cache = new Map<string, { readAt: number; value: unknown }>();

async function read<T>(env: Env, key: string): Promise<T | null> {
  const known = cache.get(key);
  if (known && Date.now() - known.readAt < freshMS) return known.value as T | null;
  const value = await env.ROLLOUTS.get<T>(key, { type: "json", cacheTtl: 30 });
  cache.set(key, { readAt: Date.now(), value });
  return value;
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

function upstream(target: Target, env: Env, rest: string): string {
  if (target.url) return target.url + rest;
  if (target.deployment) return `${env.REPLICATE_BASE_URL}/deployments/${target.deployment}/predictions`;
  if (target.model) return `${env.REPLICATE_BASE_URL}/models/${target.model}/predictions`;
  return `${env.REPLICATE_BASE_URL}/predictions`;
}

export default counted({
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const startedAt = Date.now();
    const { pathname, origin } = new URL(request.url);
    const [, first = "", ...rest] = pathname.split("/");
    let body: { version: string } | undefined;
    let service = `http:${first}`;
    if (first === "v1" && rest[0] === "models") {
      service = `model:${rest[1]}:${rest[2]}`;
    } else if (first === "v1") {
      body = await request.json<{ version: string }>();
      const alias = await read<{ service: string }>(env, `alias:version:${body.version}`);
      if (!alias) return new Response("unknown version", { status: 404 });
      service = alias.service.replace("/", ":");
    }
    const rollout = await read<Rollout>(env, `rollout:${service}`);
    if (!rollout) return new Response("unknown service", { status: 404 });

    const user = request.headers.get("x-user-id") ?? crypto.randomUUID();
    const hashed = hash(`${rollout.salt}:${user}`);
    const variant = hashed % 10_000 < rollout.percentage * 100 ? "canary" : "stable";
    let held: ArrayBuffer | ReadableStream | null = request.body;
    if (!body && held && variant === "canary") held = await request.arrayBuffer();

    const ask = async (name: "stable" | "canary"): Promise<Answer> => {
      const target = rollout.targets[name];
      const headers = new Headers(request.headers);
      if (body) headers.delete("content-length");
      if (body && target.version) body.version = target.version;
      const response = await fetch(upstream(target, env, "/" + rest.join("/")), {
        method: request.method,
        headers,
        body: body ? JSON.stringify(body) : held,
        signal: name === "canary" ? AbortSignal.timeout(timeoutMS) : null,
      });
      return contentOf(response, first === "v1" && response.ok, origin);
    };

    let answered = await ask(variant).catch(() => undefined);
    const status = answered?.response.status ?? 0;
    const ended = answered?.ended ?? "";
    let servedBy = variant;
    if (variant === "canary" && (status === 0 || status >= 500)) {
      servedBy = "stable";
      answered = await ask("stable").catch(() => undefined);
    }
    const firstByteMS = Date.now() - startedAt;
    const trace = request.headers.get("cf-ray") ?? crypto.randomUUID();
    const routed = { service, variant, servedBy, rollout, trace, user: hashed, status, ended, firstByteMS };
    ctx.waitUntil(point(env, request.cf, routed));
    if (!answered) return new Response("the service did not answer", { status: 502 });

    const answer = new Response(answered.content, answered.response);
    if (typeof answered.content === "string") answer.headers.delete("content-length");
    answer.headers.set("x-perch-variant", variant);
    answer.headers.set("x-perch-served-by", servedBy);
    answer.headers.set("x-perch-rollout", rollout.rollout);
    answer.headers.set("x-perch-trace", trace);
    answer.headers.set("server-timing", `upstream;dur=${firstByteMS}`);
    return answer;
  },
});

interface Answer {
  response: Response;
  content: BodyInit | null;
  ended: string; // the prediction
}

/** Reads what is small, so that an answer that breaks off counts as one, and lets a prediction's URLs lead back here. */
async function contentOf(response: Response, isPrediction: boolean, origin: string): Promise<Answer> {
  if (!isPrediction) {
    const isSmall = Number(response.headers.get("content-length") ?? NaN) <= smallBytes;
    return { response, content: isSmall ? await response.arrayBuffer() : response.body, ended: "" };
  }
  const prediction = await response.json<Prediction>();
  const { status, output, urls } = prediction;
  for (const name in urls) if (name !== "web") urls[name] = urls[name]?.replace(api, origin) ?? "";
  return { response, content: JSON.stringify(prediction), ended: status !== "processing" || output ? status : "" };
}

interface Routed {
  service: string;
  variant: string;
  servedBy: string;
  rollout: Rollout;
  trace: string;
  user: number;
  status: number;
  ended: string; // the prediction
  firstByteMS: number;
}

/** Writes what Perch writes, so that the same orchestrator could judge. */
async function point(env: Env, cf: CfProperties | undefined, r: Routed): Promise<void> {
  const { service, variant, servedBy, rollout, trace, status, ended, firstByteMS } = r;
  const [outcome, errorClass] =
    status >= 500
      ? ["error", "http"]
      : ended === "failed"
        ? ["error", "failed"]
        : status >= 400
          ? ["client_error", "http"]
          : ["ok", ""];
  const { colo = "", country = "" } = (cf ?? {}) as IncomingRequestCfProperties;
  const user = r.user.toString(16).padStart(16, "0");
  env.ANALYTICS.writeDataPoint({
    indexes: [`${service}|${variant}`],
    blobs: [
      service,
      variant,
      servedBy,
      "request",
      outcome,
      "percentage",
      rollout.rollout,
      colo,
      country,
      trace,
      user,
      errorClass,
      ended,
    ],
    doubles: [status, firstByteMS, rollout.generation],
  });
}
