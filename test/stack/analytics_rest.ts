import type { Analytics } from "./analytics.ts";
import type { Handler } from "./api.ts";
import { sendJson, sendText } from "./http.ts";
import { SqlError } from "./sql_error.ts";

/** Answers /accounts/{a}/analytics_engine/sql: the statement as the raw body, refusals as plain text. */
export function analyticsRest(analytics: Analytics): Handler {
  return async (request, response) => {
    if (analytics.settings.down) return sendText(response, 503, "Service Unavailable");
    const statement = request.method === "GET" ? request.url.searchParams.get("query") : request.body.toString();
    try {
      sendJson(response, 200, await analytics.query(statement ?? ""));
    } catch (error) {
      if (!(error instanceof SqlError)) throw error;
      sendText(response, 422, error.message);
    }
  };
}
