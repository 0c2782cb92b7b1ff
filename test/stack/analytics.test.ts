import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Analytics, type PostedPoint } from "./analytics.ts";

const bytes = (text: string) => [...Buffer.from(text)];

let analytics: Analytics;

beforeEach(async () => {
  analytics = await Analytics.open({ lag_ms: 0, sample: 1, down: false }, () => {});
});

afterEach(() => analytics.close());

function write(count: number, fields: Partial<PostedPoint> = {}): void {
  for (let i = 0; i < count; i++) {
    analytics.write({
      dataset: bytes("requests"),
      timestamp: `${Date.now()}000000`,
      blob1: bytes("a"),
      double1: 1,
      ...fields,
    });
  }
}

async function one(sql: string, nowMs = Date.now()): Promise<Record<string, unknown>> {
  return (await analytics.query(sql, nowMs)).data[0]!;
}

test("a lag hides points younger than it", async () => {
  write(5);
  analytics.settings.lag_ms = 60_000;
  const now = Date.now();
  assert.deepEqual(await one("SELECT count() AS n FROM requests", now), { n: "0" });
  await assert.rejects(
    analytics.query("SELECT sum(double1) AS s FROM requests", now),
    /unable to find type of column: double1/,
  );
  assert.deepEqual(await one("SELECT count() AS n FROM requests", now + 60_001), { n: "5" });
});

test("sampling keeps about one point in N of each index and says so in _sample_interval", async () => {
  write(8_000, { index1: bytes("big") });
  write(2_000, { index1: bytes("small") });
  analytics.settings.sample = 10;
  const sql = `SELECT index1 AS i, count() AS n, sum(_sample_interval) AS all, min(_sample_interval) AS w
    FROM requests GROUP BY i ORDER BY i`;
  const { data } = await analytics.query(sql);
  assert.deepEqual(
    data.map((row) => row.i),
    ["big", "small"],
  );
  // Binomial bounds, five standard deviations wide.
  const bounds: [number, number][] = [
    [800 - 134, 800 + 134],
    [200 - 67, 200 + 67],
  ];
  data.forEach((row, k) => {
    const kept = Number(row.n);
    assert.ok(kept > bounds[k]![0] && kept < bounds[k]![1], `${row.i}: ${kept} kept`);
    assert.equal(Number(row.all), kept * 10);
    assert.equal(row.w, 10);
  });
  assert.deepEqual(await analytics.query(sql), { ...(await analytics.query(sql)), data });
});

test("timestamps have whole seconds", async () => {
  write(1, { timestamp: "1700000000999999999" });
  assert.deepEqual(await one("SELECT timestamp AS t FROM requests"), { t: "2023-11-14 22:13:20" });
});

test("what a query sees includes every point written before it", async () => {
  for (let round = 1; round <= 20; round++) {
    write(50);
    assert.deepEqual(await one("SELECT count() AS n FROM requests"), { n: String(round * 50) });
  }
});

test("quantiles are answered while points arrive", async () => {
  write(20_000);
  const sql = "SELECT quantileExactWeighted(0.5)(double1, _sample_interval) AS q FROM requests";
  for (let round = 0; round < 20; round++) {
    const asked = [one(sql), one(sql)];
    let answered = false;
    void Promise.all(asked).then(() => (answered = true));
    // Appending blocks this thread, where a running query computes its quantile.
    do {
      write(10);
      await analytics.flush();
      await setImmediate();
    } while (!answered);
    assert.deepEqual(await Promise.all(asked), [{ q: 1 }, { q: 1 }]);
  }
});
