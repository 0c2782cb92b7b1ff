import { ApiError, sendResult, type Handler } from "./api.ts";
import type { Limit } from "./options.ts";

/** The worker as the API describes it. */
export interface Script {
  name: string;
  compatibilityDate: string;
  compatibilityFlags: string[];
  namespaceId: string;
  dataset: string;
  vars: Record<string, unknown>;
  secrets: string[];
  limits: Limit[];
}

/**
 * Answers /accounts/{a}/workers/scripts/{name}/settings and …/secrets. A secret that is set here is listed from then
 * on; the workers that run keep those that they were started with.
 */
export function scriptsRest(script: Script): Handler {
  return (request, response) => {
    const [, , name, what] = request.path;
    if (name !== script.name) throw new ApiError(404, 10007, "This Worker does not exist on your account.");
    const secrets = script.secrets.map((secret) => ({ name: secret, type: "secret_text" }));
    if (request.method === "GET" && what === "secrets") return sendResult(response, secrets);
    if (request.method === "PUT" && what === "secrets") return sendResult(response, setSecret(script, request.body));
    if (request.method !== "GET" || what !== "settings") {
      throw new ApiError(405, 10405, `method ${request.method} is not allowed for ${request.url.pathname}`);
    }
    sendResult(response, {
      compatibility_date: script.compatibilityDate,
      compatibility_flags: script.compatibilityFlags,
      bindings: [
        { name: "ROLLOUTS", type: "kv_namespace", namespace_id: script.namespaceId },
        { name: "ANALYTICS", type: "analytics_engine", dataset: script.dataset },
        ...Object.entries(script.vars).map(([key, value]) =>
          typeof value === "string"
            ? { name: key, type: "plain_text", text: value }
            : { name: key, type: "json", json: value },
        ),
        ...script.limits.map(({ name, limit, period }, i) => ({
          name,
          type: "ratelimit",
          namespace_id: String(1001 + i),
          simple: { limit, period },
        })),
        ...secrets,
      ],
    });
  };
}

function setSecret(script: Script, body: Buffer): { name: string; type: string } {
  const { name, text, type } = JSON.parse(body.toString()) as Record<string, unknown>;
  if (typeof name !== "string" || typeof text !== "string" || type !== "secret_text") {
    throw new ApiError(400, 10021, "a secret has a name, a text, and the type secret_text");
  }
  if (name in script.vars) throw new ApiError(400, 10053, `Binding name '${name}' already in use.`);
  if (!script.secrets.includes(name)) script.secrets.push(name);
  return { name, type };
}
