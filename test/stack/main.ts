import { parseOptions, usage, type Options } from "./options.ts";
import { Stack } from "./stack.ts";

const log = (line: string) => process.stderr.write(`${line}\n`);

function options(): Options {
  try {
    return parseOptions(process.argv.slice(2));
  } catch (error) {
    log(`stack: ${error instanceof Error ? error.message : String(error)}\n${usage}`);
    process.exit(2);
  }
}

const stack = new Stack(options(), log);

let ending = false;
async function end(status: number, reason: string): Promise<void> {
  if (ending) return;
  ending = true;
  log(`stack: ending: ${reason}`);
  await stack.close();
  process.exit(status);
}

for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void end(0, signal));
process.stdin.on("end", () => void end(0, "stdin closed")).resume();

try {
  const ready = await stack.start((reason) => void end(1, reason));
  process.stdout.write(`${JSON.stringify(ready)}\n`);
} catch (error) {
  await end(1, error instanceof Error ? error.message : String(error));
}
