import assert from "node:assert/strict";
import { createServer, get } from "node:http";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { listen, sendJson } from "./http.ts";
import { startStack, type Running } from "./running.ts";

// The tests compare answers whole; their types would say it twice.
type Json = any;

let stack: Running;
let accountUrl: string;

before(async () => {
  const greeting = `GREETING=he said "hé"`;
  const limit = "LIMITER:2:60";
  stack = await startStack(["--places=2", "--var", greeting, "--secret=KEY=x", "--limit", limit, "--time-scale=60"]);
  accountUrl = `${stack.ready.api}/accounts/${stack.ready.account}`;
});

after(() => stack.stop());

async function api(path: string, init: RequestInit = {}, token = stack.ready.token) {
  const response = await fetch(`${accountUrl}${path}`, {
    ...init,
    headers: { authorization: `Bearer ${token}`, ...init.headers },
  });
  const text = await response.text();
  const json = response.headers.get("content-type") === "application/json" ? JSON.parse(text) : undefined;
  return { status: response.status, headers: response.headers, text, json };
}

async function control(method: string, path: string, body?: unknown) {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const response = await fetch(`${stack.ready.control}${path}`, init);
  return { status: response.status, json: (await response.json()) as Json };
}

async function worker(place: number, action: string, query: [string, string][] = []) {
  const response = await fetch(`${stack.ready.places[place]!.url}/${action}?${new URLSearchParams(query)}`);
  return { status: response.status, json: (await response.json()) as Json };
}

/** Repeats until the check holds; what is posted in the background arrives a little later. */
async function eventually<T>(attempt: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (const deadline = Date.now() + 5_000; ; await sleep(20)) {
    const value = await attempt();
    if (holds(value) || Date.now() > deadline) return value;
  }
}

const values = "/storage/kv/namespaces/local-namespace/values";

test("a bulk write takes what is not written too soon, names the rest, and is one call", async () => {
  const bulk = "/storage/kv/namespaces/local-namespace/bulk";
  const put = (pairs: unknown) => api(bulk, { method: "PUT", body: JSON.stringify(pairs) });
  const before = ((await control("GET", "/calls")).json as Record<string, number>)["PUT kv/bulk"] ?? 0;
  const pair = (key: string, value: unknown) => ({ key, value });
  const { json } = await put([pair("bulk:a", "1"), pair("bulk:b", "é"), pair("bulk:a", "2")]);
  assert.deepEqual(json.result, { successful_key_count: 2, unsuccessful_keys: ["bulk:a"] });
  assert.equal((await api(`${values}/bulk:b`)).text, "é");
  assert.equal((await put([pair("bulk:c", "1"), pair("bulk:d", 2)])).status, 400);
  assert.equal((await api(`${values}/bulk:c`)).status, 404, "nothing of a call that is refused is written");
  assert.equal((await put(Array.from({ length: 10_001 }, (_, i) => pair(`k${i}`, "")))).status, 400);
  assert.equal(((await control("GET", "/calls")).json as Record<string, number>)["PUT kv/bulk"], before + 3);
});

test("the worker has its bindings, and a place and client of its own", async () => {
  const { json } = await worker(1, "where");
  assert.deepEqual(json, {
    colo: "LOC2",
    country: "SG",
    ip: "127.0.0.1",
    bindings: ["ANALYTICS", "GREETING", "KEY", "LIMITER", "LIMITS", "ROLLOUTS"],
    text: 'he said "hé"',
  });
});

test("a rate limit counts each key in each place, and begins again after its period", async () => {
  const ask = async (place: number, key: string) => (await worker(place, "limit", [["key", key]])).json.success;
  assert.deepEqual([await ask(0, "a"), await ask(0, "a"), await ask(0, "a")], [true, true, false]);
  assert.deepEqual([await ask(0, "b"), await ask(1, "a")], [true, true]);
  assert.ok(await eventually(() => ask(0, "a"), Boolean));
});

// Other systems than Linux have 127.0.0.1 only of the loopback network.
const oneAddress = process.platform !== "linux" && "needs a second loopback address";

test("a client of another loopback address is told apart", { skip: oneAddress }, async () => {
  const address = await new Promise((resolve, reject) => {
    get(`${stack.ready.places[0]!.url}/where`, { localAddress: "127.0.0.9" }, async (response) => {
      let text = "";
      for await (const chunk of response) text += chunk;
      resolve(JSON.parse(text).ip);
    }).on("error", reject);
  });
  assert.equal(address, "127.0.0.9");
});

