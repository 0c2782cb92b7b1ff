// Overrides: who may choose the variant.

import type { Plan } from "./core.ts";
import type { Env } from "./env.ts";
import { Refusal } from "./refusal.ts";
import { Refused, unseal } from "./seal.ts";
import type { Context } from "./seal.ts";
import { testerCookie } from "./secrets.ts";

/** What of a request asks for a variant. */
export interface Wish {
  env: Env;
  request: Request;
  route: { variant: string };
}

/**
 * The variant that a tester gets, or "". Throws a Refusal where one is asked for
 * without a token that allows it; a cookie that is no use is nobody's wish.
 */
export async function overrideOf(p: Wish, plan: Plan): Promise<string> {
  if (!plan.overrides) return "";
  const { headers } = p.request;
  const asked = p.route.variant || (headers.get("x-perch-variant") ?? "");
  if (asked !== "" && asked !== "stable" && asked !== "canary") {
    throw new Refusal(403, "a tester may choose stable or canary");
  }
  const shown = headers.get("x-perch-tester");
  const token = shown ?? cookieOf(headers.get("cookie"), testerCookie);
  if (token === "") {
    if (asked === "") return "";
    throw new Refusal(
      403,
      "choosing a variant needs a tester's token, as x-perch-tester or in the cookie perch-tester",
    );
  }
  const opened = await open(p.env, token, plan.service);
  if (typeof opened === "string") {
    if (asked === "" && shown === null) return "";
    throw new Refusal(403, `the tester's token is refused: ${opened}`);
  }
  const { v = "" } = opened;
  if (v === "" || asked === "" || asked === v) return asked || v;
  throw new Refusal(403, `the tester's token allows ${v} only`);
}

/** What a token holds, or a sentence that says why it is no use. */
async function open(env: Env, token: string, service: string): Promise<Context | string> {
  try {
    const context = await unseal(env, token, "tester");
    if (context.s !== service) return "it is for another service";
    return context.x ? context : "it would never expire";
  } catch (error) {
    if (error instanceof Refused) return error.message.charAt(0).toLowerCase() + error.message.slice(1);
    throw error;
  }
}

function cookieOf(header: string | null, name: string): string {
  if (header === null || !header.includes(name)) return "";
  for (const pair of header.split(";")) {
    const [key = "", value = ""] = pair.split("=", 2);
    if (key.trim() === name) return value.trim();
  }
  return "";
}
