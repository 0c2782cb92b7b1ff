// Event streams: however they are cut into chunks, only whole events go out.
import assert from "node:assert/strict";
import { test } from "node:test";
import { passEvents } from "../../worker/shell/events.ts";
import { Events, Listener, maxEventBytes } from "../../worker/shell/sse.ts";

const bytes = (text) => new TextEncoder().encode(text);
const text = (pieces) => new TextDecoder().decode(Buffer.concat(pieces));

for (const [name, stream, whole] of [
  ["line feeds", "id: 1\ndata: a\n\ndata: b\n\ndata: c", "id: 1\ndata: a\n\ndata: b\n\n"],
  ["carriage returns", "data: a\r\rdata: b", "data: a\r\r"],
  ["both", "data: a\r\n\r\ndata: b\r\n", "data: a\r\n\r\n"],
  ["mixed", "data: a\n\r\ndata: b\r\n\rdata: c\n", "data: a\n\r\ndata: b\r\n\r"],
  ["empty lines only", "\n\n\n", "\n\n\n"],
  ["a comment", ":408:\n\ndata", ":408:\n\n"],
  ["a line that is not empty", "data: a\n \n", ""],
  ["no line", "data", ""],
  ["letters of many bytes", "data: €\n\ndata: €", "data: €\n\n"],
]) {
  test(`whole events: ${name}`, () => {
    const all = bytes(stream);
    for (let size = 1; size <= all.length; size++) {
      const events = new Events();
      const out = [];
      for (let i = 0; i < all.length; i += size) out.push(...events.push(all.slice(i, i + size)));
      const end = text(out);
      // A line feed may still belong to the carriage return before it.
      assert.equal(end, size === 1 || end.length <= whole.length ? whole.slice(0, end.length) : whole, `by ${size}`);
      assert.equal(end + text(events.take()), stream, "nothing is lost");
      assert.ok(whole.startsWith(end) && whole.slice(end.length).trim() === "", `by ${size}: ${JSON.stringify(end)}`);
      assert.equal(events.isAmidEvent, false);
    }
  });
}

test("an event that is too large passes as it comes, and the next one is held again", () => {
  const events = new Events();
  const part = bytes("x".repeat(1 << 16));
  let passed = 0;
  for (let i = 0; i < 8; i++) for (const piece of events.push(part)) passed += piece.length;
  assert.equal(passed, 8 * part.length);
  assert.ok(maxEventBytes < passed);
  assert.equal(events.isAmidEvent, true);
  assert.equal(text(events.push(bytes("end\n\ndata: half"))), "end\n\n");
  assert.equal(events.isAmidEvent, false);
  assert.deepEqual(events.push(bytes(" an event")), []);
  assert.equal(events.isHolding, true);
});

test("a listener tells how a prediction ended, and how fast its events came", () => {
  for (const [name, stream, want] of [
    ["done", "event: done\ndata: {}\n\n", ["succeeded", true]],
    ["canceled", 'event: done\ndata: {"reason": "canceled"}\n\n', ["canceled", true]],
    ["error", 'event: error\ndata: {"detail":"x"}\n\nevent: done\ndata: {"reason": "error"}\n\n', ["failed", true]],
    ["an error and no reason", "event: error\ndata: x\n\nevent: done\ndata: {}\n\n", ["failed", true]],
    ["junk", "event: done\ndata: {\n\n", ["succeeded", true]],
    ["nothing", "data: a\n\n", ["", false]],
  ]) {
    const listener = new Listener();
    listener.hear(bytes(stream), 1_000);
    assert.deepEqual([listener.ended, listener.done], want, name);
  }
  const listener = new Listener();
  listener.hear(bytes(": hello\n\n"), 1_000);
  assert.equal(listener.firstOutputAt, 0, "a comment is no output");
  listener.hear(bytes("event: output\ndata: a\n\n"), 2_000);
  listener.hear(bytes("event: output\ndata: b\n\nevent: output\ndata: c\n\n"), 3_000);
  listener.hear(bytes("event: done\ndata: {}\n\n"), 9_000);
  assert.equal(listener.firstOutputAt, 2_000);
  assert.equal(listener.eventsPerSecond, 2, "three events, two of them in one second after the first");
  listener.hear(bytes(":408:\n\n"), 9_000);
  assert.equal(listener.isIdle, true);
});

