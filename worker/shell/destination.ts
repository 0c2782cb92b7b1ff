// Where a client's webhook may lead.

import ipaddr from "ipaddr.js";

const localName = /(^|\.)(localhost|localdomain|local|internal|home\.arpa)$/;

/** Whether a URL's host is one that only this machine or network knows. */
export function isPrivate(url: URL): boolean {
  const host = url.hostname.replace(/^\[|\]$|\.$/g, "");
  if (ipaddr.isValid(host)) return ipaddr.parse(host).range() !== "unicast";
  return !host.includes(".") || localName.test(host);
}

/** Why a webhook must not lead to the URL, in a sentence; "" if it may. own is a URL of the worker. */
export function refusalOf(url: URL, own: URL, privateToo: boolean): string {
  if (url.username !== "" || url.password !== "") return "The webhook's URL holds credentials";
  if (url.host.replace(/\.$/, "") === own.host) return "The webhook leads back to Perch";
  if (!privateToo && isPrivate(url)) return "The webhook leads to a private address, which is not delivered to";
  return "";
}
