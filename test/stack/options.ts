import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

/** A rate-limit binding, as wrangler.toml's [[ratelimits]] declares it. */
export interface Limit {
  name: string;
  limit: number;
  /** Production seconds: 10 or 60. */
  period: number;
}

export interface Options {
  worker: string;
  config: string;
  places: number;
  vars: Record<string, string>;
  secrets: Record<string, string>;
  /** Rate-limit bindings of the worker. */
  limits: Limit[];
  /** PEM certificates, beside the browsers' own, that the worker trusts for https. */
  trust: string[];
  /** Production seconds per local second. */
  timeScale: number;
  port: number;
  lagMs: number;
  sample: number;
  bare: boolean;
}

const root = resolve(import.meta.dirname, "../..");

export const usage = `usage: npm run --silent stack -- [flags]
  --worker DIR        bundle made by wrangler deploy --dry-run --outdir DIR (default .build/worker)
  --config FILE       wrangler.toml for the compatibility date, flags and vars (default wrangler.toml)
  --places N          workerd processes, each with its own KV cache and Cache API (default 1)
  --var NAME=VALUE    text binding for the worker; repeatable
  --secret NAME=VALUE the same, listed as a secret by the API; repeatable
  --limit NAME:N:P    rate-limit binding: N calls with one key in P production seconds (10 or 60); repeatable
  --trust FILE        PEM certificates that the worker trusts for https, beside the browsers' own
  --time-scale S      production seconds per local second: a cacheTtl of 30 lasts 30/S seconds (default 1)
  --port P            port of the API, 0 takes a free one (default 0)
  --lag-ms MS         age at which analytics points become visible (default 0)
  --sample N          queries see about 1 point in N (default 1)
  --bare              run the worker without edge.js: no request.cf, no limit of points a request; for benchmarks`;

/** Reads the command line; paths are relative to the repository. What is wrong is an Error that names the flag. */
export function parseOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      worker: { type: "string", default: ".build/worker" },
      config: { type: "string" },
      places: { type: "string", default: "1" },
      var: { type: "string", multiple: true, default: [] },
      secret: { type: "string", multiple: true, default: [] },
      limit: { type: "string", multiple: true, default: [] },
      trust: { type: "string" },
      "time-scale": { type: "string", default: "1" },
      port: { type: "string", default: "0" },
      "lag-ms": { type: "string", default: "0" },
      sample: { type: "string", default: "1" },
      bare: { type: "boolean", default: false },
    },
  });
  return {
    worker: resolve(root, values.worker),
    config: configFile(values.config),
    places: whole("places", values.places, 1, 16),
    vars: assignments("var", values.var),
    secrets: assignments("secret", values.secret),
    limits: values.limit.map(rateLimit),
    trust: certificates(values.trust),
    timeScale: positive("time-scale", values["time-scale"]),
    port: whole("port", values.port, 0, 65535),
    lagMs: whole("lag-ms", values["lag-ms"], 0, Number.MAX_SAFE_INTEGER),
    sample: whole("sample", values.sample, 1, 1_000_000),
    bare: values.bare,
  };
}

// Before wrangler.toml is written the defaults do; a file that was asked for must be there.
function configFile(asked: string | undefined): string {
  const file = resolve(root, asked ?? "wrangler.toml");
  if (asked !== undefined && !existsSync(file)) throw new Error(`--config ${asked}: no such file`);
  return file;
}

function certificates(file: string | undefined): string[] {
  if (file === undefined) return [];
  const path = resolve(root, file);
  if (!existsSync(path)) throw new Error(`--trust ${file}: no such file`);
  const found = readFileSync(path, "utf8").match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (found === null) throw new Error(`--trust ${file}: no certificate in PEM`);
  return found.map((pem) => pem + "\n");
}

function whole(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new Error(`--${flag} ${text}: expected a whole number from ${least} to ${most}`);
  }
  return value;
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new Error(`--${flag} ${text}: expected a number above 0`);
  return value;
}

function rateLimit(text: string): Limit {
  const [, name, limit, period] = /^([A-Za-z_]\w*):(\d+):(10|60)$/.exec(text) ?? [];
  if (name === undefined) throw new Error(`--limit ${text}: expected NAME:LIMIT:PERIOD, with a period of 10 or 60`);
  return { name, limit: whole("limit", limit!, 1, 1_000_000), period: Number(period) };
}

function assignments(flag: string, texts: string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const equals = text.indexOf("=");
      if (equals < 1) throw new Error(`--${flag} ${text}: expected NAME=VALUE`);
      return [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}
