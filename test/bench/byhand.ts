// What both routers written by hand have in common: where a request belongs, who
// answers it, and the point that tells of it.

export interface Env {
  ROLLOUTS: KVNamespace;
  ANALYTICS: AnalyticsEngineDataset;
  REPLICATE_BASE_URL: string;
}

export interface Target {
  version?: string;
  deployment?: string;
  model?: string;
  url?: string;
}

export interface Rollout {
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

/** Where a target answers. */
export function upstream(target: Target, env: Env, rest: string): string {
  if (target.url) return target.url + rest;
  if (target.deployment) return `${env.REPLICATE_BASE_URL}/deployments/${target.deployment}/predictions`;
  if (target.model) return `${env.REPLICATE_BASE_URL}/models/${target.model}/predictions`;
  return `${env.REPLICATE_BASE_URL}/predictions`;
}

/** A request with its variant. */
export interface Assigned {
  startedAt: number;
  origin: string;
  isReplicate: boolean;
  body: { version: string } | undefined; // of a create that names its version
  rest: string; // the path below the first segment
  service: string;
  rollout: Rollout;
  variant: "stable" | "canary";
  user: number;
}

/** Assigns a request, or answers it where nothing is known of its service. */
export async function assigned(request: Request, env: Env): Promise<Assigned | Response> {
  const startedAt = Date.now();
  const { pathname, origin } = new URL(request.url);
  const [, first = "", ...rest] = pathname.split("/");
  const isReplicate = first === "v1";
  let body: { version: string } | undefined;
  let service = `http:${first}`;
  if (isReplicate && rest[0] === "models") {
    service = `model:${rest[1]}:${rest[2]}`;
  } else if (isReplicate) {
    body = await request.json<{ version: string }>();
    const alias = await read<{ service: string }>(env, `alias:version:${body.version}`);
    if (!alias) return new Response("unknown version", { status: 404 });
    service = alias.service.replace("/", ":");
  }
  const rollout = await read<Rollout>(env, `rollout:${service}`);
  if (!rollout) return new Response("unknown service", { status: 404 });

  const user = hash(`${rollout.salt}:${request.headers.get("x-user-id") ?? crypto.randomUUID()}`);
  const variant = user % 10_000 < rollout.percentage * 100 ? "canary" : "stable";
  return { startedAt, origin, isReplicate, body, rest: "/" + rest.join("/"), service, rollout, variant, user };
}

/** How a request went. */
export interface Answered {
  servedBy: string;
  status: number;
  ended: string; // the prediction
}

/** Sets the answer's own headers, and has its point written. */
export function conclude(
  request: Request,
  env: Env,
  ctx: ExecutionContext,
  assigned: Assigned,
  answered: Answered,
  answer?: Response,
): void {
  const { startedAt, variant, rollout } = assigned;
  const firstByteMS = Date.now() - startedAt;
  const trace = request.headers.get("cf-ray") ?? crypto.randomUUID();
  ctx.waitUntil(point(env, request.cf, { ...assigned, ...answered, trace, firstByteMS }));
  if (!answer) return;
  answer.headers.set("x-perch-variant", variant);
  answer.headers.set("x-perch-served-by", answered.servedBy);
  answer.headers.set("x-perch-rollout", rollout.rollout);
  answer.headers.set("x-perch-trace", trace);
  answer.headers.set("server-timing", `upstream;dur=${firstByteMS}`);
}

type Routed = Assigned & Answered & { trace: string; firstByteMS: number };

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
