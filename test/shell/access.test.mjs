// Who may come in: keys, JWTs, key sets, held tokens, rate limits.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, beforeEach, mock, test } from "node:test";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { accessOf, admit, admitTo, admitUnrouted, limitRate } from "../../worker/shell/access.ts";
import { Unusable } from "../../worker/shell/core.ts";
import { Refusal } from "../../worker/shell/refusal.ts";
import { nobody } from "../../worker/shell/secrets.ts";

const logged = [];
console.log = (line) => logged.push(line);
beforeEach(() => logged.splice(0));

const secret = "a secret of at least thirty-two bytes";
const now = Math.floor(Date.UTC(2026, 10, 21) / 1000);
const issuer = "https://issuer.example";
const jwtRules = { algorithms: ["RS256"], jwks: "", key: "secret:JWT_KEY", issuer, audience: "perch", user: "sub" };
const rules = (more) => ({ token: "secret:REPLICATE", keys: [], jwt: null, rateLimit: "", ...more });
const withJWT = (more, rest) => rules({ jwt: { ...jwtRules, ...more }, ...rest });
const arrive = (headers = {}, env = {}, method = "POST") => ({
  core: { access: JSON.parse },
  env,
  request: new Request("https://perch.example/v1/predictions", { method, headers }),
});
const bearer = (token) => ({ authorization: `Bearer ${token}` });

let rsa, other, ec, pem, keySet;
before(async () => {
  [rsa, other, ec] = await Promise.all([generateKeyPair("RS256"), generateKeyPair("RS256"), generateKeyPair("ES256")]);
  pem = await exportSPKI(rsa.publicKey);
  keySet = await startKeySet();
  mock.timers.enable({ apis: ["Date"], now: now * 1000 });
});
after(() => keySet.close());
const setTime = (seconds) => mock.timers.setTime(seconds * 1000);

/** A token that is accepted, unless a claim or header is changed; undefined takes it away. */
function sign(key, { alg = "RS256", kid, ...claims } = {}) {
  const payload = { sub: "alice", iss: issuer, aud: "perch", exp: now + 3600, ...claims };
  for (const name in payload) if (payload[name] === undefined) delete payload[name];
  return new SignJWT(payload).setProtectedHeader({ alg, kid }).sign(key);
}

