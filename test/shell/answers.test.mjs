// What becomes of the URLs and ids in answers, and of what clients bring back:
// the shell alone, around a core that knows one service.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { readAnswer } from "../../worker/shell/answers.ts";
import { Action, Shape, SlotKind, Trap } from "../../worker/shell/core.ts";
import { Refusal } from "../../worker/shell/refusal.ts";
import { seal, unseal } from "../../worker/shell/seal.ts";
import { bySealedURL, byPrediction } from "../../worker/shell/sealed.ts";
import { nobody } from "../../worker/shell/secrets.ts";

const origin = "https://perch.example";
const key = "AQpJAhF6WXIh6mniMVp5UkHKicJROpkyYaqponEauRI";
const api = "https://api.replicate.com/v1";

let points, sent, answers, plan;
let unreachable = false; // KV
beforeEach(() => {
  [points, sent, answers] = [[], [], []];
  const target = (name, more) => ({
    name,
    index: `model:acme/flux|${name}`,
    path: "/predictions",
    url: "",
    version: `acme/flux:${name}`,
    credentials: false,
    headers: [],
    ...more,
  });
  plan = {
    service: "model:acme/flux",
    rollout: "r1",
    generation: 7,
    access: null,
    targets: [
      target("stable"),
      target("canary"),
      target("person", {
        path: "",
        version: "",
        url: "https://person.example/predictions",
        headers: [["x-key", "secret:PERSON_KEY"]],
      }),
    ],
  };
});
console.log = () => {};
globalThis.fetch = async (to, init) => {
  sent.push({ to, method: init.method, headers: init.headers });
  const next = answers.shift();
  if (next === undefined) throw new Error("nothing answers");
  return next;
};

const kinds = { id: 1, get: 2, cancel: 3, stream: 4, next: 5, previous: 5, webhook: 6 };
const bytes = (text) => new TextEncoder().encode(text);

/** Slots by a pattern that is good enough for the answers here. */
function answerWhole(shape, body) {
  const text = new TextDecoder().decode(body);
  const frames = [];
  let at = 0;
  for (const match of text.matchAll(/"(id|get|cancel|stream|next|previous|webhook)": ?("(?:[^"\\]|\\.)*")/g)) {
    const from = match.index + match[0].length - match[2].length;
    frames.push(bytes(text.slice(at, from)), {
      kind: kinds[match[1]],
      value: JSON.parse(match[2]),
      raw: bytes(match[2]),
    });
    at = from + match[2].length;
  }
  frames.push(bytes(text.slice(at)));
  const { id = "", status = "", version = "", predictMS = 0, totalMS = 0 } = JSON.parse(text);
  const facts = { id, status, version, model: "", deployment: "", hasOutput: false, predictMS, totalMS };
  Object.assign(facts, { createdAtMS: 0, startedAtMS: 0, completedAtMS: 0, webhook: "", error: "" });
  return { frames, facts, listed: [] };
}

const core = {
  answerWhole,
  ended: ({ status }) => (["succeeded", "failed", "canceled", "aborted"].includes(status) ? status : ""),
  resolveService: (name) => (name === plan.service ? { service: name } : undefined),
  resolveVersion: () => undefined,
  classify: (_, failure) => ({ outcome: failure === 0 ? "ok" : "error", errorClass: String(failure) }),
};

function passage(path, { method = "GET", route = {}, env = {}, headers = {}, entry = nobody } = {}) {
  const request = new Request(origin + path, { method, headers });
  const p = {
    core,
    request,
    url: new URL(request.url),
    rollouts: {
      find: async () => ({ loaded: unreachable ? undefined : { plan }, unreachable }),
      alias: async () => ({}),
    },
    route: { shape: Shape.prediction, creates: false, cancel: false, prediction: "", seal: "", ...route },
    body: { send: async () => null, release: () => {} },
    trace: { id: "t".repeat(32), parent: "00-x" },
    env: { PERCH_SEAL_KEY: key, PERSON_KEY: "hunter2", REPLICATE_BASE_URL: api, ...env },
    waits: [],
    entry,
    secrets: [],
  };
  p.env.ANALYTICS = { writeDataPoint: (point) => points.push(point) };
  p.ctx = { waitUntil: (work) => p.waits.push(work) };
  return p;
}

const json = (value, init = {}) =>
  new Response(typeof value === "string" ? value : JSON.stringify(value), {
    status: 201,
    ...init,
    headers: { "content-type": "application/json", ...init.headers },
  });
