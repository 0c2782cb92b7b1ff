// Webhooks reach the client whatever fails beside it.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Webhook } from "standardwebhooks";
import { relay } from "../../worker/shell/relay.ts";
import { seal } from "../../worker/shell/seal.ts";

const env = {
  PERCH_LOG: "0",
  PERCH_SEAL_KEY: "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA",
  REPLICATE_WEBHOOK_SECRET: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
};
const context = { p: "webhook", s: "model:acme/flux", v: "canary", w: "percentage" };
const hook = "https://client.example/hook?token=secret";
const logged = [];
console.log = (line) => logged.push(line);

let asked; // what the client's receiver got
let answer; // what it does
globalThis.fetch = async (url, init) => {
  asked.push({ url, ...init });
  return answer(init);
};
beforeEach(() => {
  logged.length = 0;
  asked = [];
  answer = () => new Response("nobody's business", { status: 202, headers: { "set-cookie": "a=b" } });
});

/** A core that reads a prediction as JSON does. */
const reading = (change = (facts) => facts) => ({
  answer() {
    const chunks = [];
    return {
      push: (chunk) => void chunks.push(chunk),
      close: () => [],
      facts: () => change({ webhook: "", ...JSON.parse(Buffer.concat(chunks).toString()) }),
    };
  },
  ended: ({ status }) => (["succeeded", "failed"].includes(status) ? status : ""),
  resolveService() {
    throw new Error("points are not written here");
  },
});

/** Relays a prediction signed by Replicate. */
async function deliver({ core = reading(), h = hook, f, status = "succeeded", headers = {} }) {
  const sealed = await seal(env, { ...context, h, f });
  const body = JSON.stringify({ id: "p1", status, webhook: `https://perch.example/_perch/webhook/${sealed}` });
  const at = new Date();
  const request = new Request("https://perch.example/", {
    method: "POST",
    body,
    headers: {
      "webhook-id": "msg_1",
      "webhook-timestamp": String(Math.floor(at / 1000)),
      "webhook-signature": new Webhook(env.REPLICATE_WEBHOOK_SECRET).sign("msg_1", at, body),
      "content-type": "application/json",
      ...headers,
    },
  });
  const later = [];
  const ctx = { waitUntil: (promise) => later.push(promise) };
  const p = { core, env, ctx, request, route: { seal: sealed }, trace: { id: "t1" } };
  const response = await relay(p);
  await Promise.all(later);
  assert.equal(p.asked, true, "it must never be passed to Replicate");
  return { status: response.status, headers: [...response.headers.keys()], text: await response.text(), body };
}

test("a webhook goes on as it came, without other headers, and only the status comes back", async () => {
  const headers = { "user-agent": "Replicate", cookie: "a=b", authorization: "Bearer x", "x-other": "1" };
  const { body, ...got } = await deliver({ headers });
  assert.deepEqual(got, { status: 202, headers: [], text: "" });
  assert.equal(asked.length, 1);
  assert.equal(asked[0].url, hook);
  assert.equal(asked[0].method, "POST");
  assert.equal(asked[0].redirect, "manual");
  assert.equal(Buffer.from(asked[0].body).toString(), body);
  const names = ["content-type", "user-agent", "webhook-id", "webhook-signature", "webhook-timestamp"];
  assert.deepEqual([...asked[0].headers.keys()], names);
});

for (const [name, core] of Object.entries({
  "the core traps": {
    answer() {
      throw new Error("trap");
    },
  },
  "the core traps while it reads": reading(() => {
    throw new Error("trap");
  }),
  "the end cannot be recorded": reading(),
})) {
  test(`a webhook is delivered even if ${name}, and that is logged`, async () => {
    const { status } = await deliver({ core });
    assert.equal(status, 202);
    assert.equal(asked.length, 1);
    assert.equal(logged.length, 1);
    assert.ok(!logged[0].includes("token=secret"));
  });
}

for (const [name, f, status, delivered] of [
  ["an end that nobody asked for", ["output"], "failed", false],
  ["an end that was asked for", ["completed"], "failed", true],
  ["another event, which Replicate sends only if asked for", ["output"], "processing", true],
  ["anything where all was asked for", undefined, "succeeded", true],
]) {
  test(`${delivered ? "delivered" : "not delivered"}: ${name}`, async () => {
    const got = await deliver({ f, status });
    assert.equal(got.status, delivered ? 202 : 204);
    assert.equal(asked.length, delivered ? 1 : 0);
  });
}

test("without a webhook of the client's nothing is delivered", async () => {
  assert.equal((await deliver({ h: "" })).status, 204);
  assert.equal(asked.length, 0);
});

test("a receiver that cannot be reached is 502, so that Replicate tries again", async () => {
  answer = () => Promise.reject(new Error("Network connection lost."));
  const { status, text } = await deliver({});
  assert.equal(status, 502);
  assert.ok(!text.includes("client.example"));
});

test("a receiver that does not answer in 20 s is 504", async (t) => {
  let waited;
  t.mock.method(AbortSignal, "timeout", (ms) => {
    waited = ms;
    return AbortSignal.abort(new DOMException("late", "TimeoutError"));
  });
  answer = ({ signal }) => Promise.reject(signal.reason);
  assert.equal((await deliver({})).status, 504);
  assert.equal(waited, 20_000);
});
