// Holds the bodies' search and edit in JavaScript to the scenarios of package
// worker/prediction: a benchmark against something that does less says nothing.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { endedOf, JavaScriptAnswer, nothingKnown } from "./jsanswer.ts";
import { JavaScriptEditor, JavaScriptFinder } from "./jsbody.ts";
import { digest, xxhash64 } from "./xxhash64.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The scenarios of a file: sentence of intent, fields, outcome. */
function scenarios(name) {
  const text = readFileSync(new URL(`../../worker/prediction/testdata/${name}`, import.meta.url), "utf8");
  const cases = text.split(/\n\n+/).map((part) => {
    const lines = part.trim().split("\n");
    const field = (prefix) => lines.find((line) => line.startsWith(prefix))?.slice(prefix.length);
    const pad = "x".repeat(Number(field("pad: ") ?? 0));
    const plain = (text) => (text?.startsWith('"') ? JSON.parse(text) : text)?.replaceAll("PAD", pad);
    return {
      intent: field("# "),
      body: plain(field("body: ")),
      version: plain(field("version: ")) ?? "",
      shape: Number(field("shape: ") ?? 0),
      want: plain(field("-> ")),
    };
  });
  const found = cases.filter(({ body, want }) => body !== undefined && want !== undefined);
  assert.ok(found.length > 10, `${name} has ${found.length} scenarios`);
  return found;
}

/** A body in pieces of so many bytes. */
function* pieces(body, size) {
  const bytes = encoder.encode(body);
  for (let i = 0; i < bytes.length; i += size) yield bytes.subarray(i, i + size);
}

for (const { intent, body, want } of scenarios("find.txt")) {
  for (const size of [1, 3, 1 << 20]) {
    test(`find, ${size} bytes at a time: ${intent}`, () => {
      const finder = new JavaScriptFinder();
      for (const piece of pieces(body, size)) finder.push(piece);
      const got = ["searching", `found ${finder.version}`, "absent", "duplicate", "malformed"][finder.close()];
      assert.equal(got.trimEnd(), want);
    });
  }
}

for (const { intent, body, version, want } of scenarios("edit.txt")) {
  for (const size of [1, 3, 1 << 20]) {
    test(`edit, ${size} bytes at a time: ${intent}`, () => {
      const editor = new JavaScriptEditor(version);
      const out = [...pieces(body, size)].map((piece) => decoder.decode(editor.push(piece)));
      const got = out.join("") + decoder.decode(editor.close());
      // White space between members may go where a piece ends in it.
      const squeeze = (text) => (size === 1 << 20 ? text : text.replace(/\s/g, ""));
      assert.equal(squeeze(got), squeeze(want));
    });
  }
}

for (const { intent, body, want, shape } of scenarios("answer.txt")) {
  if (shape !== 1) continue;
  test(`answer: ${intent}`, () => {
    const { frames } = new JavaScriptAnswer(encoder.encode(body));
    const shown = ({ kind, value }) => JSON.stringify(`<${kind} ${value}>`).replaceAll("\\u0000", "\0");
    const got = frames.map((frame) => (frame instanceof Uint8Array ? decoder.decode(frame) : shown(frame)));
    assert.equal(got.join(""), want);
  });
}

test("what an answer tells", () => {
  const body = `{"id":"a","version":"v","status":"processing","error":null,"output":["o"],"created_at":"2023-09-08T16:19:34.765994Z",
    "started_at":"2023-09-08T16:19:34.779176Z","metrics":{"predict_time":0.012683,"total_time":1.5},"urls":{"get":"u"},"input":{"id":"no"}}`;
  const { facts } = new JavaScriptAnswer(encoder.encode(body));
  const times = { createdAtMS: 1694189974765, startedAtMS: 1694189974779, predictMS: 13, totalMS: 1500 };
  assert.deepEqual(facts, { ...nothingKnown, id: "a", version: "v", status: "processing", hasOutput: true, ...times });
  assert.equal(endedOf(facts, 201, true), "succeeded");
  assert.equal(endedOf(facts, 200, false), "");
  assert.deepEqual(new JavaScriptAnswer(encoder.encode(body + "}")).facts, nothingKnown);
});

// Vectors of the reference implementation, seed 0.
for (const [text, want] of [
  ["", "ef46db3751d8e999"],
  ["a", "d24ec4f1a98c6e5b"],
  ["abc", "44bc2cf5ad770999"],
  ["Nobody inspects the spammish repetition", "fbcea83c8a378bf1"],
]) {
  test(`xxhash64 of ${JSON.stringify(text)}`, () => {
    xxhash64(text);
    const hex = (n) => n.toString(16).padStart(8, "0");
    assert.equal(hex(digest.high) + hex(digest.low), want);
  });
}