/** The issuer's key set, which can be changed, slow and down. */
async function startKeySet() {
  const set = { keys: [], status: 200, asked: 0, body: undefined };
  const server = createServer((_, response) => {
    set.asked++;
    response.writeHead(set.status).end(set.body ?? JSON.stringify({ keys: set.keys }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  let sets = 0;
  set.fresh = () => {
    Object.assign(set, { keys: [], status: 200, asked: 0, body: undefined });
    return `http://127.0.0.1:${server.address().port}/${++sets}`;
  };
  set.close = () => (server.close(), server.closeAllConnections());
  return set;
}

async function jwk(pair, kid, more) {
  return { ...(await exportJWK(pair.publicKey)), kid, use: "sig", ...more };
}

async function refusal(promise, status, sentence) {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof Refusal, String(error.stack));
    assert.equal(error.status, status, error.message);
    assert.match(error.message, sentence);
    assert.ok(!error.message.includes(secret) && !error.message.includes("eyJ"), "it repeats a token or a secret");
    return true;
  });
}

for (const [name, headers, who] of [
  ["bearer", { authorization: "Bearer mobile-key" }, "key:mobile"],
  ["token, as older clients say", { authorization: "Token mobile-key" }, "key:mobile"],
  ["x-api-key", { "x-api-key": "web-key" }, "key:web"],
]) {
  test(`a key as ${name}`, async () => {
    const keys = ["mobile", "web"].map((name) => {
      return { name, sha256: createHash("sha256").update(`${name}-key`).digest("hex") };
    });
    const access = rules({ keys });
    const entry = await admit(arrive(headers), access);
    assert.deepEqual(entry, { identity: "", client: who, held: true, token: "secret:REPLICATE" });
    assert.deepEqual(await admit(arrive(headers), access), entry);
  });
}

test("what is no key is refused", async () => {
  const access = rules({ keys: [{ name: "mobile", sha256: "0".repeat(64) }] });
  await refusal(admit(arrive(), access), 401, /^send an API key as Authorization: Bearer/);
  await refusal(admit(arrive(bearer("guess")), access), 401, /^this is not an API key that Perch knows$/);
  await refusal(admit(arrive({ authorization: "Basic abc" }), access), 401, /^send the key or token as Bearer/);
  await refusal(admit(arrive(bearer("x".repeat(8 << 10))), access), 401, /at most 8192 characters/);
  await refusal(admit(arrive({ "x-api-key": "x".repeat(9_000) }), access), 401, /at most 8192 characters/);
});

test("a JWT of RS256, ES256 and HS256, and a user under another claim", async () => {
  const env = { JWT_KEY: pem, EC_KEY: await exportSPKI(ec.publicKey), HS_KEY: secret };
  for (const [more, key, claims, user] of [
    [{}, rsa.privateKey, {}, "alice"],
    [{ algorithms: ["ES256"], key: "secret:EC_KEY" }, ec.privateKey, { alg: "ES256" }, "alice"],
    [{ algorithms: ["HS256"], key: "secret:HS_KEY" }, new TextEncoder().encode(secret), { alg: "HS256" }, "alice"],
    [{ user: "uid" }, rsa.privateKey, { uid: 7 }, "7"],
    [{}, rsa.privateKey, { aud: ["other", "perch"], nbf: now + 29 }, "alice"],
    [{}, rsa.privateKey, { exp: now - 29 }, "alice"],
    [{ issuer: "", audience: "" }, rsa.privateKey, { iss: undefined, aud: undefined }, "alice"],
  ]) {
    const entry = await admit(arrive(bearer(await sign(key, claims)), env), withJWT(more));
    assert.equal(entry.identity, user);
    assert.match(entry.client, /^jwt:[0-9a-f]{32}$/);
  }
});

test("a JWT that is wrong is refused, and told why", async () => {
  const env = { JWT_KEY: pem };
  const unsecured = new UnsecuredJWT({ sub: "alice" }).setIssuer(issuer).setAudience("perch").setExpirationTime("1h");
  const good = await sign(rsa.privateKey);
  const [head, payload, signature] = good.split(".");
  const forged = Buffer.from(JSON.stringify({ sub: "bob", iss: issuer, aud: "perch", exp: now + 60 })).toString(
    "base64url",
  );
  for (const [token, sentence] of [
    [unsecured.encode(), /its algorithm is not allowed here/],
    [await sign(new TextEncoder().encode(pem), { alg: "HS256" }), /its algorithm is not allowed here/],
    [await sign(ec.privateKey, { alg: "ES256" }), /its algorithm is not allowed here/],
    [await sign(other.privateKey), /its signature is wrong/],
    [`${head}.${forged}.${signature}`, /its signature is wrong/],
    [`${head}.${payload}.`, /its signature is wrong/],
    [await sign(rsa.privateKey, { exp: now - 31 }), /it has expired/],
    [await sign(rsa.privateKey, { exp: undefined }), /its claim exp is missing/],
    [await sign(rsa.privateKey, { exp: "tomorrow" }), /its claim exp is missing or not/],
    [await sign(rsa.privateKey, { nbf: now + 31 }), /it is not valid yet/],
    [await sign(rsa.privateKey, { aud: "other" }), /its claim aud is/],
    [await sign(rsa.privateKey, { iss: `${issuer}.evil` }), /its claim iss is/],
    [await sign(rsa.privateKey, { sub: undefined }), /its claim sub is no user ID/],
    [await sign(rsa.privateKey, { sub: "a\nb" }), /its claim sub is no user ID/],
    [await sign(rsa.privateKey, { sub: "" }), /its claim sub is no user ID/],
    [await sign(rsa.privateKey, { sub: { admin: true } }), /its claim sub is no user ID/],
    ["a.b.c", /it cannot be read/],
    ["not a token".replaceAll(" ", "-"), /this is not a JWT that Perch knows/],
  ]) {
    await refusal(admit(arrive(bearer(token), env), withJWT()), 401, sentence);
  }
});

test("a key that does not fit closes: no PEM is a secret, no short secret is one", async () => {
  const token = await sign(new TextEncoder().encode(pem), { alg: "HS256" });
  for (const [algorithms, key] of [
    [["HS256"], pem],
    [["HS256"], "too short"],
    [["RS256"], secret],
    [["RS256"], "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"],
    [["RS256"], undefined],
  ]) {
    const signed = algorithms[0] === "HS256" ? token : await sign(rsa.privateKey);
    const entering = admit(arrive(bearer(signed), { JWT_KEY: key }), withJWT({ algorithms }));
    await refusal(entering, 503, /^checking a JWT needs a (key that fits|secret that)/);
  }
  assert.equal(logged.length, 5);
});

test("an accepted token is believed until it expires, and no longer than five minutes", async (t) => {
  t.after(() => setTime(now));
  const access = withJWT();
  const token = await sign(rsa.privateKey, { exp: now + 60 });
  const verify = t.mock.method(crypto.subtle, "verify");
  for (let i = 0; i < 3; i++) await admit(arrive(bearer(token), { JWT_KEY: pem }), access);
  assert.equal(verify.mock.callCount(), 1);
  setTime(now + 91);
  await refusal(admit(arrive(bearer(token), { JWT_KEY: pem }), access), 401, /expired/);
  const long = await sign(rsa.privateKey, { exp: now + 9000 });
  for (const at of [100, 100 + 299, 100 + 301]) {
    setTime(now + at);
    await admit(arrive(bearer(long), { JWT_KEY: pem }), access);
  }
  assert.equal(verify.mock.callCount(), 1 + 1 + 2);
});

test("a key set: rotation, strangers, cool-down", async (t) => {
  t.after(() => setTime(now));
  const access = () => withJWT({ jwks: url, key: "" });
  const url = keySet.fresh();
  keySet.keys = [await jwk(rsa, "one")];
  const enter = async (pair, kid) => admit(arrive(bearer(await sign(pair.privateKey, { kid }))), access());
  assert.equal((await enter(rsa, "one")).identity, "alice");
  await enter(rsa, "one");
  assert.equal(keySet.asked, 1);
  keySet.keys = [await jwk(rsa, "one"), await jwk(other, "two")];
  await refusal(enter(other, "two"), 401, /the issuer has no such key/);
  assert.equal(keySet.asked, 1, "asked again within the cool-down");
  setTime(now + 31);
  assert.equal((await enter(other, "two")).identity, "alice");
  assert.equal(keySet.asked, 2);
  await refusal(enter(other, "one"), 401, /its signature is wrong/);
  assert.equal((await enter(other, undefined)).identity, "alice", "no kid: each key is tried");
  await refusal(enter(await generateKeyPair("RS256"), undefined), 401, /its signature is wrong/);
  keySet.keys = [await jwk(other, "two")];
  setTime(now + 31 + 601);
  await refusal(enter(rsa, "one"), 401, /no such key/);
});

test("a key set that is away: known keys work, others are not told that they are wrong", async (t) => {
  t.after(() => setTime(now));
  for (const trouble of [{ status: 500 }, { body: "<html>" }, { body: '{"keys":7}' }]) {
    setTime(now);
    const url = keySet.fresh();
    keySet.keys = [await jwk(rsa, "one")];
    const access = () => withJWT({ jwks: url, key: "" });
    const enter = async (pair, kid) => admit(arrive(bearer(await sign(pair.privateKey, { kid }))), access());
    await enter(rsa, "one");
    Object.assign(keySet, trouble);
    logged.length = 0;
    for (const at of [31, 40, 620]) {
      setTime(now + at);
      assert.equal((await enter(rsa, "one")).identity, "alice");
      await refusal(enter(other, "two"), 503, /^the issuer's keys cannot be fetched/);
    }
    assert.equal(keySet.asked, 1 + 2, "one try in each cool-down");
    assert.equal(logged.length, 2);
    Object.assign(keySet, { status: 200, body: undefined });
    setTime(now + 660);
    assert.equal((await enter(rsa, "one")).identity, "alice");
    await refusal(enter(other, "two"), 401, /no such key/);
  }
  const gone = withJWT({ jwks: "http://127.0.0.1:1/", key: "" });
  await refusal(admit(arrive(bearer(await sign(rsa.privateKey, { kid: "one" }))), gone), 503, /cannot be fetched/);
});

test("with the client's own token a JWT only identifies", async () => {
  const own = { token: "" };
  const env = { JWT_KEY: pem };
  const token = await sign(rsa.privateKey);
  const show = (token) => ({ authorization: "Bearer r8_own", "x-perch-authorization": `Bearer ${token}` });
  const entry = await admit(arrive(show(token), env), withJWT({}, own));
  assert.deepEqual({ ...entry, client: "" }, { ...nobody, identity: "alice" });
  assert.deepEqual(await admit(arrive(bearer("r8_own"), env), withJWT({}, own)), nobody);
  await refusal(admit(arrive(show(`${token}x`), env), withJWT({}, own)), 401, /signature/);
  assert.deepEqual(await admit(arrive(show(token), {}), withJWT({}, own)), nobody, "nothing to check with");
  assert.deepEqual(await admit(arrive(show("a"), {}), rules(own)), nobody, "nothing to check against");
});

test("a preflight needs no key, and gets no token", async () => {
  const entry = await admit(arrive({}, {}, "OPTIONS"), withJWT());
  assert.deepEqual(entry, { ...nobody, held: true });
});

test("what a seal names is its maker's", async () => {
  const keys = ["a", "b"].map((name) => ({ name, sha256: createHash("sha256").update(name).digest("hex") }));
  const access = rules({ keys });
  const sealed = (p, c) => ({ p, c });
  assert.equal((await admitTo(arrive(bearer("a")), access, sealed("prediction", "key:a"))).client, "key:a");
  await refusal(admitTo(arrive(bearer("b")), access, sealed("prediction", "key:a")), 403, /by this client/);
  await refusal(admitTo(arrive(bearer("a")), access, sealed("prediction")), 403, /by this client/);
  await refusal(admitTo(arrive(), access, sealed("prediction", "key:a")), 401, /^send/);
  await refusal(admitTo(arrive(), access, sealed("at", "key:a")), 401, /^send/);
  assert.deepEqual(await admitTo(arrive(), access, sealed("stream", "key:a")), { ...nobody, held: true });
  await refusal(admitTo(arrive(bearer("b")), access, sealed("stream", "key:a")), 403, /by this client/);
  await refusal(admitTo(arrive(bearer("a")), null, sealed("prediction", "key:a")), 503, /cannot be read now/);
  assert.deepEqual(await admitTo(arrive(bearer("r8_own")), null, sealed("prediction")), nobody);
});

test("under a held token nothing passes that no document decides", async () => {
  const env = { PERCH_ACCESS: JSON.stringify(rules({ keys: [{ name: "a", sha256: "0".repeat(64) }] })) };
  await refusal(admitUnrouted(arrive({}, env), nobody, ""), 401, /^send an API key/);
  const inside = { identity: "", client: "key:a", held: true, token: "secret:REPLICATE" };
  for (const [reason, status, sentence] of [
    ["", 403, /only creates of configured services/],
    ["no-rollout", 403, /only creates of configured services/],
    ["no-document", 503, /cannot be read now/],
    ["body-encoded", 415, /without content-encoding/],
    ["body-too-large", 403, /name the service by path/],
  ]) {
    await refusal(admitUnrouted(arrive({}, env), inside, reason), status, sentence);
  }
  assert.equal(await admitUnrouted(arrive({}, {}), nobody, "no-rollout"), nobody);
  assert.deepEqual(await admitUnrouted(arrive({}, env, "OPTIONS"), nobody, ""), { ...nobody, held: true });
});

test("the worker's access: a document's outranks it, and a broken one closes", async () => {
  const text = JSON.stringify(rules({ token: "secret:WORKERS" }));
  assert.equal(accessOf(arrive({}, { PERCH_ACCESS: text }), { access: null }).token, "secret:WORKERS");
  assert.equal(accessOf(arrive({}, { PERCH_ACCESS: text }), { access: rules() }).token, "secret:REPLICATE");
  assert.equal(accessOf(arrive({}, {}), { access: null }), null);
  assert.equal(
    accessOf(arrive({}, { PERCH_ACCESS: JSON.parse(text) })).token,
    "secret:WORKERS",
    "a table of wrangler.toml",
  );
  const broken = arrive({}, { PERCH_ACCESS: `{"token":"${secret}"` });
  broken.core.access = () => {
    throw new Unusable("token: expected secret:NAME");
  };
  for (let i = 0; i < 2; i++) {
    await refusal((async () => accessOf(broken))(), 503, /^PERCH_ACCESS of this worker cannot be used/);
  }
  assert.equal(logged.length, 1);
  assert.ok(!logged[0].includes(secret));
});

test("a rate limit holds each user apart, and opens where the binding is missing", async () => {
  const keys = [];
  const LIMITER = { limit: async ({ key }) => ({ success: keys.push(key) < 100 && !env.full }) };
  const env = { LIMITER, full: false };
  const hold = (headers, entry = nobody, rateLimit = "LIMITER") =>
    limitRate(arrive(headers, env), rules({ rateLimit }), entry, "model:acme/a", "x-user-id");
  const address = { "cf-connecting-ip": "192.0.2.1" };
  await hold(address);
  await hold({ ...address, "x-user-id": "ann" });
  await hold({ "x-user-id": "ann", "cf-connecting-ip": "192.0.2.2" });
  await hold(address, { ...nobody, client: "key:a" });
  await hold(address, { ...nobody, client: "jwt:1", identity: "ann" });
  assert.equal(keys[1], keys[2]);
  assert.equal(new Set(keys).size, 4);
  assert.ok(
    keys.every((key) => /^[0-9a-f]{32}$/.test(key)),
    "a limiter is told no names and addresses",
  );
  env.full = true;
  await refusal(hold(address), 429, /too many requests of this user for model:acme\/a/);
  await hold(address, nobody, "");
  await hold(address, nobody, "NOBODY");
  assert.deepEqual(
    logged.map((line) => JSON.parse(line).binding),
    ["NOBODY"],
  );
  const refused = await hold(address).catch((error) => error.response({ id: "t" }));
  assert.equal(refused.headers.get("retry-after"), "10");
  assert.equal(refused.headers.get("x-perch-served-by"), "perch");
  assert.equal(refused.headers.get("x-perch-trace"), "t");
  assert.equal((await refused.json()).status, 429);
});