test("the worker reaches a server on the loopback address", async () => {
  const server = createServer((_, response) => sendJson(response, 200, { upstream: true }));
  const port = await listen(server, 0);
  const { json } = await worker(0, "fetch", [["url", `http://127.0.0.1:${port}/`]]);
  assert.deepEqual(json, { upstream: true });
  server.close();
});

test("a value written through the API reaches each place when its own cache lets it", async () => {
  const read = async (place: number) =>
    (
      await worker(place, "kv", [
        ["key", "doc"],
        ["key", "halt"],
      ])
    ).json;
  assert.deepEqual(await read(0), { doc: null, halt: null });
  assert.equal((await api(`${values}/doc`, { method: "PUT", body: "v1" })).status, 200);
  assert.deepEqual(await read(0), { doc: null, halt: null });
  assert.deepEqual(await read(1), { doc: "v1", halt: null });
  // 30 s of cacheTtl are half a second at 60 production seconds a second.
  const later = await eventually(
    () => read(0),
    ({ doc }) => doc === "v1",
  );
  assert.deepEqual(later, { doc: "v1", halt: null });
});

test("the worker's reads keep to the limits of KV", async () => {
  assert.match(
    (
      await worker(0, "kv", [
        ["key", "a"],
        ["cacheTtl", "29"],
      ])
    ).json.error,
    /KV GET failed: 400 .*at least 30/,
  );
  const keys = Array.from({ length: 101 }, (_, i): [string, string] => ["key", `k${i}`]);
  assert.match((await worker(0, "kv", keys)).json.error, /maximum of 100 keys/);
});

test("the worker can write and list with metadata", async () => {
  const { json } = await worker(0, "kvPut", [
    ["key", "own:1"],
    ["value", "v"],
  ]);
  assert.deepEqual(json, { value: "v", metadata: { by: "worker" }, cacheStatus: null });
  const list = await worker(0, "kvList", [["prefix", "own:"]]);
  assert.deepEqual(list.json.keys, [{ name: "own:1", metadata: { by: "worker" } }]);
});

test("reads of the worker fail and hang on demand", async () => {
  await control("PUT", "/kv", { reads: "error" });
  assert.match((await worker(0, "kv", [["key", "a"]])).json.error, /KV GET failed: 500/);
  await control("PUT", "/kv", { reads: "hang" });
  const url = `${stack.ready.places[0]!.url}/kv?key=a`;
  await assert.rejects(fetch(url, { signal: AbortSignal.timeout(300) }), { name: "TimeoutError" });
  await control("PUT", "/kv", { reads: "ok" });
  assert.equal((await worker(0, "kv", [["key", "a"]])).status, 200);
  assert.equal((await control("PUT", "/kv", { reads: "perhaps" })).status, 400);
});

test("writes of the API fail and hang on demand, without effect", async () => {
  const put = (init: RequestInit = {}) => api(`${values}/faulty`, { method: "PUT", body: "v", ...init });
  await control("PUT", "/kv", { writes: "error" });
  assert.equal((await put()).status, 500);
  await control("PUT", "/kv", { writes: "hang" });
  await assert.rejects(put({ signal: AbortSignal.timeout(300) }), { name: "TimeoutError" });
  await control("PUT", "/kv", { writes: "ok" });
  assert.equal((await control("GET", "/kv/values")).json.faulty, undefined);
  assert.equal((await put()).status, 200);
  assert.equal((await control("GET", "/kv/values")).json.faulty, "v");
});

test("health names the places", async () => {
  const { status, json } = await control("GET", "/health");
  assert.equal(status, 200);
  assert.deepEqual(json.places[1], { name: "LOC2", ...stack.ready.places[1] });
  assert.equal((await control("GET", "/nothing")).status, 404);
});

test("the Cache API keeps an answer for its max-age, by place", async () => {
  assert.equal((await worker(0, "cacheMatch")).json, null);
  await worker(0, "cachePut", [["control", "max-age=30"]]);
  assert.deepEqual(Object.keys((await worker(0, "cacheMatch")).json), ["body", "mark", "age"]);
  assert.equal((await worker(1, "cacheMatch")).json, null);
  assert.equal(
    await eventually(
      async () => (await worker(0, "cacheMatch")).json,
      (hit) => hit === null,
    ),
    null,
  );
  await worker(0, "cachePut", [["control", "max-age=3000"]]);
  assert.equal((await worker(0, "cacheMatch")).json.body, "cached body");
  assert.equal((await worker(0, "cacheDelete")).json, true);
  assert.equal((await worker(0, "cacheMatch")).json, null);
  await worker(0, "cachePut", [["control", "no-store"]]);
  assert.equal((await worker(0, "cacheMatch")).json, null);
});

