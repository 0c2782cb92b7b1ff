// A canary router as a team would write it by hand for its own services: the
// same split, answer headers and points; a canary that is late, breaks off or
// answers 5xx is made up for by stable; predictions' outcomes are recorded, and
// their polls come back through it. It has no rules, overrides, breaker, access
// or seals, and nothing that the three scenarios do not need.

import { assigned, conclude, upstream } from "./byhand.ts";
import type { Env } from "./byhand.ts";
import { counted } from "./points.ts";

interface Prediction {
  status: string;
  output: unknown;
  urls?: Record<string, string>;
}

const api = "https://api.replicate.com";
const timeoutMS = 30_000;
const smallBytes = 64 << 10;
export default counted({
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const found = await assigned(request, env);
    if (found instanceof Response) return found;
    const { body, rollout, variant } = found;
    let held: ArrayBuffer | ReadableStream | null = request.body;
    if (!body && held && variant === "canary") held = await request.arrayBuffer();

    const ask = async (name: "stable" | "canary"): Promise<Answer> => {
      const target = rollout.targets[name];
      const headers = new Headers(request.headers);
      if (body) headers.delete("content-length");
      if (body && target.version) body.version = target.version;
      const response = await fetch(upstream(target, env, found.rest), {
        method: request.method,
        headers,
        body: body ? JSON.stringify(body) : held,
        signal: name === "canary" ? AbortSignal.timeout(timeoutMS) : null,
      });
      return contentOf(response, found.isReplicate && response.ok, found.origin);
    };

    let answered = await ask(variant).catch(() => undefined);
    const status = answered?.response.status ?? 0;
    const ended = answered?.ended ?? "";
    let servedBy: string = variant;
    if (variant === "canary" && (status === 0 || status >= 500)) {
      servedBy = "stable";
      answered = await ask("stable").catch(() => undefined);
    }
    const answer = answered && new Response(answered.content, answered.response);
    if (answer && typeof answered?.content === "string") answer.headers.delete("content-length");
    conclude(request, env, ctx, found, { servedBy, status, ended }, answer);
    return answer ?? new Response("the service did not answer", { status: 502 });
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
