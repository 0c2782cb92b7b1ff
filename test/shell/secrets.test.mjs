// What goes upstream: the client's credentials, Perch's token, headers from secrets.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Unusable } from "../../worker/shell/core.ts";
import { Refusal } from "../../worker/shell/refusal.ts";
import { conceal, dress, nobody, reveal } from "../../worker/shell/secrets.ts";

const logged = [];
console.log = (line) => logged.push(line);
beforeEach(() => logged.splice(0));

const base = "https://gateway.example/v1/account/replicate";
const secrets = {
  REPLICATE: "r8_held",
  PERSON_KEY: "person-key",
  GATEWAY: "gateway-key\n",
  PERCH_SEAL_KEY: "seal-key",
  REPLICATE_WEBHOOK_SECRET: "whsec_AAAA",
};
const core = {
  headers(text) {
    const read = JSON.parse(text);
    if (read.host) throw new Unusable("host: this header may not be set");
    return Object.entries(read);
  },
};
const held = { identity: "", client: "key:a", held: true, token: "secret:REPLICATE" };
const target = (more) => ({ name: "person", url: "", credentials: false, headers: [], ...more });
const client = {
  authorization: "Bearer client",
  cookie: "session=1; perch-tester=t; a=b",
  "x-api-key": "client-key",
  "x-own": "1",
};

/** What goes out of what the client sends. */
function sent(way, headers = client, env = {}) {
  const out = new Headers(headers);
  const added = dress(out, { core, env: { REPLICATE_BASE_URL: base, ...secrets, ...env }, entry: nobody, ...way });
  return { ...Object.fromEntries(out), added };
}

const keys = [["x-api-key", "secret:PERSON_KEY"], ["x-plain", "as it is"]]; // prettier-ignore
const ownKeys = { "x-api-key": "person-key", "x-plain": "as it is", added: ["person-key"] };
const all = { authorization: "Bearer client", cookie: "session=1; a=b", "x-api-key": "client-key", "x-own": "1" };
const twins = { x_api_key: "mine", "x-api-key": "mine", "x-own": "1" };
const withheld = { "x-own": "1", "x-api-key": "client-key" };
const url = (more) => target({ url: "https://person.example/base", ...more });

for (const [name, way, want] of [
  ["Replicate gets the client's, without the tester's", { to: `${base}/predictions?x=1` }, { ...all, added: [] }],
  [
    "a target of Replicate's gets its headers",
    { to: `${base}/predictions`, target: target({ headers: keys }) },
    { ...all, ...ownKeys },
  ],
  [
    "another path of the gateway's host is not Replicate",
    { to: "https://gateway.example/v1/account/other" },
    { ...withheld, added: [] },
  ],
  ["nor is a host that begins alike", { to: `${base}.evil.example/predictions` }, { ...withheld, added: [] }],
  ["a stream's host gets nothing", { to: "https://stream.replicate.com/v1/files/x" }, { ...withheld, added: [] }],
  [
    "a model server gets nothing of the client's",
    { to: "https://person.example/base/x", target: url({ headers: keys }) },
    { "x-own": "1", ...ownKeys },
  ],
  [
    "unless its target says so",
    { to: "https://person.example/base/x", target: url({ credentials: true }) },
    { ...all, added: [] },
  ],
  [
    "a client cannot write a target's header another way",
    { to: "https://person.example/x", target: url({ headers: keys }), headers: twins },
    { "x-own": "1", ...ownKeys },
  ],
  [
    "another host gets nothing of a target's",
    { to: "https://evil.example/base/x", target: url({ credentials: true, headers: keys }) },
    { ...withheld, added: [] },
  ],
  [
    "another port is another host",
    { to: "https://person.example:8443/", target: url({ credentials: true, headers: keys }) },
    { ...withheld, added: [] },
  ],
  [
    "nor another scheme",
    { to: "http://person.example/base/x", target: url({ credentials: true, headers: keys }) },
    { ...withheld, added: [] },
  ],
  [
    "a user name is no host",
    { to: "https://person.example@evil.example/", target: url({ headers: keys }) },
    { ...withheld, added: [] },
  ],
  [
    "a held token goes to Replicate",
    { to: `${base}/predictions`, entry: held },
    { authorization: "Bearer r8_held", "x-own": "1", added: ["r8_held"] },
  ],
  [
    "and to nobody else",
    { to: "https://person.example/base/x", entry: held, target: url({ credentials: true }) },
    { "x-own": "1", added: [] },
  ],
  [
    "a preflight carries none",
    { to: `${base}/predictions`, entry: { ...nobody, held: true } },
    { "x-own": "1", added: [] },
  ],
]) {
  test(name, () => assert.deepEqual(sent({ service: "model:acme/a", ...way }, way.headers), want));
}