const write = (count: number, point: unknown): [string, string][] => [["write", JSON.stringify({ count, point })]];

test("points of the worker are answered by SQL", async () => {
  await worker(0, "points", write(3, { blobs: ["a", ""], doubles: [1.5, 2], indexes: ["arm"] }));
  const sql = "SELECT index1 AS i, blob1 AS b, count() AS n, sum(double1) AS s FROM perch_requests GROUP BY i, b";
  const query = () => api("/analytics_engine/sql", { method: "POST", body: sql });
  const { json } = await eventually(query, (answer) => answer.json?.data[0].n === "3");
  assert.deepEqual(json.data, [{ i: "arm", b: "a", n: "3", s: 4.5 }]);
  assert.deepEqual(json.meta[2], { name: "n", type: "UInt64" });
  assert.deepEqual(await control("POST", "/analytics/flush"), { status: 200, json: { points: 3 } });
});

const excesses: { name: string; count: number; point: unknown; reason: RegExp }[] = [
  {
    name: "251 points in a request",
    count: 251,
    point: { blobs: ["many"] },
    reason: /more than 250 points in one request/,
  },
  { name: "21 blobs", count: 1, point: { blobs: Array(21).fill("x") }, reason: /21 blobs, at most 20/ },
  { name: "21 doubles", count: 1, point: { doubles: Array(21).fill(1) }, reason: /21 doubles, at most 20/ },
  { name: "two indexes", count: 1, point: { indexes: ["a", "b"] }, reason: /2 indexes, at most 1/ },
  {
    name: "an index of 97 bytes",
    count: 1,
    point: { indexes: ["é".repeat(48) + "x"] },
    reason: /index of 97 bytes, at most 96/,
  },
  {
    name: "blobs of 17 KB",
    count: 1,
    point: { blobs: ["x".repeat(17 * 1024)] },
    reason: /blobs of 17408 bytes together, at most 16384/,
  },
];

for (const { name, count, point, reason } of excesses) {
  test(`refuses ${name}: the next flush fails with the reason, once`, async () => {
    assert.equal((await worker(0, "points", write(count, point))).status, 200);
    const failed = await eventually(
      () => control("POST", "/analytics/flush"),
      ({ status }) => status === 500,
    );
    assert.match(failed.json.error, reason);
    assert.match(stack.log(), reason);
    assert.equal((await control("POST", "/analytics/flush")).status, 200);
  });
}

test("the SQL endpoint answers refusals as plain text and can be down", async () => {
  const unknown = await api("/analytics_engine/sql", { method: "POST", body: "SELECT nope(1)" });
  assert.deepEqual([unknown.status, unknown.text], [422, "unknown function: nope"]);
  await control("PUT", "/analytics", { down: true });
  assert.equal((await api("/analytics_engine/sql", { method: "POST", body: "SELECT 1" })).status, 503);
  await control("PUT", "/analytics", { down: false });
  assert.equal((await api("/analytics_engine/sql", { method: "POST", body: "SELECT 1" })).status, 200);
});

const envelopes: { name: string; path: string; init?: RequestInit; token?: string; status: number; code: number }[] = [
  { name: "no such key", path: `${values}/none`, status: 404, code: 10009 },
  {
    name: "no such key's metadata",
    path: "/storage/kv/namespaces/local-namespace/metadata/none",
    status: 404,
    code: 10009,
  },
  { name: "no such namespace", path: "/storage/kv/namespaces/none/keys", status: 404, code: 10013 },
  {
    name: "a title that is taken",
    path: "/storage/kv/namespaces",
    init: { method: "POST", body: '{"title":"perch-rollouts"}' },
    status: 400,
    code: 10014,
  },
  { name: "a limit below 10", path: "/storage/kv/namespaces/local-namespace/keys?limit=9", status: 400, code: 10021 },
  { name: "an unknown token", path: `${values}/none`, token: "stranger", status: 401, code: 10000 },
  { name: "a token without KV", path: `${values}/none`, token: "local-token-analytics", status: 403, code: 10000 },
  {
    name: "a token without analytics",
    path: "/analytics_engine/sql",
    init: { method: "POST", body: "SELECT 1" },
    token: "local-token-kv",
    status: 403,
    code: 10000,
  },
  { name: "no such worker", path: "/workers/scripts/other/settings", status: 404, code: 10007 },
  { name: "an unknown path", path: "/zones", status: 404, code: 7003 },
];

