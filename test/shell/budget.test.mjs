// What is held of requests' bodies is bounded, whatever becomes of the requests.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Budget } from "../../worker/shell/budget.ts";

test("holders take until nothing is left, and give back all", () => {
  const budget = new Budget(100);
  const [a, b] = [{}, {}];
  assert.equal(budget.take(a, 60, 0), true);
  assert.equal(budget.take(b, 60, 0), false);
  assert.equal(budget.take(b, 40, 0), true);
  assert.equal(budget.take(a, 1, 0), false);
  budget.give(a);
  assert.equal(budget.take(b, 60, 0), true);
  budget.give(b);
  budget.give(b);
  assert.equal(budget.take(a, 101, 0), false);
  assert.equal(budget.take(a, 100, 0), true);
});

test("what a vanished request held comes back after ten minutes", () => {
  const budget = new Budget(100);
  budget.take({}, 100, 0);
  assert.equal(budget.take({}, 100, 599_999), false);
  assert.equal(budget.take({}, 100, 600_000), true);
});
