import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Analytics, type PostedPoint } from "./analytics.ts";
import { quantileExactWeighted } from "./sql_functions.ts";
import { SqlError } from "./sql_error.ts";

const nowMs = Date.parse("2026-11-20T12:34:56.700Z");
const bytes = (text: string) => [...Buffer.from(text)];

let analytics: Analytics;

// Ten points a minute apart, the youngest now: blob1 is ok seven times and bad three times, double1 is 0 to 9.
before(async () => {
  analytics = await Analytics.open({ lag_ms: 0, sample: 1, down: false }, () => {});
  for (let i = 0; i < 10; i++) {
    const point: PostedPoint = {
      dataset: bytes("requests"),
      timestamp: `${nowMs - i * 60_000}000000`,
      index1: bytes(i % 2 ? "odd" : "even"),
      blob1: bytes(i < 3 ? "bad" : "ok"),
      blob2: bytes("Ümlaut"),
      double1: i,
      double2: i / 2,
    };
    analytics.write(point);
  }
});

after(() => analytics.close());

const answers: { name: string; sql: string; rows: unknown[] }[] = [
  { name: "a count is a 64-bit integer, so a string", sql: "SELECT count() AS n FROM requests", rows: [{ n: "10" }] },
  {
    name: "functions are found whatever their case",
    sql: "SELECT SUM(_sample_interval) AS n FROM requests",
    rows: [{ n: "10" }],
  },
  {
    name: "groups by an alias, filters groups, orders by the alias",
    sql: `SELECT blob1 AS outcome, count() AS n, avg(double1) AS mean FROM requests
          GROUP BY outcome HAVING n > 1 ORDER BY n DESC`,
    rows: [
      { outcome: "ok", n: "7", mean: 6 },
      { outcome: "bad", n: "3", mean: 1 },
    ],
  },
  {
    name: "an alias hides the column of its name",
    sql: `SELECT toStartOfInterval(timestamp, INTERVAL '1' HOUR) AS timestamp, count() AS n FROM requests
          GROUP BY timestamp ORDER BY timestamp`,
    rows: [{ timestamp: "2026-11-20 12:00:00", n: "10" }],
  },
  {
    name: "conditional aggregates",
    sql: `SELECT countIf(blob1 = 'bad') AS c, sumIf(double1, blob1 = 'bad') AS s, avgIf(double1, blob1 = 'none') AS a,
          sum(if(blob1 = 'ok', _sample_interval, 0)) AS i FROM requests`,
    rows: [{ c: "3", s: 3, a: null, i: "7" }],
  },
  {
    name: "a weighted quantile is a value that occurred",
    sql: "SELECT quantileExactWeighted(0.95)(double1, _sample_interval) AS p95 FROM requests",
    rows: [{ p95: 9 }],
  },
  {
    name: "argMin, argMax, topK and count(DISTINCT)",
    sql: `SELECT argMin(blob1, double1) AS lo, argMax(blob1, double1) AS hi, topK(1)(blob1) AS top,
          count(DISTINCT index1) AS d FROM requests`,
    rows: [{ lo: "bad", hi: "ok", top: ["ok"], d: "2" }],
  },
  {
    name: "a window of time",
    sql: "SELECT count() AS n FROM requests WHERE timestamp > now() - INTERVAL '3' MINUTE",
    rows: [{ n: "3" }],
  },
  {
    name: "a subquery joins two points by their group",
    sql: "SELECT sum(n) AS n FROM (SELECT index1, max(double1) AS n FROM requests GROUP BY index1)",
    rows: [{ n: 17 }],
  },
  {
    name: "operators: IN, BETWEEN, LIKE, NOT, precedence",
    sql: `SELECT count() AS n FROM requests WHERE blob1 IN ('ok', 'other') AND NOT double1 BETWEEN 3 AND 4
          AND blob1 NOT LIKE 'b%' AND (double1 < 6 OR double1 >= 9)`,
    rows: [{ n: "2" }],
  },
  {
    name: "times",
    sql: `SELECT now() AS n, toUnixTimestamp(toDateTime('2025-10-27 01:02:03')) AS u, toDateTime(355924804) AS e,
          toDateTime('355924804') AS t, toStartOfMinute(now()) AS m, toStartOfInterval(now(), INTERVAL '15' MINUTE) AS q`,
    rows: [
      {
        n: "2026-11-20 12:34:56",
        u: 1761526923,
        e: "1981-04-12 12:00:04",
        t: "1981-04-12 12:00:04",
        m: "2026-11-20 12:34:00",
        q: "2026-11-20 12:30:00",
      },
    ],
  },
  {
    name: "numbers: log is natural, / is of floats, division by zero is null",
    sql: `SELECT round(log(100), 3) AS l, pow(2, 10) AS p, 7 / 2 AS d, intDiv(7, 2) AS i, 7 % 4 AS m, 1 / 0 AS z,
          floor(2.7) AS f, ceil(3.14, 1) AS c, -2 AS n`,
    rows: [{ l: 4.605, p: 1024, d: 3.5, i: "3", m: "3", z: null, f: 2, c: 3.2, n: "-2" }],
  },
  {
    name: "strings",
    sql: `SELECT length(blob2) AS l, lowerUTF8(blob2) AS lo, toUpper('a') AS up, substring('hello', 2, 3) AS s,
          position('l' IN 'hello') AS p, startsWith('abc', 'ab') AS st, endsWith('abc', 'x') AS en, empty('') AS em,
          format('{}-{}', 'a', 3) AS f, 'it''s' AS q FROM requests LIMIT 1`,
    rows: [{ l: "6", lo: "ümlaut", up: "A", s: "ell", p: "3", st: 1, en: 0, em: 1, f: "a-3", q: "it's" }],
  },
  {
    name: "branches of if that are of several types of number",
    sql: "SELECT if(1 > 0, 1.5, -1) AS f, if(1 > 0, count(), 1) AS n, if(1 > 0, 7, 4294967296) AS m FROM requests",
    rows: [{ f: 1.5, n: "10", m: "7" }],
  },
  {
    name: "no rows without a column named is 0",
    sql: "SELECT count() AS n FROM requests WHERE blob1 = 'none'",
    rows: [{ n: "0" }],
  },
  { name: "FORMAT JSON, a semicolon, a comment", sql: "SELECT 1 AS one -- why not\n FORMAT JSON;", rows: [{ one: 1 }] },
];

