// URLs of upstreams, as they stand in answers and as clients get them.

import type { Loaded, Target } from "./core.ts";

const api = "https://api.replicate.com";
const replicateHost = /(^|\.)replicate\.(com|net)$/;

/** An http URL without credentials, resolved against from; undefined if the text is none. */
export function parsed(text: string, from?: string): URL | undefined {
  if (!URL.canParse(text, from)) return undefined;
  const url = new URL(text, from);
  const plain = url.username === "" && url.password === "";
  return plain && (url.protocol === "https:" || url.protocol === "http:") ? url : undefined;
}

/** Of a URL of Replicate's API, what stands behind /v1; undefined for any other. */
export function apiRest(url: URL, base: string): string | undefined {
  const { origin, pathname } = new URL(base);
  const prefixes = url.origin === origin ? [pathname.replace(/\/$/, ""), "/v1"] : url.origin === api ? ["/v1"] : [];
  const prefix = prefixes.find((start) => url.pathname.startsWith(start + "/"));
  return prefix === undefined ? undefined : url.pathname.slice(prefix.length) + url.search + url.hash;
}

/** Whether a URL is on one of Replicate's hosts, or on the gateway's before it. */
export function isReplicate(url: URL, base: string): boolean {
  if (url.origin === new URL(base).origin) return true;
  return url.protocol === "https:" && url.port === "" && replicateHost.test(url.hostname);
}

export const isSameOrigin = (url: URL, other: string) => parsed(other)?.origin === url.origin;

/** The service's target on the URL's host, the named variant first. */
export function targetAt(url: URL, loaded: Loaded | undefined, variant = ""): Target | undefined {
  const there = loaded?.plan.targets.filter((target) => isSameOrigin(url, target.url)) ?? [];
  return there.find(({ name }) => name === variant) ?? there[0];
}

/** A query without the seal that came in it. */
export function withoutSeal(search: string): string {
  if (!search.includes("perch")) return search;
  const kept = search
    .slice(1)
    .split("&")
    .filter((pair) => pair !== "perch" && !pair.startsWith("perch="));
  return kept.length === 0 ? "" : `?${kept.join("&")}`;
}
