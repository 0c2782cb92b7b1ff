import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Ready } from "./stack.ts";

/** A stack in a process of its own, as tests want it. */
export interface Running {
  ready: Ready;
  process: ChildProcess;
  /** What it has logged so far. */
  log: () => string;
  /** Ends it and resolves to its exit status. */
  stop: () => Promise<number | null>;
}

/** Starts `node test/stack/main.ts` with the tests' own worker and wrangler.toml, and waits until it is ready. */
export async function startStack(flags: string[], env: Record<string, string> = {}): Promise<Running> {
  const here = import.meta.dirname;
  const own = ["--worker", resolve(here, "testdata/worker"), "--config", resolve(here, "testdata/wrangler.toml")];
  // A flag given twice counts the second time.
  const argv = [resolve(here, "main.ts"), ...own, ...flags];
  const child = spawn(process.execPath, argv, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } });
  let logged = "";
  child.stderr.on("data", (chunk) => (logged += String(chunk)));
  const exited = once(child, "exit");
  const lines = createInterface(child.stdout);
  const [line] = (await Promise.race([once(lines, "line"), exited.then(() => [undefined])])) as [string | undefined];
  if (line === undefined) throw new Error(`start stack: it ended before it was ready\n${logged}`);
  const stop = async () => {
    child.stdin.end();
    return (await exited)[0] as number | null;
  };
  return { ready: JSON.parse(line) as Ready, process: child, log: () => logged, stop };
}