const told = (name = "canary", more = {}) => {
  const target = plan.targets.find((one) => one.name === name);
  return { loaded: { plan }, target, servedBy: target, reason: "percentage", user: "0123456789abcdef", ...more };
};
const urls = (id, base = api) => ({
  get: `${base}/predictions/${id}`,
  cancel: `${base}/predictions/${id}/cancel`,
  stream: `https://stream.replicate.com/v1/files/${id}`,
  web: `https://replicate.com/p/${id}`,
});

/** A create through the worker; its answer, and the passage. */
async function create(response, { asked = `${api}/predictions`, as = told(), ...options } = {}) {
  const p = passage("/v1/predictions", { method: "POST", ...options, route: { creates: true, ...options.route } });
  const read = await readAnswer(p, response, { asked, shape: p.route.shape });
  const answer = await read.pass(as);
  await Promise.all(p.waits);
  return { p, answer, read };
}

const poll = (url, options) => {
  const [, id, cancel] = /^\/v1\/predictions\/([^/]+)(\/cancel)?$/.exec(url.pathname);
  const route = { action: Action.prediction, prediction: id, cancel: cancel !== undefined };
  return byPrediction(passage(url.pathname + url.search, { method: cancel ? "POST" : "GET", route, ...options }));
};
const at = (url, options) =>
  bySealedURL(
    passage(url.pathname, {
      route: { action: Action.at, seal: url.pathname.slice("/_perch/at/".length), shape: Shape.none },
      ...options,
    }),
  );

const refusal = (status, sentence) => (error) => {
  assert.ok(error instanceof Refusal, String(error));
  assert.equal(error.status, status);
  assert.match(error.message, sentence);
  return true;
};

test("a create's URLs come back through the worker, and carry whose it is", async () => {
  const { answer } = await create(
    json({ id: "made1", input: { id: "mine" }, urls: urls("made1"), status: "starting" }),
  );
  const body = await answer.json();
  assert.equal(body.id, "made1");
  assert.equal(body.urls.web, "https://replicate.com/p/made1");
  const get = new URL(body.urls.get);
  assert.equal(get.origin + get.pathname, `${origin}/v1/predictions/made1`);
  const context = await unseal({ PERCH_SEAL_KEY: key }, get.searchParams.get("perch"), "prediction");
  const { t, x, ...rest } = context;
  assert.ok(x > t && t > 1e9);
  assert.deepEqual(rest, {
    p: "prediction",
    s: "model:acme/flux",
    v: "canary",
    r: "r1",
    w: "percentage",
    u: "0123456789abcdef",
    i: "made1",
    n: "t".repeat(32),
  });
  const cancel = new URL(body.urls.cancel);
  assert.equal(cancel.pathname, "/v1/predictions/made1/cancel");
  assert.equal(cancel.search, get.search);
  const stream = await unseal({ PERCH_SEAL_KEY: key }, body.urls.stream.split("/_perch/at/")[1], "stream");
  assert.deepEqual([stream.l, stream.v, stream.i], ["https://stream.replicate.com/v1/files/made1", "canary", "made1"]);
});

test("without a key polls still come back, and streams stay where they are", async () => {
  const { answer } = await create(json({ id: "made2", urls: urls("made2") }), { env: { PERCH_SEAL_KEY: "" } });
  assert.deepEqual((await answer.json()).urls, { ...urls("made2", `${origin}/v1`), stream: urls("made2").stream });
});

for (const [name, url] of Object.entries({
  "another host": "https://evil.example/v1/predictions/a",
  "a host that begins like Replicate's": "https://api.replicate.com.evil.example/v1/predictions/a",
  "a host that ends like Replicate's": "https://evilreplicate.com/v1/predictions/a",
  "credentials before the host": "https://api.replicate.com@evil.example/v1/predictions/a",
  "credentials for Replicate": "https://user:pass@api.replicate.com/v1/predictions/a",
  "no TLS": "http://api.replicate.com/v1/predictions/a",
  "another port": "https://stream.replicate.com:8443/v1/files/a",
  "another scheme": "ftp://api.replicate.com/v1/predictions/a",
  "no URL": "https://[/v1/predictions/a",
  "a model server of no target's": "https://other.example/predictions/a",
  "a target that did not answer": "https://person.example/predictions/a",
})) {
  test(`what leads elsewhere stays as it was written: ${name}`, async () => {
    const text = `{"id":"a", "urls":{"get":${JSON.stringify(url).replaceAll("/", "\\/")},"stream":"${url}"},"next":"${url}"}`;
    const { answer } = await create(json(text, { headers: { location: url } }));
    assert.equal(await answer.text(), text);
    assert.equal(answer.headers.get("location"), url);
  });
}

