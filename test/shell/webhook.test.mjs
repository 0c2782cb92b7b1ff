// What becomes of the webhook in a create, case by case.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Reason } from "../../worker/shell/columns.ts";
import { Refusal } from "../../worker/shell/refusal.ts";
import { unseal } from "../../worker/shell/seal.ts";
import { webhookTail } from "../../worker/shell/webhook.ts";

const logged = [];
console.log = (line) => logged.push(JSON.parse(line));
beforeEach(() => void (logged.length = 0));

const key = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA";
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const hook = "https://client.example/hook?a=b";
let services = 0;

/** A create that canary answers, of a service that was never heard of. */
function create({ env = {}, url = "http://perch.example/v1/predictions", ...told } = {}) {
  const target = { name: "canary", url: "" };
  const plan = { service: `model:acme/flux-${++services}`, rollout: "r1", outcomes: "webhook" };
  const p = {
    url: new URL(url),
    route: { creates: true },
    body: { encoded: false },
    env: { PERCH_SEAL_KEY: key, REPLICATE_WEBHOOK_SECRET: secret, ...env },
    entry: { client: "" },
    trace: { id: "t1" },
  };
  return { p, told: { loaded: { plan }, target, servedBy: target, reason: "percentage", user: "f00d", ...told } };
}

const tailOf = ({ p, told }) => webhookTail(p, told);

for (const { name, had = {}, filter, ...want } of [
  { name: "no webhook", filter: ["completed"] },
  { name: "a filter without a webhook", had: { webhook_events_filter: ["start"] }, filter: ["completed"] },
  { name: "a webhook for everything", had: { webhook: hook }, h: hook },
  {
    name: "a webhook for some events",
    had: { webhook: hook, webhook_events_filter: ["start", "logs"] },
    filter: ["start", "logs", "completed"],
    h: hook,
    f: ["start", "logs"],
  },
  {
    name: "a webhook for the end",
    had: { webhook: hook, webhook_events_filter: ["completed", "output"] },
    filter: ["completed", "output"],
    h: hook,
    f: ["completed", "output"],
  },
  { name: "an empty filter", had: { webhook: hook, webhook_events_filter: [] }, filter: [], h: hook },
]) {
  test(`Perch's own webhook takes the place of ${name}`, async () => {
    const asked = create();
    const made = JSON.parse(await (await tailOf(asked))(JSON.stringify(had)));
    const [origin, sealed] = made.webhook.split("/_perch/webhook/");
    assert.equal(origin, "https://perch.example");
    assert.deepEqual(made.webhook_events_filter, filter);
    const { t, ...context } = await unseal(asked.p.env, sealed, "webhook");
    assert.ok(Math.abs(t - Date.now() / 1000) < 60);
    const { service: s } = asked.told.loaded.plan;
    assert.deepEqual(context, { p: "webhook", s, v: "canary", r: "r1", w: "percentage", u: "f00d", n: "t1", ...want });
  });
}

for (const [name, had] of Object.entries({
  http: { webhook: "http://client.example/" },
  "no URL": { webhook: "client" },
  "no string": { webhook: 1 },
  null: { webhook: null },
  "white space, which not everybody reads alike": { webhook: " https://client.example/" },
  "a name that is not ASCII": { webhook: "https://cliént.example/" },
  "a backslash": { webhook: "https://client.example\\@localhost/" },
  "an unknown event": { webhook: hook, webhook_events_filter: ["end"] },
  "a filter that is no list": { webhook: hook, webhook_events_filter: "completed" },
  "more than can be sealed": { webhook: hook + "x".repeat(6 << 10) },
})) {
  test(`what Replicate is to judge goes on as it came: ${name}`, async () => {
    const text = JSON.stringify(had);
    assert.equal(await (await tailOf(create()))(text), text);
  });
}

