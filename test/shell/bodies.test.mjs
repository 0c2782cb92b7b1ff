// The core's body calls as the shell makes them: the cases of package prediction
// through WebAssembly, frames and fill.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import "./wasm_modules.mjs";

const { WasmCore } = await import("../../worker/shell/wasm.ts");
const { Edit, Search, Shape, SlotKind, wholeBytes } = await import("../../worker/shell/core.ts");
const { fill } = await import("../../worker/shell/frames.ts");

const core = new WasmCore();
const encoder = new TextEncoder();
const bytes = (text) => (typeof text === "string" ? encoder.encode(text) : text);
const text = (pieces) => Buffer.concat(pieces).toString();
const squeeze = (text) => text.replace(/\s/g, "");

/** The scenarios of a file. */
function scenarios(name) {
  const file = readFileSync(new URL(`../../worker/prediction/testdata/${name}`, import.meta.url), "utf8");
  const found = file.split(/\n\n+/).flatMap((part) => {
    const lines = part.trim().split("\n");
    const field = (prefix) => lines.find((line) => line.startsWith(prefix))?.slice(prefix.length);
    const pad = "x".repeat(Number(field("pad: ") ?? 0));
    const plain = (text) => (text?.startsWith('"') ? JSON.parse(text) : text)?.replaceAll("PAD", pad);
    const { intent, body, want } = { intent: field("# "), body: plain(field("body: ")), want: plain(field("-> ")) };
    const isWhole = body !== undefined && want !== undefined; // but for cases without a body
    return isWhole
      ? [{ intent, body, want, version: plain(field("version: ")) ?? "", shape: Number(field("shape: ")) }]
      : [];
  });
  assert.ok(found.length > 10, `${name} has ${found.length} scenarios`);
  return found;
}

/** A body in pieces of so many bytes. */
function pieces(body, size) {
  const all = bytes(body);
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
}

const sizes = [1, 3, 50, 1 << 20];
const isSlot = (frame) => !(frame instanceof Uint8Array);

/** The bytes of frames, each slot filled with what to makes of it. */
const filled = (frames, to) => frames.map((frame) => (isSlot(frame) ? to(frame) : frame));

/** Shows a slot as the scenarios do. */
function marked({ kind, value, comma }) {
  const mark = `<${kind} ${comma ? "," : ""}${value}>`;
  return bytes(kind < SlotKind.tail ? JSON.stringify(mark).replaceAll("\\u0000", "\0") : mark);
}
const unchanged = (slot) => fill(slot, slot.value);

for (const { intent, body, want } of scenarios("find.txt")) {
  test(`find: ${intent}`, () => {
    for (const size of sizes) {
      const finder = core.finder();
      for (const piece of pieces(body, size)) finder.push(piece);
      const search = ["searching", `found ${finder.version}`, "absent", "duplicate", "malformed"][finder.close()];
      assert.equal(search.trimEnd(), want);
      assert.equal(finder.close(), finder.push(bytes("{")), "closed twice, and pushed on");
    }
    const { version, fault } = core.findWhole(bytes(body));
    const said = { duplicate: "duplicate-key", malformed: "malformed" }[want] ?? "";
    assert.deepEqual({ version, fault }, { version: want.startsWith("found ") ? want.slice(6) : "", fault: said });
  });
}

function edited(body, edits, size, to) {
  const editor = core.editor(edits);
  const out = pieces(body, size).map((piece) => text(filled(editor.push(piece), to)));
  out.push(text(filled(editor.close(), to)));
  assert.deepEqual(editor.close(), []);
  return out.join("");
}

function checkEdit(body, edits, want) {
  for (const size of sizes) {
    const got = edited(body, edits, size, marked);
    assert.equal(size === 1 << 20 ? got : squeeze(got), size === 1 << 20 ? want : squeeze(want));
  }
  const { frames, fault } = core.editWhole(bytes(body), edits);
  if (fault) assert.deepEqual(frames, []);
  else assert.equal(text(filled(frames, marked)), want);
}

for (const { intent, body, version, want } of scenarios("edit.txt")) {
  const edits = { edit: version ? Edit.set : Edit.remove, version, webhook: false };
  test(`edit: ${intent}`, () => checkEdit(body, edits, want));
}

for (const { intent, body, version, want } of scenarios("webhook.txt")) {
  const edits = { edit: version ? Edit.set : Edit.none, version, webhook: true };
  test(`webhook: ${intent}`, () => {
    checkEdit(body, edits, want);
    const { frames, fault } = core.editWhole(bytes(body), edits);
    if (fault) return;
    const before = JSON.parse(body);
    if (version) before.version = version;
    assert.deepEqual(JSON.parse(text(filled(frames, unchanged))), before, "what was taken out is put back");
    if (!frames.some(isSlot)) return;
    const none = JSON.parse(text(filled(frames, (slot) => fill(slot, "{}"))));
    const tail = frames.find(isSlot);
    for (const name of Object.keys(JSON.parse(tail.value))) assert.ok(!(name in none), name);
    const own = JSON.parse(text(filled(frames, (slot) => fill(slot, '{"perch": 1}'))));
    assert.deepEqual(own, { ...none, perch: 1 });
  });
}

