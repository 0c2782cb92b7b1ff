// Overrides: who may choose the variant.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Refusal } from "../../worker/shell/refusal.ts";
import { seal } from "../../worker/shell/seal.ts";
import { overrideOf } from "../../worker/shell/tester.ts";

console.log = () => {};

const key = (byte) => Buffer.alloc(32, byte).toString("base64url");
const env = { PERCH_SEAL_KEY: key(1) };
const later = Math.floor(Date.now() / 1000) + 60;
const tester = (more, by = env) => seal(by, { p: "tester", s: "model:acme/a", x: later, ...more });
const any = await tester({});
const canary = await tester({ v: "canary" });
const other = await tester({ s: "model:acme/b" });
const expired = await tester({ x: later - 120 });
const endless = await tester({ x: undefined });
const prediction = await tester({ p: "prediction" });
const foreign = await tester({}, { PERCH_SEAL_KEY: key(2) });
const forged = canary.replace(/.(?=.$)/, (digit) => (digit === "A" ? "B" : "A")); // the last one has digits to spare

const plan = { overrides: true, service: "model:acme/a" };
const ask = (headers, variant = "", overrides = true) => {
  const request = new Request("https://perch.example/", { headers });
  return overrideOf({ env, request, route: { variant } }, { ...plan, overrides });
};

for (const [name, headers, path, want] of [
  ["nothing asked", {}, "", ""],
  ["a token for any variant, none asked", { "x-perch-tester": any }, "", ""],
  ["a token for the canary", { "x-perch-tester": canary }, "", "canary"],
  ["asked by header", { "x-perch-tester": any, "x-perch-variant": "canary" }, "", "canary"],
  ["asked by path", { "x-perch-tester": any }, "stable", "stable"],
  ["the path outranks the header", { "x-perch-tester": any, "x-perch-variant": "canary" }, "stable", "stable"],
  ["a cookie", { cookie: `a=b; perch-tester=${canary}; c=d` }, "", "canary"],
  ["a cookie, asked by header", { cookie: `perch-tester=${any}`, "x-perch-variant": "canary" }, "", "canary"],
  ["the header outranks the cookie", { cookie: `perch-tester=${forged}`, "x-perch-tester": canary }, "", "canary"],
  ["a bad cookie alone", { cookie: `perch-tester=${forged}` }, "", ""],
  ["a cookie of another service alone", { cookie: `perch-tester=${other}` }, "", ""],
]) {
  test(name, async () => assert.equal(await ask(headers, path), want));
}

for (const [name, headers, path, sentence] of [
  ["no token, asked by header", { "x-perch-variant": "canary" }, "", /needs a tester's token/],
  ["no token, asked by path", {}, "canary", /needs a tester's token/],
  ["another variant", { "x-perch-tester": canary, "x-perch-variant": "stable" }, "", /allows canary only/],
  ["another service", { "x-perch-tester": other }, "", /it is for another service/],
  ["expired", { "x-perch-tester": expired }, "", /this seal has expired/],
  ["without an end", { "x-perch-tester": endless }, "", /it would never expire/],
  ["made for something else", { "x-perch-tester": prediction }, "", /another purpose/],
  ["with a key of somebody else's", { "x-perch-tester": foreign }, "", /a key that this worker does not hold/],
  ["forged", { "x-perch-tester": forged }, "", /altered/],
  ["empty", { "x-perch-tester": "", "x-perch-variant": "canary" }, "", /needs a tester's token/],
  ["a bad cookie, asked by header", { cookie: `perch-tester=${forged}`, "x-perch-variant": "canary" }, "", /altered/],
  ["no variant", { "x-perch-tester": any, "x-perch-variant": "person" }, "", /stable or canary/],
]) {
  test(`refused: ${name}`, async () => {
    const refused = (error) => error instanceof Refusal && error.status === 403 && sentence.test(error.message);
    await assert.rejects(ask(headers, path), refused);
    assert.equal(await ask(headers, path, false), "", "ignored where the document allows no overrides");
  });
}