test("a gateway's prefix stands for /v1 on the way back too", async () => {
  const env = { REPLICATE_BASE_URL: "https://gateway.example/v1/account/perch/replicate/" };
  for (const base of [api, "https://gateway.example/v1/account/perch/replicate"]) {
    const { answer } = await create(json({ id: "g1", urls: urls("g1", base) }), { env });
    const get = new URL((await answer.json()).urls.get);
    assert.equal(get.pathname, "/v1/predictions/g1");
    answers.push(json({ id: "g1" }, { status: 200 }));
    await poll(get, { env });
    assert.equal(sent.pop().to, "https://gateway.example/v1/account/perch/replicate/predictions/g1");
  }
});

test("pages and Location lead back unsealed", async () => {
  const list = { next: `${api}/predictions?cursor=a%2Bb%3D`, previous: null, results: [] };
  const { answer } = await create(json(list, { status: 200, headers: { location: "/v1/files/x?y=1" } }), {
    as: undefined,
  });
  assert.equal((await answer.json()).next, `${origin}/v1/predictions?cursor=a%2Bb%3D`);
  assert.equal(answer.headers.get("location"), `${origin}/v1/files/x?y=1`);
});

test("what holds nothing of Perch's is not even read", async () => {
  for (const [response, shape] of [
    [json({ urls: urls("x") }), Shape.none],
    [json({ urls: urls("x") }, { headers: { "content-type": "text/plain" } }), Shape.prediction],
    [json({ urls: urls("x") }, { status: 422 }), Shape.prediction],
  ]) {
    const p = passage("/v1/predictions");
    const read = await readAnswer(p, response, { asked: `${api}/predictions`, shape });
    assert.equal(response.bodyUsed, false);
    assert.deepEqual(await (await read.pass()).json(), { urls: urls("x") });
  }
});

test("an answer with nothing in it, or no JSON after all, passes as it came", async () => {
  core.answerWhole = () => {
    throw new Trap("the core failed");
  };
  try {
    for (const text of ["", "{", "\u00e9"]) {
      const { answer, read } = await create(json(text));
      assert.equal(await answer.text(), text);
      assert.deepEqual([read.isWhole, read.ended], [true, ""]);
    }
  } finally {
    core.answerWhole = answerWhole;
  }
});

test("the client sees its own webhook, or none", async () => {
  for (const own of ["https://client.example/hook?a=1&b=é", ""]) {
    const hook = await seal({ PERCH_SEAL_KEY: key }, { p: "webhook", h: own, x: 1 });
    const { answer } = await create(json({ id: "w", webhook: `https://other-name.example/_perch/webhook/${hook}` }));
    assert.equal((await answer.json()).webhook, own || null);
  }
  const forged = "https://perch.example/_perch/webhook/p1.x.y.z";
  const { answer } = await create(json({ id: "w", webhook: forged }));
  assert.equal((await answer.json()).webhook, forged);
});

test("a model server's prediction is polled and cancelled where it is, with the target's secrets", async () => {
  const asked = plan.targets[2].url;
  const own = { id: "m1", status: "starting", urls: { get: `${asked}/m1?k=1`, cancel: `${asked}/m1/cancel` } };
  const { answer } = await create(json(own), { asked, as: told("person") });
  const body = await answer.json();
  assert.match(body.id, /^m1~p1\./);
  const headers = { authorization: "Bearer of-the-client", cookie: "a=b" };
  for (const [url, by, method, to] of [
    [`${origin}/v1/predictions/${body.id}`, poll, "GET", `${asked}/m1?k=1`],
    [`${origin}/v1/predictions/${body.id}/cancel`, poll, "POST", `${asked}/m1/cancel?k=1`],
    [body.urls.get, at, "GET", `${asked}/m1?k=1`],
    [body.urls.cancel, at, "POST", `${asked}/m1/cancel`],
  ]) {
    answers.push(json(own, { status: 200 }));
    const again = await by(new URL(url), { method, headers });
    const { to: where, headers: with_ } = sent.pop();
    assert.equal(where, to);
    assert.equal(with_.get("x-key"), "hunter2");
    assert.equal(with_.get("authorization"), null);
    assert.equal(with_.get("cookie"), null);
    assert.deepEqual(await again.json(), body, "the same prediction looks the same");
    assert.equal(again.headers.get("x-perch-variant"), "person");
  }
  await assert.rejects(at(new URL(body.urls.get), { method: "DELETE" }), refusal(405, /GET and HEAD only/));
  await assert.rejects(at(new URL(body.urls.cancel), { method: "GET" }), refusal(405, /POST only/));
  unreachable = true;
  await assert.rejects(at(new URL(body.urls.get)), refusal(503, /document of model:acme\/flux cannot be read/));
  unreachable = false;
  plan.targets.pop();
  await assert.rejects(at(new URL(body.urls.get)), refusal(404, /no longer a target of model:acme\/flux/));
  assert.equal(sent.length, 0);
});

