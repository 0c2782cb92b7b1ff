import type { IncomingMessage, ServerResponse } from "node:http";
import type { Analytics } from "./analytics.ts";
import type { Calls } from "./api.ts";
import { readBody, sendJson } from "./http.ts";
import type { Mode, Namespace, Store, Trip } from "./kv.ts";
import type { Place } from "./workerd.ts";

/** Answers /_stack/…: what tests ask of the stack itself. */
export class Control {
  private readonly analytics: Analytics;
  private readonly store: Store;
  private readonly namespace: Namespace;
  private readonly places: Place[];
  private readonly calls: Calls;

  constructor(analytics: Analytics, store: Store, namespace: Namespace, places: Place[], calls: Calls) {
    this.analytics = analytics;
    this.store = store;
    this.namespace = namespace;
    this.places = places;
    this.calls = calls;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request);
    try {
      const answer = await this.answer(`${request.method} ${request.url}`, body);
      if (answer === undefined) return sendJson(response, 404, { error: `unknown: ${request.method} ${request.url}` });
      const [status, value] = answer;
      sendJson(response, status, value);
    } catch (error) {
      sendJson(response, 400, { error: error instanceof Error ? error.message : String(error) });
    }
  }

  private async answer(operation: string, body: Buffer): Promise<[number, unknown] | undefined> {
    switch (operation) {
      case "GET /_stack/health":
        return [200, { ok: true, places: this.places.map(({ name, url, pid }) => ({ name, url, pid })) }];
      case "GET /_stack/analytics":
        return [200, this.analyticsState()];
      case "PUT /_stack/analytics":
        this.setAnalytics(object(body));
        return [200, this.analyticsState()];
      case "POST /_stack/analytics/flush":
        return this.flush();
      case "PUT /_stack/kv":
        this.setKv(object(body));
        return [200, this.store.faults];
      case "GET /_stack/kv/values":
        return [200, this.values()];
      case "GET /_stack/calls":
        return [200, this.calls.counts];
    }
    return undefined;
  }

  private analyticsState() {
    const { settings, points, refused } = this.analytics;
    return { ...settings, points, refused: refused.count };
  }

  private setAnalytics(update: Record<string, unknown>): void {
    const { settings } = this.analytics;
    for (const [name, value] of Object.entries(update)) {
      if (name === "down" && typeof value === "boolean") settings.down = value;
      else if (name === "lag_ms" && isWhole(value, 0)) settings.lag_ms = value;
      else if (name === "sample" && isWhole(value, 1)) settings.sample = value;
      else throw new Error(`set analytics ${name}: ${JSON.stringify(value)} is not allowed`);
    }
  }

  private async flush(): Promise<[number, unknown]> {
    await this.analytics.flush();
    const { points, refused } = this.analytics;
    if (!refused.reasons.length) return [200, { points }];
    const reasons = refused.reasons.splice(0);
    return [500, { points, error: `${reasons.length} analytics points refused: ${[...new Set(reasons)].join("; ")}` }];
  }

  private setKv(update: Record<string, unknown>): void {
    const { faults } = this.store;
    for (const [name, value] of Object.entries(update)) {
      if ((name === "reads" || name === "writes" || name === "api") && isMode(value)) faults[name] = value;
      else if (name === "trip" && (value === null || isTrip(value))) faults.trip = value === null ? null : { ...value };
      else throw new Error(`set kv ${name}: ${JSON.stringify(value)} is not allowed`);
    }
  }

  private values(): Record<string, string> {
    const { keys } = this.namespace.list("", Infinity, "");
    return Object.fromEntries(keys.map((key) => [key, this.namespace.get(key)!.value.toString()]));
  }
}

function object(body: Buffer): Record<string, unknown> {
  const value: unknown = JSON.parse(body.toString());
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("expected a JSON object");
  return value as Record<string, unknown>;
}

function isWhole(value: unknown, least: number): value is number {
  return Number.isInteger(value) && (value as number) >= least;
}

function isMode(value: unknown): value is Mode {
  return value === "ok" || value === "error" || value === "hang";
}

function isTrip(value: unknown): value is Trip {
  const { write, persist, then } = (value ?? {}) as Partial<Trip>;
  return isWhole(write, 1) && typeof persist === "boolean" && (then === "error" || then === "hang");
}
