import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const { compatibilityDate: newestDate } = createRequire(import.meta.url)("workerd") as { compatibilityDate: string };

const cacheDirectory = resolve(import.meta.dirname, "../../node_modules/.cache/perch-stack");

/** What the stack takes from wrangler.toml. */
export interface WorkerConfig {
  name: string;
  main?: string;
  compatibilityDate: string;
  compatibilityFlags: string[];
  vars: Record<string, unknown>;
}

const absent: WorkerConfig = { name: "perch", compatibilityDate: newestDate, compatibilityFlags: [], vars: {} };

// In a process of its own: wrangler takes 250 MB that the stack would keep for its whole life.
const script = `
  const { unstable_readConfig } = await import("wrangler");
  const c = unstable_readConfig({ config: process.argv[1] }, { hideWarnings: true });
  const { name, main, compatibility_date, compatibility_flags, vars } = c;
  console.log(JSON.stringify({ name, main, compatibilityDate: compatibility_date, compatibilityFlags: compatibility_flags, vars }));
`;

/** Reads a wrangler.toml as wrangler itself does, the top level only; a missing file gives the defaults. */
export async function readWorkerConfig(file: string): Promise<WorkerConfig> {
  if (!existsSync(file)) return absent;
  const read = JSON.parse(await cached(file, () => readWithWrangler(file))) as Partial<WorkerConfig>;
  const config = { ...absent, ...read };
  // Cloudflare may be ahead of the workerd installed here, which refuses a later date.
  if (config.compatibilityDate > newestDate) config.compatibilityDate = newestDate;
  return config;
}

async function readWithWrangler(file: string): Promise<string> {
  const options = { cwd: import.meta.dirname, env: { ...process.env, WRANGLER_SEND_METRICS: "false" } };
  const argv = ["--input-type=module", "--eval", script, file];
  const { stdout } = await promisify(execFile)(process.execPath, argv, options).catch((error: Error) => {
    throw new Error(`read worker config ${file}: ${error.message}`);
  });
  return stdout;
}

// Wrangler takes a second, and tests start many stacks from the same file.
async function cached(file: string, produce: () => Promise<string>): Promise<string> {
  const key = createHash("sha256")
    .update(`${script}\0${file}\0`)
    .update(await readFile(file));
  const entry = join(cacheDirectory, `${key.digest("hex")}.json`);
  const known = await readFile(entry, "utf8").catch(() => undefined);
  if (known !== undefined) return known;
  const produced = await produce();
  await mkdir(cacheDirectory, { recursive: true });
  // Renamed into place, since another stack may be reading.
  await writeFile(`${entry}.${process.pid}`, produced);
  await rename(`${entry}.${process.pid}`, entry);
  return produced;
}