test("a model server names no other's URLs", async () => {
  const asked = plan.targets[2].url;
  plan.targets.push({ ...plan.targets[2], name: "other", url: "https://other.example/" });
  const own = { id: "m3", urls: { get: "https://other.example/secrets", cancel: "https://person.example:444/m3" } };
  const { answer } = await create(json(own, { headers: { location: "https://other.example/" } }), {
    asked,
    as: told("person"),
  });
  assert.deepEqual((await answer.json()).urls, own.urls);
  assert.equal(answer.headers.get("location"), "https://other.example/");
});

test("a model server that names no URLs is polled below where it was asked", async () => {
  const asked = plan.targets[2].url;
  const { answer } = await create(json({ id: "m 2", status: "starting" }), { asked, as: told("person") });
  const { id } = await answer.json();
  const { l } = await unseal({ PERCH_SEAL_KEY: key }, id.slice("m 2~".length), "prediction");
  assert.equal(l, `${asked}/m%202`);
});

test("a redirect on a model server's own host leads through Perch", async () => {
  const asked = "https://person.example/chat";
  for (const [status, location, method] of [
    [302, "/elsewhere?a=1", ""],
    [307, "/elsewhere?a=1", "PUT"],
  ]) {
    const p = passage("/person/chat", { method: "PUT", route: { shape: Shape.none } });
    const read = await readAnswer(p, new Response(null, { status, headers: { location } }), {
      asked,
      shape: Shape.none,
    });
    const answer = await read.pass(told("person"));
    const context = await unseal(p.env, answer.headers.get("location").split("/_perch/at/")[1], "at");
    assert.deepEqual([context.l, context.m ?? ""], ["https://person.example/elsewhere?a=1", method]);
    answers.push(json({ id: "no prediction" }, { status: 200 }));
    const there = await at(new URL(answer.headers.get("location")), { method: method || "GET" });
    assert.deepEqual(await there.json(), { id: "no prediction" }, "it is none of Perch's");
  }
});

test("a poll's seal is not passed on, and what else it asks for is", async () => {
  const { answer } = await create(json({ id: "q1", urls: urls("q1") }));
  const get = new URL((await answer.json()).urls.get);
  answers.push(json({ id: "q1", urls: urls("q1") }, { status: 200 }));
  const url = new URL(`${get.origin}${get.pathname}?a=%2F&${get.search.slice(1)}&b`);
  const again = await poll(url, { headers: { authorization: "Bearer mine" } });
  assert.equal(sent[0].to, `${api}/predictions/q1?a=%2F&b`);
  assert.equal(sent[0].headers.get("authorization"), "Bearer mine");
  assert.equal((await again.json()).urls.get, get.href);
});

test("a client goes on with the seal that it has when the key changes", async () => {
  const { answer } = await create(json({ id: "q3", urls: urls("q3") }));
  const first = await answer.json();
  const env = { PERCH_SEAL_KEY: key.replace("A", "B"), PERCH_SEAL_KEY_PREVIOUS: key };
  answers.push(json({ id: "q3", urls: urls("q3") }, { status: 200 }));
  const again = await (await poll(new URL(first.urls.get), { env })).json();
  assert.equal(again.urls.get, first.urls.get);
  assert.notEqual(again.urls.stream, first.urls.stream);
});

