import { ApiError, sendResult, type Handler } from "./api.ts";

/** The worker as the API describes it. */
export interface Script {
  name: string;
  compatibilityDate: string;
  compatibilityFlags: string[];
  namespaceId: string;
  dataset: string;
  vars: Record<string, unknown>;
  secrets: string[];
}

/** Answers /accounts/{a}/workers/scripts/{name}/settings and …/secrets. */
export function scriptsRest(script: Script): Handler {
  return (request, response) => {
    const [, , name, what] = request.path;
    if (name !== script.name) throw new ApiError(404, 10007, "This Worker does not exist on your account.");
    const secrets = script.secrets.map((secret) => ({ name: secret, type: "secret_text" }));
    if (request.method === "GET" && what === "secrets") return sendResult(response, secrets);
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
        ...secrets,
      ],
    });
  };
}
