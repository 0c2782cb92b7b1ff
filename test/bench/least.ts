// The least that splits traffic: who goes where, and a point with the status.
// Nothing makes up for a canary that fails, nobody learns how a prediction ended
// or whether an answer broke off, and polls go to Replicate directly.

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
    const { pathname } = new URL(request.url);
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
    const target = rollout.targets[variant];
    const to = upstream(target, env, "/" + rest.join("/"));

    let response: Response;
    if (body) {
      const headers = new Headers(request.headers);
      headers.delete("content-length");
      if (target.version) body.version = target.version;
      response = await fetch(to, { method: request.method, headers, body: JSON.stringify(body) });
    } else {
      response = await fetch(to, request);
    }
    const firstByteMS = Date.now() - startedAt;
    const trace = request.headers.get("cf-ray") ?? crypto.randomUUID();
    const { status } = response;
    ctx.waitUntil(point(env, request.cf, { service, variant, rollout, trace, user: hashed, status, firstByteMS }));

    const answer = new Response(response.body, response);
    answer.headers.set("x-perch-variant", variant);
    answer.headers.set("x-perch-served-by", variant);
    answer.headers.set("x-perch-rollout", rollout.rollout);
    answer.headers.set("x-perch-trace", trace);
    answer.headers.set("server-timing", `upstream;dur=${firstByteMS}`);
    return answer;
  },
});

interface Routed {
  service: string;
  variant: string;
  rollout: Rollout;
  trace: string;
  user: number;
  status: number;
  firstByteMS: number;
}

/** Writes what Perch writes, so that the same orchestrator could judge. */
async function point(env: Env, cf: CfProperties | undefined, r: Routed): Promise<void> {
  const { service, variant, rollout, trace, status, firstByteMS } = r;
  const [outcome, errorClass] =
    status >= 500 ? ["error", "http"] : status >= 400 ? ["client_error", "http"] : ["ok", ""];
  const { colo = "", country = "" } = (cf ?? {}) as IncomingRequestCfProperties;
  const user = r.user.toString(16).padStart(16, "0");
  env.ANALYTICS.writeDataPoint({
    indexes: [`${service}|${variant}`],
    blobs: [
      service,
      variant,
      variant,
      "request",
      outcome,
      "percentage",
      rollout.rollout,
      colo,
      country,
      trace,
      user,
      errorClass,
    ],
    doubles: [status, firstByteMS, rollout.generation],
  });
}
