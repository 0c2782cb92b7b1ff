import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { KvError, Namespace, Store } from "./kv.ts";
import { PlaceCache } from "./kv_binding.ts";

beforeEach(() => mock.timers.enable({ apis: ["Date"], now: 1_800_000_000_000 }));
afterEach(() => mock.timers.reset());

const value = (text: string) => Buffer.from(text);
const text = (cache: PlaceCache, key: string, ttl?: number) => cache.get(key, ttl)?.value.toString();
const refusedWith = (status: number) => (error: unknown) => error instanceof KvError && error.status === status;

const limits: { name: string; key: string; bytes: number; metadata?: string; status?: number }[] = [
  { name: "a key of 512 bytes", key: "é".repeat(256), bytes: 1 },
  { name: "a key of 513 bytes", key: "é".repeat(256) + "x", bytes: 1, status: 414 },
  { name: "an empty key", key: "", bytes: 1, status: 400 },
  { name: "a value of 25 MiB", key: "k", bytes: 25 * 1024 * 1024 },
  { name: "a value of a byte more", key: "k", bytes: 25 * 1024 * 1024 + 1, status: 413 },
  { name: "metadata of 1024 bytes", key: "k", bytes: 1, metadata: JSON.stringify("x".repeat(1022)) },
  { name: "metadata of 1025 bytes", key: "k", bytes: 1, metadata: JSON.stringify("x".repeat(1023)), status: 413 },
  { name: "metadata that is no JSON", key: "k", bytes: 1, metadata: "{", status: 400 },
];

for (const { name, key, bytes, metadata, status } of limits) {
  test(`${status ? "refuses" : "takes"} ${name}`, () => {
    const namespace = new Namespace("id", "title", 1);
    const put = () => namespace.put(key, Buffer.alloc(bytes), metadata === undefined ? {} : { metadata });
    if (status) assert.throws(put, refusedWith(status));
    else assert.doesNotThrow(put);
  });
}

test("a key takes one write a second, other keys are free", () => {
  const namespace = new Namespace("id", "title", 1);
  namespace.put("a", value("1"));
  namespace.put("b", value("1"));
  mock.timers.tick(999);
  assert.throws(() => namespace.put("a", value("2")), refusedWith(429));
  assert.throws(() => namespace.delete("a"), refusedWith(429));
  mock.timers.tick(1);
  namespace.put("a", value("2"));
  assert.equal(namespace.get("a")!.value.toString(), "2");
});

test("the time scale shortens the second between writes", () => {
  const namespace = new Namespace("id", "title", 10);
  namespace.put("a", value("1"));
  mock.timers.tick(100);
  assert.doesNotThrow(() => namespace.put("a", value("2")));
});

test("a value with a time to live ends", () => {
  const namespace = new Namespace("id", "title", 1);
  namespace.put("a", value("1"), { ttl: 60 });
  assert.throws(() => namespace.put("b", value("1"), { ttl: 59 }), refusedWith(400));
  mock.timers.tick(59_999);
  assert.ok(namespace.get("a"));
  mock.timers.tick(1);
  assert.equal(namespace.get("a"), undefined);
});

test("a place believes what it read for the cacheTtl, and absence too", () => {
  const namespace = new Namespace("id", "title", 1);
  const [here, there] = [new PlaceCache(namespace, 1), new PlaceCache(namespace, 1)];
  assert.equal(text(here, "k", 30), undefined);
  namespace.put("k", value("1"));
  assert.equal(text(here, "k", 30), undefined, "absence is cached");
  assert.equal(text(there, "k", 30), "1", "the other place had not read it");
  mock.timers.tick(29_999);
  assert.equal(text(here, "k", 30), undefined);
  mock.timers.tick(1);
  assert.equal(text(here, "k", 30), "1");
  namespace.put("k", value("2"));
  mock.timers.tick(29_999);
  assert.equal(text(here, "k", 30), "1", "a read from the cache does not renew it");
});

test("a cacheTtl is 60 unless given, at least 30, and a shorter one counts at once", () => {
  const namespace = new Namespace("id", "title", 1);
  const place = new PlaceCache(namespace, 1);
  assert.throws(() => place.get("k", 29), refusedWith(400));
  assert.equal(text(place, "k"), undefined);
  namespace.put("k", value("1"));
  mock.timers.tick(59_999);
  assert.equal(text(place, "k"), undefined);
  assert.equal(text(place, "k", 30), "1");
});

test("the time scale shortens the cacheTtl", () => {
  const namespace = new Namespace("id", "title", 60);
  const place = new PlaceCache(namespace, 60);
  place.get("k", 30);
  namespace.put("k", value("1"));
  mock.timers.tick(500);
  assert.equal(text(place, "k", 30), "1");
});

test("a trip fails the n-th write and those after it, and persists the n-th only", () => {
  const store = new Store(1);
  store.faults.trip = { write: 2, persist: true, then: "hang" };
  assert.deepEqual(
    [1, 2, 3].map(() => store.nextWrite()),
    [
      { persist: true, answer: "ok" },
      { persist: true, answer: "hang" },
      { persist: false, answer: "hang" },
    ],
  );
  store.faults.trip = null;
  assert.deepEqual(store.nextWrite(), { persist: true, answer: "ok" });
});

test("keys are listed in order, by prefix, page by page", () => {
  const namespace = new Namespace("id", "title", 1);
  for (const key of ["b:2", "a:1", "b:1", "b:3"]) namespace.put(key, value("v"));
  const first = namespace.list("b:", 2, "");
  assert.deepEqual(first.keys, ["b:1", "b:2"]);
  const second = namespace.list("b:", 2, first.cursor);
  assert.deepEqual(second, { keys: ["b:3"], cursor: "" });
});