test("forged, altered, strange and stale seals of polls are refused, and say why", async () => {
  const { answer } = await create(json({ id: "q2", urls: urls("q2") }));
  const { urls: links } = await answer.json();
  const good = new URL(links.get).searchParams.get("perch");
  const [format, kid, payload, mac] = good.split(".");
  const stream = links.stream.split("/_perch/at/")[1];
  const env = { PERCH_SEAL_KEY: key };
  const expired = await seal(env, { p: "prediction", i: "q2", x: 1 });
  const held = await seal(env, { p: "prediction", i: "q2", x: 1, c: "key:mobile" });
  const elsewhere = await seal(env, { p: "prediction", i: "q2", x: 1, l: "https://person.example/predictions/q2" });
  const changed = payload.slice(0, 8) + (payload[8] === "A" ? "B" : "A") + payload.slice(9);
  for (const [text, sentence] of [
    ["x", /not a seal/],
    [`${format}.${kid}.${changed}.${mac}`, /altered/],
    [`${format}.00000000.${payload}.${mac}`, /key that this worker does not hold/],
    [stream, /another purpose/],
    [`p1.${"x".repeat(7000)}`, /too long/],
    [held, /expired/],
    [elsewhere, /expired/],
  ]) {
    await assert.rejects(poll(new URL(`${origin}/v1/predictions/q2?perch=${text}`)), refusal(403, sentence));
    await assert.rejects(poll(new URL(`${origin}/v1/predictions/q2~${text}`)), refusal(403, sentence));
  }
  await assert.rejects(
    poll(new URL(`${origin}/v1/predictions/other?perch=${good}`)),
    refusal(403, /another prediction/),
  );
  assert.equal(sent.length, 0);
  answers.push(json({ id: "q2" }, { status: 200 }));
  const bare = await poll(new URL(`${origin}/v1/predictions/q2?perch=${expired}`));
  assert.equal(bare.status, 200, "the client's own token needs no seal");
  assert.equal(sent[0].to, `${api}/predictions/q2`);
});

test("sealed URLs are no open proxy", async () => {
  const env = { PERCH_SEAL_KEY: key };
  const { answer } = await create(json({ id: "s1", urls: urls("s1") }));
  const { urls: links } = await answer.json();
  const prediction = new URL(links.get).searchParams.get("perch");
  for (const [text, status, sentence] of [
    ["https://evil.example/", 403, /not a seal/],
    [prediction, 403, /another purpose/],
    [await seal(env, { p: "at", s: "model:acme/flux", l: "https://evil.example/" }), 404, /no longer a target/],
    [await seal(env, { p: "stream", s: "model:acme/flux", l: "http://169.254.169.254/" }), 404, /no longer a target/],
    [await seal(env, { p: "at", s: "model:acme/flux", l: "file:///etc/passwd" }), 404, /no longer a target/],
    [await seal(env, { p: "at", s: "model:acme/flux" }), 404, /no longer a target/],
    [await seal(env, { p: "stream", s: "model:acme/flux", l: urls("s1").stream, x: 1 }), 403, /expired/],
  ]) {
    await assert.rejects(at(new URL(`${origin}/_perch/at/${text}`)), refusal(status, sentence));
  }
  assert.equal(sent.length, 0);
  answers.push(new Response("event: done\ndata: {}\n\n", { headers: { "content-type": "text/event-stream" } }));
  const stream = await at(new URL(links.stream), { headers: { authorization: "Bearer mine", "last-event-id": "1:2" } });
  assert.equal(await stream.text(), "event: done\ndata: {}\n\n");
  assert.equal(sent[0].to, urls("s1").stream);
  assert.equal(sent[0].headers.get("authorization"), null, "a stream's host is not the API");
  assert.equal(sent[0].headers.get("last-event-id"), "1:2");
});

test("under a held token a prediction is its maker's alone, by an id that only they have", async () => {
  const { createHash } = await import("node:crypto");
  const digest = (text) => createHash("sha256").update(text).digest("hex");
  const keys = ["mobile", "web"].map((name) => ({ name, sha256: digest(name) }));
  plan.access = { token: "secret:TOKEN", keys, jwt: null, rateLimit: "" };
  const env = { TOKEN: "r8_held" };
  const entry = { identity: "", client: "key:mobile", held: true, token: "secret:TOKEN" };
  const { answer } = await create(json({ id: "h1", urls: urls("h1") }), { env, entry });
  const body = await answer.json();
  assert.match(body.id, /^h1~p1\./);
  const by = (name) => ({ env, headers: { authorization: `Bearer ${name}` } });
  for (const url of [`${origin}/v1/predictions/${body.id}`, body.urls.get]) {
    answers.push(json({ id: "h1", urls: urls("h1") }, { status: 200 }));
    assert.deepEqual(await (await poll(new URL(url), by("mobile"))).json(), body);
    assert.equal(sent.pop().headers.get("authorization"), "Bearer r8_held");
    await assert.rejects(poll(new URL(url), by("web")), refusal(403, /not made through Perch by this client/));
    await assert.rejects(poll(new URL(url), { env }), refusal(401, /API key/));
  }
  answers.push(new Response("event: done\ndata: {}\n\n", { headers: { "content-type": "text/event-stream" } }));
  const stream = await at(new URL(body.urls.stream), { env });
  assert.equal(stream.status, 200, "clients stream without their key");
  await stream.text();
  const follow = await seal(passage("/", { env }).env, { p: "follow", s: plan.service, v: "canary", i: "h1" });
  answers.push(json({ id: "h1", urls: urls("h1") }, { status: 200 }));
  assert.equal((await poll(new URL(`${origin}/v1/predictions/h1?perch=${follow}`), { env })).status, 200);
  assert.equal(sent.pop().headers.get("authorization"), "Bearer r8_held");
  const cancel = poll(new URL(`${origin}/v1/predictions/h1/cancel?perch=${follow}`), { env });
  await assert.rejects(cancel, refusal(403, /another purpose/));
});