for (const { name, path, init, token, status, code } of envelopes) {
  test(`the API's envelope for ${name}`, async () => {
    const answer = await api(path, init, token);
    assert.equal(answer.status, status);
    assert.equal(answer.json.success, false);
    assert.equal(answer.json.errors[0].code, code);
    assert.equal(answer.json.result, null);
  });
}

test("a second write to a key within a second is 429 with Retry-After", async () => {
  const put = () => api(`${values}/often`, { method: "PUT", body: "v" });
  const answers = await Promise.all([put(), put()]);
  const refused = answers.find(({ status }) => status === 429);
  assert.ok(refused, `got ${answers.map(({ status }) => status).join(" and ")}`);
  assert.equal(refused.headers.get("retry-after"), "1");
});

test("namespaces are created and listed, each with keys of its own", async () => {
  const created = await api("/storage/kv/namespaces", { method: "POST", body: '{"title":"other"}' });
  assert.match(created.json.result.id, /^[0-9a-f]{32}$/);
  const list = await api("/storage/kv/namespaces");
  assert.deepEqual(
    list.json.result.map(({ title }: { title: string }) => title),
    ["perch-rollouts", "other"],
  );
  assert.equal(list.json.result_info.total_count, 2);
  await api(`/storage/kv/namespaces/${created.json.result.id}/values/apart`, { method: "PUT", body: "v" });
  assert.equal((await api(`${values}/apart`)).status, 404);
});

test("multipart bodies carry value and metadata", async () => {
  const form = new FormData();
  form.set("value", "from a form");
  form.set("metadata", '{"n":1}');
  assert.equal((await api(`${values}/form`, { method: "PUT", body: form })).status, 200);
  assert.equal((await api(`${values}/form`)).text, "from a form");
  assert.deepEqual((await api("/storage/kv/namespaces/local-namespace/metadata/form")).json.result, { n: 1 });
});

test("doctor finds the worker's bindings and secrets and the token's state", async () => {
  const { json } = await api("/workers/scripts/perch/settings");
  const bindings = new Map(json.result.bindings.map((binding: { name: string }) => [binding.name, binding]));
  assert.deepEqual(bindings.get("ROLLOUTS"), {
    name: "ROLLOUTS",
    type: "kv_namespace",
    namespace_id: "local-namespace",
  });
  assert.deepEqual(bindings.get("ANALYTICS"), {
    name: "ANALYTICS",
    type: "analytics_engine",
    dataset: "perch_requests",
  });
  assert.deepEqual(bindings.get("GREETING"), { name: "GREETING", type: "plain_text", text: 'he said "hé"' });
  assert.deepEqual(bindings.get("LIMITS"), { name: "LIMITS", type: "json", json: { retries: 3 } });
  assert.equal((bindings.get("LIMITER") as { type: string }).type, "ratelimit");
  assert.equal(json.result.compatibility_date, "2026-01-15");
  const secrets = await api("/workers/scripts/perch/secrets");
  assert.deepEqual(secrets.json.result, [{ name: "KEY", type: "secret_text" }]);
  const put = (secret: object) =>
    api("/workers/scripts/perch/secrets", { method: "PUT", body: JSON.stringify(secret) });
  const set = await put({ name: "ANOTHER", text: "hidden", type: "secret_text" });
  assert.deepEqual(set.json.result, { name: "ANOTHER", type: "secret_text" });
  assert.equal((await put({ name: "GREETING", text: "hidden", type: "secret_text" })).json.errors[0].code, 10053);
  assert.equal((await put({ name: "ANOTHER", type: "secret_text" })).status, 400);
  const both = await api("/workers/scripts/perch/secrets");
  assert.deepEqual(
    both.json.result.map(({ name }: { name: string }) => name),
    ["KEY", "ANOTHER"],
  );
  const verify = (token: string) =>
    fetch(`${stack.ready.api}/user/tokens/verify`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await verify("local-token-kv")).status, 200);
  assert.equal((await verify("stranger")).status, 401);
});
