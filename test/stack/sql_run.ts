// Answers SQL from standard input as the local Analytics Engine does, over points that may be of any time: for tests
// of what asks it. Each line is one JSON object; each query is answered by one line.

import { createInterface } from "node:readline";
import { Analytics, type PostedPoint } from "./analytics.ts";
import { SqlError } from "./sql_error.ts";

interface Line {
  /** Points of a data set. */
  dataset?: string;
  points?: { at: number; index: string; blobs: string[]; doubles: number[] }[];
  /** From now on queries see about 1 point in this many. */
  sample?: number;
  /** A statement, answered by {"answer": …} or {"error": …}. */
  query?: string;
}

const bytes = (text: string) => [...Buffer.from(text)];

function posted(dataset: string, { at, index, blobs, doubles }: NonNullable<Line["points"]>[number]): PostedPoint {
  const point: PostedPoint = { dataset: bytes(dataset), timestamp: `${at}000000000`, index1: bytes(index) };
  blobs.forEach((blob, i) => (point[`blob${i + 1}`] = bytes(blob)));
  doubles.forEach((double, i) => (point[`double${i + 1}`] = double));
  return point;
}

async function answered(analytics: Analytics, query: string): Promise<unknown> {
  try {
    return { answer: await analytics.query(query) };
  } catch (error) {
    if (!(error instanceof SqlError)) throw error;
    return { error: error.message };
  }
}

const analytics = await Analytics.open({ lag_ms: 0, sample: 1, down: false }, () => {});
for await (const text of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const line = JSON.parse(text) as Line;
  if (line.sample !== undefined) analytics.settings.sample = line.sample;
  for (const point of line.points ?? []) analytics.write(posted(line.dataset ?? "", point));
  if (line.query === undefined) continue;
  const answer = await answered(analytics, line.query);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
analytics.close();