test("a client with a token of its own is named in no seal", async () => {
  const entry = { identity: "someone", client: "jwt:0123", held: false, token: "" };
  const { answer, p } = await create(json({ id: "j1", urls: urls("j1") }), { entry });
  const { urls: links } = await answer.json();
  assert.equal((await unseal(p.env, new URL(links.get).searchParams.get("perch"), "prediction")).c, undefined);
  assert.equal((await unseal(p.env, links.stream.split("/_perch/at/")[1], "stream")).c, undefined);
});

test("ends are recorded for whom the prediction counts, and not again and again", async () => {
  const { answer } = await create(json({ id: "o1", status: "starting", urls: urls("o1") }));
  const get = new URL((await answer.json()).urls.get);
  for (const [status, extra] of [
    ["processing", {}],
    ["succeeded", {}],
    ["succeeded", { predictMS: 20, totalMS: 30 }],
    ["succeeded", { predictMS: 20, totalMS: 30 }],
  ]) {
    answers.push(json({ id: "o1", status, ...extra }, { status: 200 }));
    await (await poll(get)).text();
  }
  await new Promise(setImmediate);
  assert.equal(points.length, 2, "once without, once with its times");
  const { blobs, doubles, indexes } = points[1];
  assert.deepEqual(indexes, ["model:acme/flux|canary"]);
  assert.deepEqual(
    [blobs[0], blobs[1], blobs[3], blobs[4], blobs[5], blobs[6], blobs[9], blobs[10], blobs[12], blobs[13]],
    [
      "model:acme/flux",
      "canary",
      "prediction",
      "ok",
      "percentage",
      "r1",
      "t".repeat(32),
      "0123456789abcdef",
      "o1",
      "succeeded",
    ],
  );
  assert.deepEqual([doubles[0], doubles[2], doubles[4], doubles[5]], [200, 7, 20, 30]);
});

test("what stable rescued counts for nobody, wherever its end is seen", async () => {
  const rescued = told("canary", { servedBy: plan.targets[0] });
  const { answer, p } = await create(json({ id: "o2", status: "failed", urls: urls("o2") }), { as: rescued });
  const get = new URL((await answer.json()).urls.get);
  const context = await unseal(p.env, get.searchParams.get("perch"), "prediction");
  assert.deepEqual([context.v, context.w], ["stable", undefined]);
  answers.push(json({ id: "o2", status: "failed" }, { status: 200 }));
  await (await poll(get)).text();
  await new Promise(setImmediate);
  assert.equal(points.length, 0);
});

test("a stream counts as the prediction that its seal names", async () => {
  assert.equal(SlotKind.stream, 4);
  const { streamEnded } = await import("../../worker/shell/outcome.ts");
  const p = passage("/");
  const context = { p: "stream", s: plan.service, v: "canary", r: "r1", w: "percentage", i: "o3" };
  streamEnded(p, context, { ended: "", firstTokenMS: 5, eventsPerSecond: 9 });
  streamEnded(p, context, { ended: "failed", firstTokenMS: 5, eventsPerSecond: 9 });
  streamEnded(p, context, { ended: "", cut: true, firstTokenMS: 5, eventsPerSecond: 9 });
  await Promise.all(p.waits);
  assert.equal(points.length, 2, "a stream that tells no end says nothing of the prediction");
  assert.deepEqual([points[0].blobs[13], points[0].doubles[6], points[0].doubles[7]], ["failed", 5, 9]);
  assert.deepEqual([points[1].blobs[13], points[1].blobs[4], points[1].blobs[11]], ["", "error", "5"]);
});
