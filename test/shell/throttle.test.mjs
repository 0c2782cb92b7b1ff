// The wait of a 429 stands where clients look for it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { waitOf, withWait } from "../../worker/shell/throttle.ts";

for (const [name, headers, body, want] of [
  ["already there", { "retry-after": "5", "ratelimit-reset": "9" }, "", undefined],
  ["of the rate limit", { "ratelimit-reset": "9" }, "", 9],
  ["of the body", {}, '{"retry_after": 12, "status": 429}', 12],
  ["of the text", {}, '{"detail":"Request was throttled. Your rate limit resets in ~30s."}', 30],
  ["of the text, not whole", {}, "Your rate limit resets in ~0.4s.", 1],
  ["nowhere", {}, '{"detail":"Request was throttled."}', undefined],
  ["no number", { "ratelimit-reset": "soon" }, "", undefined],
  ["null", {}, "null", undefined],
]) {
  test(`the wait: ${name}`, () => assert.equal(waitOf(new Headers(headers), body), want));
}

test("only a 429 gets a wait, and its body stays", async () => {
  const body = '{"retry_after":3}';
  const headers = { "content-length": String(body.length) };
  const throttled = await withWait(new Response(body, { status: 429, headers }));
  assert.equal(throttled.headers.get("retry-after"), "3");
  assert.equal(await throttled.text(), body);
  const ok = new Response(body, { status: 503, headers });
  assert.equal(await withWait(ok), ok);
});
