import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startStack } from "./running.ts";

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function eventually(holds: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const deadline = Date.now() + 5_000; Date.now() < deadline; await sleep(20)) {
    if (await holds()) return true;
  }
  return false;
}

function allGone(pids: number[]): Promise<boolean> {
  return eventually(() => !pids.some(alive));
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} ends the stack and its places in order`, async () => {
    const { ready, process: child } = await startStack(["--places", "2"]);
    assert.ok(ready.places.every(({ pid }) => alive(pid)));
    child.kill(signal);
    assert.deepEqual(await once(child, "exit"), [0, null]);
    assert.ok(await allGone(ready.places.map(({ pid }) => pid)));
  });
}

test("the end of its standard input ends the stack and its places", async () => {
  const { ready, stop } = await startStack(["--places", "2"]);
  assert.equal(await stop(), 0);
  assert.ok(await allGone(ready.places.map(({ pid }) => pid)));
});

test("neither places nor files outlive a stack that is killed", async () => {
  const directory = await mkdtemp(join(tmpdir(), "perch-test-"));
  const { ready, process: child } = await startStack(["--places", "2"], { TMPDIR: directory });
  assert.equal((await readdir(directory)).length, 1);
  child.kill("SIGKILL");
  assert.ok(await allGone(ready.places.map(({ pid }) => pid)));
  assert.ok(await eventually(async () => (await readdir(directory)).length === 0));
  await rm(directory, { recursive: true });
});

test("a place that ends by itself ends the stack with a failure", async () => {
  const { ready, process: child, log } = await startStack(["--places", "2"]);
  process.kill(ready.places[0]!.pid, "SIGKILL");
  assert.deepEqual(await once(child, "exit"), [1, null]);
  assert.match(log(), /workerd of LOC1 ended by itself: signal SIGKILL/);
  assert.ok(await allGone(ready.places.map(({ pid }) => pid)));
});

test("a bare worker runs as its bundle is, with a client address", async () => {
  const { ready, stop } = await startStack(["--bare"]);
  const where = await (await fetch(`${ready.places[0]!.url}/where`)).json();
  assert.deepEqual(where, {
    ip: "127.0.0.1",
    bindings: ["ANALYTICS", "GREETING", "LIMITS", "ROLLOUTS"],
    text: "the command line wins",
  });
  assert.equal(await stop(), 0);
});

const mistakes: { name: string; flags: string[]; message: RegExp }[] = [
  { name: "an unknown flag", flags: ["--place", "2"], message: /--place/ },
  { name: "no place", flags: ["--places", "0"], message: /--places 0: expected a whole number from 1 to 16/ },
  { name: "a time scale of 0", flags: ["--time-scale", "0"], message: /--time-scale 0: expected a number above 0/ },
  { name: "a var without a value", flags: ["--var", "NAME"], message: /--var NAME: expected NAME=VALUE/ },
  {
    name: "a config that is not there",
    flags: ["--config", "no/such.toml"],
    message: /--config no\/such.toml: no such file/,
  },
  { name: "no bundle", flags: ["--worker", "no/such"], message: /no such directory, make it with wrangler/ },
];

for (const { name, flags, message } of mistakes) {
  test(`says what is wrong with ${name}`, async () => {
    await assert.rejects(startStack(flags), message);
  });
}