test("a target that has no origin gets nothing, and is found to be none later", () => {
  const way = {
    to: "https://person.example:99999/x",
    target: url({ url: "https://person.example:99999", headers: keys }),
  };
  assert.deepEqual(sent(way), { ...withheld, added: [] });
});

test("under a held token no header stands for the method", () => {
  const tricks = {
    "x-http-method-override": "DELETE",
    x_http_method: "PUT",
    "x-method-override": "POST",
    "x-methods": "1",
  };
  const to = `${base}/predictions/a`;
  assert.deepEqual(sent({ to, entry: held }, tricks), {
    authorization: "Bearer r8_held",
    "x-methods": "1",
    added: ["r8_held"],
  });
  assert.deepEqual(sent({ to }, tricks), { ...tricks, added: [] });
});

test("headers of every call to Replicate", () => {
  const env = { REPLICATE_HEADERS: '{"cf-aig-authorization":"secret:GATEWAY"}' };
  assert.equal(sent({ to: `${base}/account` }, {}, env)["cf-aig-authorization"], "gateway-key");
  const table = { REPLICATE_HEADERS: JSON.parse(env.REPLICATE_HEADERS) };
  assert.equal(sent({ to: `${base}/account` }, {}, table)["cf-aig-authorization"], "gateway-key");
  assert.deepEqual(sent({ to: "https://person.example/x", target: url() }, {}, env), { added: [] });
  const broken = () => sent({ to: `${base}/account` }, {}, { REPLICATE_HEADERS: '{"host":"x"}' });
  assert.throws(broken, { status: 503, message: "REPLICATE_HEADERS of this worker cannot be used" });
});

test("a secret that is missing, Perch's own, or no header's value", () => {
  for (const value of [
    "secret:MISSING",
    "secret:PERCH_SEAL_KEY",
    "secret:REPLICATE_WEBHOOK_SECRET",
    "secret:lower",
    "secret:",
    "secret:ROLLOUTS",
    "secret:BROKEN",
  ]) {
    const env = { ROLLOUTS: { get() {} }, BROKEN: "a\nb" };
    const way = {
      to: "https://person.example/x",
      service: "model:acme/a",
      target: url({ headers: [["x-key", value]] }),
    };
    assert.throws(
      () => sent(way, {}, env),
      (error) => {
        assert.ok(error instanceof Refusal);
        assert.equal(error.status, 503);
        assert.match(error.message, /^the header x-key of person of model:acme\/a (needs a secret|has a value)/);
        return true;
      },
    );
  }
  assert.equal(logged.length, 6);
  assert.ok(!logged.join().includes("seal-key"));
  assert.throws(() => reveal({}, "secret:constructor", "x"), Refusal);
});

test("an answer does not hand a secret on", () => {
  const headers = new Headers({ "x-echo": "got Bearer r8_held", "content-type": "text/plain", "x-key": "person-key" });
  conceal(headers, ["r8_held", "person-key", "plain"]);
  assert.deepEqual(Object.fromEntries(headers), { "content-type": "text/plain" });
});

test("without cookies left there is no cookie header", () => {
  assert.equal("cookie" in sent({ to: `${base}/x` }, { cookie: "perch-tester=t" }), false);
  assert.equal(sent({ to: `${base}/x` }, { cookie: "a=perch-tester" }).cookie, "a=perch-tester");
});
