// Addresses of plain URLs are told without the runtime's URL: they must be what it would tell.
import assert from "node:assert/strict";
import { test } from "node:test";
import { parsed } from "../../worker/shell/links.ts";

const parts = ["href", "origin", "protocol", "hostname", "port", "pathname", "search", "hash"];

for (const text of [
  "https://api.replicate.com/v1/predictions/gm3q/cancel",
  "http://a-b.example/",
  "https://a.example//x",
  "https://A.example/x",
  "https://a.example/x/../y",
  "https://a.example/x?y#z",
  "https://a.example:443/x",
  "https://a.example",
  "https://1.2.3.4/x",
  "https://a.0x7f/x",
  "https://xn--nxasmq6b.example/x",
  "https://a.example./x",
  "https://a..example/x",
  "https://-a.example/_-x",
  "https://localhost/x",
  "ftp://a.example/x",
  "a.example/x",
]) {
  test(text, () => {
    const url = URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) ? new URL(text) : undefined;
    const address = parsed(text);
    assert.deepEqual(address && parts.map((part) => address[part]), url && parts.map((part) => url[part]));
  });
}

test("credentials make an address none", () => assert.equal(parsed("https://a:b@c.example/"), undefined));
