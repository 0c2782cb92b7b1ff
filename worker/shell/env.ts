// What the worker is bound to, as wrangler.toml declares it.

import type { SealKeys } from "./seal.ts";

export interface Env extends SealKeys {
  ROLLOUTS: KVNamespace;
  ANALYTICS: AnalyticsEngineDataset;
  /** Replicate's API or a gateway before it, with the path prefix that stands for /v1. */
  REPLICATE_BASE_URL?: string;
  /** Headers of every call to Replicate, as JSON: {"name": "value", "other": "secret:NAME"}. */
  REPLICATE_HEADERS?: string;
  /** What Replicate signs webhooks with: whsec_…, several with commas between them. */
  REPLICATE_WEBHOOK_SECRET?: string;
  /** "1" lets webhooks lead to private addresses, and the worker itself be at one: for local runs. */
  PERCH_PRIVATE_WEBHOOKS?: string;
  /** Who may come in where a document does not say: JSON, as a document's access. */
  PERCH_ACCESS?: string;
  /** "1" sends everything to stable without deciding. */
  PERCH_BYPASS?: string;
  /** Time in ms between two looks for a key that an issuer's set does not hold. */
  PERCH_JWKS_COOLDOWN_MS?: string;
  /** "0" writes no line for each request. */
  PERCH_LOG?: string;
  /** Age in ms from which a document is refreshed in the background. */
  PERCH_REFRESH_MS?: string;
  /** Age in ms from which a document is read anew before it is used. */
  PERCH_MAX_AGE_MS?: string;
}

export const replicateBase = (env: Env) =>
  (env.REPLICATE_BASE_URL || "https://api.replicate.com/v1").replace(/\/+$/, "");
export const refreshMS = (env: Env) => positive(env.PERCH_REFRESH_MS, 5_000);
export const keysCooldownMS = (env: Env) => positive(env.PERCH_JWKS_COOLDOWN_MS, 30_000);
export const maxAgeMS = (env: Env) => positive(env.PERCH_MAX_AGE_MS, 15_000);

function positive(text: string | undefined, standard: number): number {
  const n = Number(text);
  return n > 0 ? n : standard;
}

/** Writes one structured line to the log. */
export function log(what: string, fields: Record<string, unknown>): void {
  console.log(JSON.stringify({ perch: what, ...fields }));
}