const refused = {
  "a private address": "https://10.1.2.3/",
  loopback: "https://127.0.0.1:8443/",
  "loopback as one number": "https://2130706433/",
  "loopback in hexadecimal": "https://0x7f.1/",
  "loopback by name": "https://localhost/",
  "loopback with a dot": "https://api.localhost./",
  "link-local, where clouds keep credentials": "https://169.254.169.254/latest/meta-data",
  "the carrier's network": "https://100.64.0.1/",
  nowhere: "https://0.0.0.0/",
  "IPv6 loopback": "https://[::1]/",
  "IPv6 that is private": "https://[fd00::1]/",
  "IPv6 link-local": "https://[fe80::1]/",
  "IPv4 in IPv6": "https://[::ffff:127.0.0.1]/",
  "IPv4 behind NAT64": "https://[64:ff9b::7f00:1]/",
  "a name of a network": "https://metadata.google.internal/",
  "a name of a link": "https://printer.local/",
  "a bare name": "https://intranet/",
};
for (const [name, webhook] of Object.entries(refused)) {
  test(`a webhook to ${name} is refused, but not in local runs`, async () => {
    const had = JSON.stringify({ webhook });
    await assert.rejects((await tailOf(create()))(had), (error) => {
      assert.ok(error instanceof Refusal);
      assert.equal(error.status, 422);
      assert.match(error.message, /private address/);
      return true;
    });
    assert.notEqual(await (await tailOf(create({ env: { PERCH_PRIVATE_WEBHOOKS: "1" } })))(had), had);
  });
}

for (const [name, webhook, why] of [
  ["to Perch", "https://perch.example/v1/predictions", /back to Perch/],
  ["to Perch, with a dot", "https://PERCH.example./", /back to Perch/],
  ["with credentials", "https://me:secret@client.example/", /credentials/],
]) {
  test(`a webhook ${name} is refused everywhere`, async () => {
    for (const env of [{}, { PERCH_PRIVATE_WEBHOOKS: "1" }]) {
      const tail = await tailOf(create({ env }));
      await assert.rejects(tail(JSON.stringify({ webhook })), (error) => {
        assert.match(error.message, why);
        assert.ok(!error.message.includes("secret"));
        return error instanceof Refusal && error.status === 422;
      });
    }
  });
}

test("what another target answered in the assigned one's place counts for nobody", async () => {
  const asked = create({ servedBy: { name: "stable", url: "" } });
  const { webhook } = JSON.parse(await (await tailOf(asked))("{}"));
  const context = await unseal(asked.p.env, webhook.split("/").pop(), "webhook");
  assert.equal(context.w, undefined);
});

for (const [name, change] of Object.entries({
  "its outcomes are learnt from answers": ({ told }) => (told.loaded.plan.outcomes = ""),
  "it creates nothing": ({ p }) => (p.route.creates = false),
  "its body is compressed": ({ p }) => (p.body.encoded = true),
  "a model server answers it": ({ told }) => (told.servedBy.url = "https://models.example/"),
  "nothing is decided": ({ told }) => (told.reason = Reason.bypass),
})) {
  test(`a create keeps its webhook where ${name}`, async () => {
    const asked = create();
    change(asked);
    assert.equal(await tailOf(asked), undefined);
    assert.deepEqual(logged, []);
  });
}

for (const [name, options, why] of [
  ["there is no secret", { env: { REPLICATE_WEBHOOK_SECRET: "" } }, /REPLICATE_WEBHOOK_SECRET/],
  ["the secret is none", { env: { REPLICATE_WEBHOOK_SECRET: "whsec_ä" } }, /REPLICATE_WEBHOOK_SECRET/],
  ["there is no key", { env: { PERCH_SEAL_KEY: "" } }, /PERCH_SEAL_KEY/],
  ["Replicate cannot reach this worker", { url: "http://127.0.0.1:8787/v1/predictions" }, /127.0.0.1:8787/],
]) {
  test(`a create keeps its webhook where ${name}, which is logged once a service`, async () => {
    const asked = create(options);
    for (let i = 0; i < 3; i++) assert.equal(await tailOf(asked), undefined);
    const { service } = asked.told.loaded.plan;
    const lines = logged.filter((line) => line.service === service);
    assert.equal(lines.length, 1);
    assert.match(lines[0].error, why);
    assert.ok(!JSON.stringify(logged).includes("whsec_ä"));
  });
}

test("in local runs the worker is reached as the client reached it", async () => {
  const asked = create({ url: "http://127.0.0.1:8787/v1/x", env: { PERCH_PRIVATE_WEBHOOKS: "1" } });
  assert.match(JSON.parse(await (await tailOf(asked))("{}")).webhook, /^http:\/\/127\.0\.0\.1:8787\/_perch\//);
});