for (const { name, sql, rows } of answers) {
  test(`answers: ${name}`, async () => {
    const answer = await analytics.query(sql, nowMs);
    assert.deepEqual(answer.data, rows);
    assert.equal(answer.rows, rows.length);
  });
}

const refusals: { name: string; sql: string; message: RegExp }[] = [
  { name: "an unknown function", sql: "SELECT log2(double1) FROM requests", message: /^unknown function: log2$/ },
  { name: "DuckDB's own functions", sql: "SELECT read_text('/etc/passwd')", message: /^unknown function: read_text$/ },
  { name: "a join", sql: "SELECT 1 FROM requests JOIN other", message: /^unsupported: JOIN/ },
  { name: "two tables", sql: "SELECT 1 FROM requests, other", message: /^unsupported: JOIN/ },
  { name: "a union", sql: "SELECT 1 UNION SELECT 2", message: /^unsupported: UNION$/ },
  { name: "a write", sql: "DELETE FROM requests", message: /expected SELECT, found DELETE/ },
  { name: "two statements", sql: "SELECT 1; SELECT 2", message: /expected end of statement/ },
  { name: "a data set never written", sql: "SELECT count() FROM nothing", message: /^unable to find type of column: / },
  {
    name: "a column that does not exist",
    sql: "SELECT bolb1 FROM requests",
    message: /^unable to find type of column: bolb1$/,
  },
  {
    name: "a blob never written",
    sql: "SELECT blob3 FROM requests",
    message: /^unable to find type of column: blob3$/,
  },
  {
    name: "a column where no row matches",
    sql: "SELECT sum(double1) AS s FROM requests WHERE blob1 = 'none'",
    message: /^unable to find type of column: double1$/,
  },
  {
    name: "ORDER BY a column that has an alias",
    sql: "SELECT timestamp AS at FROM requests ORDER BY timestamp",
    message: /^unable to find type of column: timestamp$/,
  },
  {
    name: "ORDER BY an aggregate that is not selected",
    sql: "SELECT blob1 FROM requests GROUP BY blob1 ORDER BY sum(_sample_interval)",
    message: /^unable to find type of column: _sample_interval$/,
  },
  { name: "max of a string", sql: "SELECT max(blob1) FROM requests", message: /^max: argument 1 is String/ },
  {
    name: "a string compared with a number",
    sql: "SELECT 1 FROM requests WHERE blob1 = 5",
    message: /cannot compare String and UInt8/,
  },
  { name: "an aggregate in WHERE", sql: "SELECT 1 FROM requests WHERE count() > 1", message: /use HAVING/ },
  { name: "a column outside GROUP BY", sql: "SELECT blob1, count() AS n FROM requests", message: /GROUP BY/ },
  {
    name: "a quantile without its level",
    sql: "SELECT quantileExactWeighted(double1, _sample_interval) FROM requests",
    message: /parameters given: 0/,
  },
  { name: "an interval without quotes", sql: "SELECT now() - INTERVAL 15 MINUTE", message: /INTERVAL '15' MINUTE/ },
  {
    name: "branches of if that ClickHouse has no common type for",
    sql: "SELECT if(double1 > 1, sum(_sample_interval), avg(double1)) AS n FROM requests GROUP BY double1",
    message: /^if: there is no supertype for UInt64 and Float64$/,
  },
  { name: "another format", sql: "SELECT 1 FORMAT TabSeparated", message: /only JSON/ },
  { name: "text that is no time", sql: "SELECT toDateTime('soon')", message: /timestamp/ },
];

for (const { name, sql, message } of refusals) {
  test(`refuses: ${name}`, async () => {
    await assert.rejects(
      analytics.query(sql, nowMs),
      (error: unknown) => error instanceof SqlError && message.test(error.message),
    );
  });
}

test("quantileExactWeighted is the unweighted quantile of each value repeated by its weight", () => {
  const expected = (level: number, values: number[], weights: number[]) => {
    const repeated = values.flatMap((value, i) => Array<number>(weights[i]!).fill(value)).sort((a, b) => a - b);
    const rank = Math.ceil(repeated.length * level);
    // ClickHouse takes the least value where the rank is 0, whatever its weight.
    return rank > 0 ? repeated[rank - 1] : values.length ? Math.min(...values) : null;
  };
  let state = 1;
  const random = (below: number) => (state = (state * 48271) % 2147483647) % below;
  for (let round = 0; round < 500; round++) {
    const values = Array.from({ length: random(20) }, () => random(10));
    const weights = values.map(() => random(4));
    for (const level of [0, 0.05, 0.5, 0.95, 1]) {
      assert.equal(quantileExactWeighted(level, values, weights), expected(level, values, weights));
    }
  }
});