/** What comes of a stream of these chunks; an Error breaks it, a promise is awaited. */
async function passed(chunks, more = {}) {
  const ends = [];
  const from = new ReadableStream({
    async pull(to) {
      const next = await chunks.shift();
      if (next === undefined) to.close();
      else if (next instanceof Error) to.error(next);
      else to.enqueue(bytes(next));
    },
  });
  const terms = { idleMS: 60_000, detail: "it broke", needsDone: false, stop() {}, ended: (end) => ends.push(end.how) };
  const out = [];
  let error;
  try {
    for await (const chunk of passEvents(from, { ...terms, ...more })) out.push(chunk);
  } catch (caught) {
    error = caught;
  }
  return { out: text(out), ends, error };
}

const broke = 'event: error\ndata: {"detail":"it broke"}\n\n';
for (const [name, chunks, want, end, more] of [
  ["whole", ["data: a\n", "\ndata: b\n\n"], "data: a\n\ndata: b\n\n", "whole"],
  ["without the last empty line", ["data: a\n\ndata: [DONE]\n"], "data: a\n\ndata: [DONE]\n", "whole"],
  ["ended within a line", ["data: a\n\ndata: b"], "data: a\n\n" + broke, "cut"],
  ["broken between events", ["data: a\n\n", new Error("reset")], "data: a\n\n" + broke, "cut"],
  ["broken within an event", ["data: a\n\ndata: b\n", new Error("reset")], "data: a\n\n" + broke, "cut"],
  ["broken before the first", [new Error("reset")], broke, "cut"],
  ["no done where there must be one", ["data: a\n\n"], "data: a\n\n" + broke, "cut", { needsDone: true }],
  ["done", ["event: done\ndata: {}\n\n"], "event: done\ndata: {}\n\n", "whole", { needsDone: true }],
  ["idle, as the upstream says", ["data: a\n\n:408:\n\n"], "data: a\n\n:408:\n\n", "whole", { needsDone: true }],
  ["empty", [], "", "whole"],
]) {
  test(`a stream: ${name}`, async () => {
    const { out, ends, error } = await passed([...chunks], more);
    assert.equal(error, undefined);
    assert.equal(out, want);
    assert.deepEqual(ends, [end]);
  });
}

test("a stream that breaks within an event that has partly gone out breaks too", async () => {
  const { out, ends, error } = await passed(["data: " + "x".repeat(maxEventBytes), new Error("reset")]);
  assert.equal(out.length, maxEventBytes + 6);
  assert.match(error.message, /it broke/);
  assert.deepEqual(ends, ["cut"]);
});

test("a stream that stalls is stopped, and ends with an error event", async () => {
  let stopped;
  const silence = new Promise((_, reject) => (stopped = () => reject(new Error("aborted"))));
  const { out, ends } = await passed(["data: a\n\n", silence], { idleMS: 20, stop: stopped });
  assert.equal(out, "data: a\n\n" + broke);
  assert.deepEqual(ends, ["cut"]);
});

test("a client that goes away ends the reading", async () => {
  const ends = [];
  let cancelled;
  const from = new ReadableStream({ pull: (to) => to.enqueue(bytes("data: a\n\n")), cancel: () => (cancelled = true) });
  const terms = { idleMS: 60_000, detail: "", needsDone: false, stop() {}, ended: (end) => ends.push(end.how) };
  const reader = passEvents(from, terms).getReader();
  await reader.read();
  await reader.cancel();
  assert.equal(cancelled, true);
  assert.deepEqual(ends, ["gone"]);
});
