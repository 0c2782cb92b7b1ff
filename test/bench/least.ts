// The least that splits traffic: who goes where, and a point with the status.
// Nothing makes up for a canary that fails, nobody learns how a prediction ended
// or whether an answer broke off, and polls go to Replicate directly.

import { assigned, conclude, upstream } from "./byhand.ts";
import type { Env } from "./byhand.ts";
import { counted } from "./points.ts";

export default counted({
  async fetch(request: Request, env: Env, ctx: ExecutionContext): Promise<Response> {
    const found = await assigned(request, env);
    if (found instanceof Response) return found;
    const { body, rollout, variant } = found;
    const target = rollout.targets[variant];
    const to = upstream(target, env, found.rest);

    let response: Response;
    if (body) {
      const headers = new Headers(request.headers);
      headers.delete("content-length");
      if (target.version) body.version = target.version;
      response = await fetch(to, { method: request.method, headers, body: JSON.stringify(body) });
    } else {
      response = await fetch(to, request);
    }
    const answer = new Response(response.body, response);
    conclude(request, env, ctx, found, { servedBy: variant, status: response.status, ended: "" }, answer);
    return answer;
  },
});
