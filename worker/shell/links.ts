// URLs of upstreams, as they stand in answers and as clients get them.

import type { Loaded, Target } from "./core.ts";

const api = "https://api.replicate.com";
const replicateHost = /(^|\.)replicate\.(com|net)$/;

/** What matters of a URL. */
export type Address = Pick<URL, "href" | "origin" | "protocol" | "hostname" | "port" | "pathname" | "search" | "hash">;

/** URLs whose parts are plain to see. The runtime's own objects cost more than all else that is done with them. */
const plain = /^(https?:)\/\/([a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]+)(\/[\w/-]*)$/;

/** An http URL without credentials, resolved against from; undefined if the text is none. */
export function parsed(text: string, from?: string): Address | undefined {
  const [href, protocol = "", hostname = "", pathname = ""] = plain.exec(text) ?? [];
  if (href !== undefined && !href.includes("xn--")) {
    return { href, protocol, hostname, pathname, origin: `${protocol}//${hostname}`, port: "", search: "", hash: "" };
  }
  if (!URL.canParse(text, from)) return undefined;
  const url = new URL(text, from);
  const anonymous = url.username === "" && url.password === "";
  return anonymous && (url.protocol === "https:" || url.protocol === "http:") ? url : undefined;
}

/** Of a URL of Replicate's API, what stands behind /v1; undefined for any other. */
export function apiRest(url: Address, base: string): string | undefined {
  const { origin, pathname } = baseOf(base);
  const prefixes = url.origin === origin ? [pathname.replace(/\/$/, ""), "/v1"] : url.origin === api ? ["/v1"] : [];
  const prefix = prefixes.find((start) => url.pathname.startsWith(start + "/"));
  return prefix === undefined ? undefined : url.pathname.slice(prefix.length) + url.search + url.hash;
}

let known: { base: string; url?: URL } = { base: "" };

/** The base URL, which is nearly always the same. */
function baseOf(base: string): URL {
  if (known.url === undefined || known.base !== base) known = { base, url: new URL(base) };
  return known.url as URL;
}

/** Whether a URL is on one of Replicate's hosts, or on the gateway's before it. */
export function isReplicate(url: Address, base: string): boolean {
  if (url.origin === baseOf(base).origin) return true;
  return url.protocol === "https:" && url.port === "" && replicateHost.test(url.hostname);
}

export const isSameOrigin = (url: Address, other: string) => parsed(other)?.origin === url.origin;

/** The service's target on the URL's host, the named variant first. */
export function targetAt(url: Address, loaded: Loaded | undefined, variant = ""): Target | undefined {
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