for (const { intent, body, shape, want } of scenarios("answer.txt")) {
  test(`answer: ${intent}`, () => {
    for (const size of sizes) {
      const answer = core.answer(shape);
      const frames = pieces(body, size).flatMap((piece) => answer.push(piece));
      frames.push(...answer.close());
      assert.deepEqual(answer.close(), []);
      assert.equal(text(filled(frames, marked)), want);
      assert.equal(text(filled(frames, unchanged)), body);
    }
    if (bytes(body).length > wholeBytes) return;
    const { frames } = core.answerWhole(shape, bytes(body));
    assert.equal(text(filled(frames, marked)), want);
    assert.equal(text(filled(frames, unchanged)), body);
  });
}

const nothing = {
  id: "",
  status: "",
  version: "",
  model: "",
  deployment: "",
  error: "",
  hasOutput: false,
  webhook: "",
};
Object.assign(nothing, { predictMS: 0, totalMS: 0, createdAtMS: 0, startedAtMS: 0, completedAtMS: 0 });

test("facts of a prediction, early, in the end and at once", () => {
  const body = `{"id":"a","status":"processing","error":"\\n\\u0000é","output":[1],"metrics":{"predict_time":1.5},"created_at":"1970-01-01T00:00:01Z"}`;
  const answer = core.answer(Shape.prediction);
  answer.push(bytes(body.slice(0, 40)));
  assert.deepEqual(answer.facts(), { ...nothing, id: "a", status: "processing" });
  answer.push(bytes(body.slice(40)));
  answer.close();
  const facts = {
    ...nothing,
    id: "a",
    status: "processing",
    error: "\n\0é",
    hasOutput: true,
    predictMS: 1500,
    createdAtMS: 1000,
  };
  assert.deepEqual(answer.facts(), facts);
  assert.deepEqual(core.answerWhole(Shape.prediction, bytes(body)).facts, facts);
  assert.deepEqual(core.answerWhole(Shape.prediction, bytes(body + "}")).facts, nothing);
});

test("facts of a list, once each", () => {
  const body = `{"results":[{"id":"a"},{"id":"b"}],"next":"n"}`;
  const listed = ["a", "b"].map((id) => ({ ...nothing, id }));
  const answer = core.answer(Shape.predictions);
  answer.push(bytes(body.slice(0, 30)));
  assert.deepEqual(answer.listed(), listed.slice(0, 1));
  answer.push(bytes(body.slice(30)));
  answer.close();
  assert.deepEqual(answer.listed(), listed.slice(1));
  assert.deepEqual(answer.listed(), []);
  assert.deepEqual(core.answerWhole(Shape.predictions, bytes(body)).listed, listed);
});

test("how a prediction ended", () => {
  assert.equal(core.ended({ ...nothing, status: "processing", hasOutput: true }, 201, true), "succeeded");
  assert.equal(core.ended({ ...nothing, status: "processing", hasOutput: true, error: "x" }, 201, true), "");
  assert.equal(core.ended({ ...nothing, status: "processing", hasOutput: true }, 200, false), "");
  assert.equal(core.ended({ ...nothing, status: "aborted" }, 200, false), "aborted");
});

test("chunks larger than the core's input go through whole", () => {
  const large = `{"input":{"image":"${"abc".repeat(100_000)}"},"id":"x","webhook":"w","version":"old"}`;
  const edits = { edit: Edit.set, version: "v", webhook: true };
  const want = { ...JSON.parse(large), version: "v" };
  assert.deepEqual(JSON.parse(edited(large, edits, 1 << 20, unchanged)), want);
  const answer = core.answer(Shape.prediction);
  const frames = [...answer.push(bytes(large)), ...answer.close()];
  assert.equal(text(filled(frames, unchanged)), large);
  assert.deepEqual(
    frames.filter(isSlot).map(({ value }) => value),
    ["x", "w"],
  );
  const finder = core.finder();
  assert.equal(finder.push(bytes(large)), Search.found);
  assert.equal(finder.version, "old");
  assert.equal(finder.close(), Search.found);
});

test("what passes is not copied", () => {
  const answer = core.answer(Shape.prediction);
  const chunk = bytes(`{"output":"${"x".repeat(10_000)}`);
  const [frame, ...rest] = answer.push(chunk);
  assert.equal(frame.buffer, chunk.buffer);
  assert.equal(frame.length, chunk.length);
  assert.deepEqual(rest, []);
  answer.close();
});

test("invalid UTF-8 and a byte order mark come back as they were written", () => {
  for (const raw of [[0xff], [0xe2, 0x82], [0xef, 0xbb, 0xbf], [0xed, 0xa0, 0x80]]) {
    const value = [0x22, ...raw, 0x22];
    const body = Uint8Array.from([...bytes('{"id":'), ...value, ...bytes(',"webhook":'), ...value, 0x7d]);
    const { frames } = core.answerWhole(Shape.prediction, body);
    assert.deepEqual(Buffer.concat(filled(frames, unchanged)), Buffer.from(body));
    const taken = core.editWhole(body, { edit: Edit.none, version: "", webhook: true }).frames;
    assert.deepEqual(Buffer.concat(filled(taken, unchanged)), Buffer.from(body));
  }
});

test("a slot takes any text, and null", () => {
  const slot = { kind: SlotKind.webhook, value: "old" };
  for (const value of ["", "new", 'a"b\\c\n\u0001', "é😀\u2028", null]) {
    assert.equal(JSON.parse(text([fill(slot, value)])), value);
  }
});
