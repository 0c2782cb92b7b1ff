import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { moduleKind, type Bundle } from "./bundle.ts";

const localAddress = "127.0.0.1";

/** What one workerd process serves. */
export interface PlaceConfig {
  /** Stands for the colo: LOC1, LOC2 … */
  name: string;
  index: number;
  country: string;
  bundle: Bundle;
  compatibilityDate: string;
  compatibilityFlags: string[];
  /** Bindings by name: strings as text, other values as JSON. */
  vars: Record<string, unknown>;
  /** PEM certificates, one each, that are trusted beside the browsers' own. */
  trust: string[];
  limits: { name: string; limit: number; periodMs: number }[];
  /** The name of the analytics data set, which is also that of workerd's service for it. */
  dataset: string;
  /** Port of the backend on 127.0.0.1 that KV, Cache API and analytics are forwarded to. */
  backendPort: number;
  /** Runs the worker as it is, without edge.js around it. */
  bare: boolean;
}

/** A running workerd process. */
export class Place {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  private readonly child: ChildProcess;

  private constructor(name: string, port: number, child: ChildProcess) {
    this.name = name;
    this.url = `http://${localAddress}:${port}`;
    this.pid = child.pid!;
    this.child = child;
  }

  /** Starts workerd in `directory` and waits until it listens; `log` gets its output line by line. */
  static async start(directory: string, config: PlaceConfig, log: (line: string) => void): Promise<Place> {
    const file = join(directory, `${config.name}.capnp`);
    await writeFile(file, capnpConfig(config));
    const child = spawnWatched(directory, [workerdBinary(), "serve", "--experimental", "--control-fd=3", file]);
    for (const stream of [child.stdout!, child.stderr!]) {
      createInterface(stream).on("line", (line) => log(`${config.name}: ${line}`));
    }
    return new Place(config.name, await listeningPort(child, config.name), child);
  }

  /** Resolves when the process has ended, however that came. */
  async ended(): Promise<string> {
    const { exitCode, signalCode } = this.child;
    const [code, signal] =
      exitCode === null && signalCode === null ? await once(this.child, "exit") : [exitCode, signalCode];
    return signal ? `signal ${signal}` : `exit status ${code}`;
  }

  // Killed at once: it holds no state, and its way to end in order waits for open connections.
  stop(): void {
    this.child.stdio[4]!.destroy();
  }
}

/** Puts the bundle's files and edge.js where the config embeds them from; wrangler may rebuild the bundle meanwhile. */
export async function copyModules(directory: string, bundle: Bundle): Promise<void> {
  await copyFile(join(bundle.directory, bundle.main), join(directory, "worker.js"));
  await copyFile(join(import.meta.dirname, "edge.js"), join(directory, "edge.js"));
  for (const file of bundle.modules) await copyFile(join(bundle.directory, file), join(directory, file));
}

function workerdBinary(): string {
  const require = createRequire(import.meta.url);
  return join(dirname(require.resolve("workerd/package.json")), "bin", "workerd");
}

// workerd would outlive a stack that was killed. A shell beside it holds the other end of a pipe (file descriptor 4);
// when that closes, it ends workerd and removes the directory. exec keeps the shell's process id for workerd.
function spawnWatched(directory: string, command: string[]): ChildProcess {
  const watch = `(exec 3>&- >/dev/null 2>&1; read -r _ <&4; kill -9 $$; rm -rf "$0") & exec "$@" 4<&-`;
  return spawn("/bin/sh", ["-c", watch, directory, ...command], { stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"] });
}

async function listeningPort(child: ChildProcess, name: string): Promise<number> {
  const events = createInterface(child.stdio[3] as Readable);
  for await (const line of events) {
    const event = JSON.parse(line) as { event: string; port?: number };
    if (event.event === "listen" && event.port) return event.port;
  }
  throw new Error(`start workerd for ${name}: it ended before it listened, its output is above`);
}

// Cap'n Proto's text format has JSON's escapes but \x00 for \u0000.
function quote(value: string): string {
  return JSON.stringify(value).replace(/\\u00([0-9a-f]{2})/g, "\\x$1");
}

function capnpConfig(config: PlaceConfig): string {
  const kinds = config.bundle.modules.map((file) => [file, moduleKind(file)!] as const);
  const worker = ["worker.js", "esModule"] as const;
  const modules = config.bare ? [worker, ...kinds] : [["edge.js", "esModule"] as const, worker, ...kinds];
  const flags = config.compatibilityFlags.map(quote).join(", ");
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    ${["kv", "cache", config.dataset, "refused"].map((service) => external(config, service)).join(",\n    ")},
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (${trusted(config)}))),
  ],
  sockets = [(name = "http", address = "${localAddress}:0", http = (${clientHeaders(config)}), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [
    ${modules.map(([file, kind]) => `(name = ${quote(file)}, ${kind} = embed ${quote(file)})`).join(",\n    ")},
  ],
  compatibilityDate = ${quote(config.compatibilityDate)},
  compatibilityFlags = [${flags}],
  bindings = [
    ${bindings(config).join(",\n    ")},
  ],
  globalOutbound = "internet",
  cacheApiOutbound = "cache",
);
`;
}

function external(config: PlaceConfig, service: string): string {
  const headers = { "x-stack-place": String(config.index), "x-stack-service": service };
  // style = proxy: the cache's keys are whole URLs.
  const options = `style = proxy, injectRequestHeaders = ${headerList(headers)}`;
  return `(name = ${quote(service)}, external = (address = "${localAddress}:${config.backendPort}", http = (${options})))`;
}

// What every client on this machine has in common; edge.js corrects it for another address of loopback's.
function clientHeaders(config: PlaceConfig): string {
  return `injectRequestHeaders = ${headerList({ "cf-connecting-ip": localAddress, "cf-ipcountry": config.country })}`;
}

// Without any options workerd refuses https.
function trusted(config: PlaceConfig): string {
  return `trustBrowserCas = true, trustedCertificates = [${config.trust.map(quote).join(", ")}]`;
}

function headerList(headers: Record<string, string>): string {
  return `[${Object.entries(headers).map(([name, value]) => `(name = ${quote(name)}, value = ${quote(value)})`)}]`;
}

function bindings(config: PlaceConfig): string[] {
  const list = [
    `(name = "ROLLOUTS", kvNamespace = "kv")`,
    `(name = "ANALYTICS", analyticsEngine = ${quote(config.dataset)})`,
    ...Object.entries(config.vars).map(([name, value]) => {
      const field = typeof value === "string" ? `text = ${quote(value)}` : `json = ${quote(JSON.stringify(value))}`;
      return `(name = ${quote(name)}, ${field})`;
    }),
  ];
  if (config.bare) return list;
  const place = { colo: config.name, country: config.country, httpProtocol: "HTTP/1.1" };
  return [
    ...list,
    `(name = "STACK_REFUSED", service = "refused")`,
    `(name = "STACK_PLACE", json = ${quote(JSON.stringify(place))})`,
    `(name = "STACK_LIMITS", json = ${quote(JSON.stringify(config.limits))})`,
  ];
}
