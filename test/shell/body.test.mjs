// Bodies that are kept while they are sent: what is sent again is what the client sent.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Body } from "../../worker/shell/body.ts";
import { budget, heldBytes } from "../../worker/shell/budget.ts";
import { Edit } from "../../worker/shell/core.ts";

// workerd's, as far as they matter here.
globalThis.IdentityTransformStream = TransformStream;
globalThis.FixedLengthStream = class extends TransformStream {
  constructor() {
    super();
  }
};

const chunk = (i) => new Uint8Array(1 << 15).fill(i);

/** A request that sends so many chunks of 32 KiB, with or without telling its length beforehand. */
function request(chunks, { known = false, fail = false, method = "POST" } = {}) {
  let i = 0;
  const body = new ReadableStream({
    type: "bytes",
    pull(to) {
      if (i < chunks) return to.enqueue(chunk(i++));
      if (fail) return to.error(new Error("gone"));
      to.close();
      to.byobRequest?.respond(0);
    },
  });
  const headers = new Headers(known ? { "content-length": String(chunks << 15) } : {});
  return { body, headers, method, arrayBuffer: () => new Response(body).arrayBuffer() };
}

const read = async (body) => Buffer.from(await new Response(body).arrayBuffer());
const sent = (chunks) => Buffer.concat(Array.from({ length: chunks }, (_, i) => chunk(i)));
const send = (body) => body.send({}, Edit.none, "");

for (const known of [false, true]) {
  for (const chunks of [1, 2, 3, 32]) {
    test(`${chunks} chunks, length known: ${known}`, async () => {
      const body = new Body(request(chunks, { known }));
      body.keep(1 << 20);
      assert.deepEqual(await read(await send(body)), sent(chunks));
      assert.equal(await body.resendable(), true);
      assert.deepEqual(await read(await send(body)), sent(chunks));
      body.release();
      assert.equal(await body.resendable(), false);
      const all = {};
      assert.equal(budget.take(all, heldBytes, Date.now()), true, "all is given back");
      budget.give(all);
    });
  }
  test(`more than is kept passes, but once, length known: ${known}`, async () => {
    const body = new Body(request(33, { known }));
    body.keep(1 << 20);
    assert.deepEqual(await read(await send(body)), sent(33));
    assert.equal(await body.resendable(), false);
  });
}

test("what has not been sent when the target fails is awaited", async () => {
  const body = new Body(request(20));
  body.keep(1 << 20);
  const reader = (await send(body)).getReader();
  await reader.read();
  await reader.cancel();
  assert.equal(await body.resendable(), true);
  assert.deepEqual(await read(await send(body)), sent(20));
  body.release();
});

test("a client that goes away cannot be resent for", async () => {
  const body = new Body(request(3, { fail: true }));
  body.keep(1 << 20);
  await assert.rejects(read(await send(body)));
  assert.equal(await body.resendable(), false);
  body.release();
});

test("without room the body passes and is not kept", async () => {
  const others = {};
  budget.take(others, heldBytes - 100_000, Date.now());
  const body = new Body(request(20));
  body.keep(1 << 20);
  assert.deepEqual(await read(await send(body)), sent(20));
  assert.equal(await body.resendable(), false);
  budget.give(others);
});

test("without room the search for a version ends, and the body passes whole", async () => {
  const others = {};
  budget.take(others, heldBytes - 100_000, Date.now());
  const body = new Body(request(20));
  const finder = { push: () => 0, version: "", close() {} };
  assert.equal(await body.find({ finder: () => finder }), "no-memory");
  assert.deepEqual(await read(await send(body)), sent(20));
  body.release();
  budget.give(others);
});

test("a body that nobody keeps is the request's own stream", async () => {
  const from = request(3);
  const body = new Body(from);
  assert.equal(await send(body), from.body);
  assert.equal(await body.resendable(), false);
});

test("none at all can be sent as often as one likes", async () => {
  const body = new Body({ body: null, headers: new Headers(), method: "GET" });
  body.keep(1 << 20);
  assert.equal(await send(body), null);
  assert.equal(await body.resendable(), true);
});
