// The worker's seals against the vectors that the Go package is held to.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { maxSealBytes, Refused, seal, unseal } from "../../worker/shell/seal.ts";

const vectors = JSON.parse(readFileSync(new URL("../../shared/seal/testdata/vectors.json", import.meta.url), "utf8"));
const env = ([current, previous]) => ({ PERCH_SEAL_KEY: current, PERCH_SEAL_KEY_PREVIOUS: previous });
const logged = [];
console.log = (line) => logged.push(line);

assert.ok(vectors.length > 20);
for (const { name, keys, now, purpose, text, context, refused } of vectors) {
  test(name, async () => {
    const opened = unseal(env(keys), text, purpose, now);
    if (refused) {
      await assert.rejects(opened, (error) => {
        assert.ok(error instanceof Refused);
        assert.equal(error.refusal, refused);
        for (const key of keys) assert.ok(!error.message.includes(key));
        return true;
      });
      return;
    }
    assert.deepEqual(await opened, context);
    const again = await Promise.all(keys.map((key) => seal(env([key]), context)));
    assert.deepEqual(
      again.map((sealed) => sealed === text),
      again.map((sealed) => sealed.split(".")[1] === text.split(".")[1]),
    );
    assert.ok(again.includes(text));
  });
}

test("without a key nothing is sealed, and that is logged once", async () => {
  logged.length = 0;
  assert.equal(await seal({}, { p: "at" }), undefined);
  assert.equal(await seal({ PERCH_SEAL_KEY: "" }, { p: "at" }), undefined);
  assert.equal(logged.length, 1);
});

test("a broken key is not used, and neither logged nor imported again", async () => {
  logged.length = 0;
  const broken = { PERCH_SEAL_KEY: "bm90IDMyIGJ5dGVz", PERCH_SEAL_KEY_PREVIOUS: vectors[0].keys[0] };
  assert.equal(await seal(broken, { p: "at" }), undefined);
  assert.equal(await seal(broken, { p: "at" }), undefined);
  assert.equal(logged.length, 1);
  assert.ok(!logged[0].includes(broken.PERCH_SEAL_KEY));
  const { text, purpose, now, context } = vectors[0];
  assert.deepEqual(await unseal(broken, text, purpose, now), context);
});

test("a context that is too large is not sealed", async () => {
  const keys = env(vectors[0].keys);
  assert.equal(await seal(keys, { p: "at", l: "x".repeat(maxSealBytes) }), undefined);
  assert.ok((await seal(keys, { p: "at", l: "x".repeat(maxSealBytes / 2) })).length < maxSealBytes);
});

test("empty fields are left out, as the Go package does", async () => {
  const keys = env(vectors[0].keys);
  const bare = vectors.find(({ name }) => name === "only the purpose");
  assert.equal(await seal(keys, { ...bare.context, s: "", t: 0, f: [], n: undefined }), bare.text);
});
