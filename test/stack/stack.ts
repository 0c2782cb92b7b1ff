import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Analytics, type PostedPoint } from "./analytics.ts";
import { analyticsRest } from "./analytics_rest.ts";
import { account, Calls, handleApi, sendError, type Handler, type Routes } from "./api.ts";
import { readBundle } from "./bundle.ts";
import { CacheStore } from "./cache.ts";
import { Control } from "./control.ts";
import { listen, readBody, sendText } from "./http.ts";
import { Store } from "./kv.ts";
import { KvBinding, PlaceCache } from "./kv_binding.ts";
import { kvRest } from "./kv_rest.ts";
import type { Options } from "./options.ts";
import { scriptsRest } from "./scripts_rest.ts";
import { copyModules, Place } from "./workerd.ts";
import { readWorkerConfig } from "./wrangler.ts";

const namespaceId = "local-namespace";
const dataset = "perch_requests";
const countries = ["NL", "SG", "US", "BR"];

/** What a ready stack tells about itself. */
export interface Ready {
  api: string;
  control: string;
  places: { url: string; pid: number }[];
  account: string;
  token: string;
  namespace: string;
  dataset: string;
}

/** Answers as `handle` does, unless all of KV's REST API is to fail. */
function unlessAway(store: Store, handle: Handler): Handler {
  return (request, response) => {
    const { api } = store.faults;
    if (api === "ok") return handle(request, response);
    if (api === "error") sendError(response, 503, 10001, "service unavailable");
    // "hang" leaves the client waiting.
  };
}

type Listener = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

/** A local Cloudflare: the API, and places that run the worker. */
export class Stack {
  private readonly options: Options;
  private readonly log: (line: string) => void;
  private readonly servers: Server[] = [];
  private readonly places: Place[] = [];
  private analytics: Analytics | undefined;
  private directory: string | undefined;
  private closed = false;

  constructor(options: Options, log: (line: string) => void) {
    this.options = options;
    this.log = log;
  }

  /** Starts everything and waits until it listens; `failed` is called if a workerd process ends by itself. */
  async start(failed: (reason: string) => void): Promise<Ready> {
    const { options, log } = this;
    const store = new Store(options.timeScale);
    const namespace = store.create("perch-rollouts", namespaceId);
    const settings = { lag_ms: options.lagMs, sample: options.sample, down: false };
    const [config, analytics] = await Promise.all([readWorkerConfig(options.config), Analytics.open(settings, log)]);
    this.analytics = analytics;
    const vars = { ...config.vars, ...options.vars };
    const script = {
      ...config,
      namespaceId,
      dataset,
      vars,
      secrets: Object.keys(options.secrets),
      limits: options.limits,
    };
    const routes: Routes = {
      accounts: [
        { prefix: ["storage", "kv", "namespaces"], permission: "kv", handle: unlessAway(store, kvRest(store)) },
        { prefix: ["analytics_engine", "sql"], permission: "analytics", handle: analyticsRest(analytics) },
        {
          prefix: ["workers", "scripts"],
          permission: "scripts",
          handle: scriptsRest(script),
        },
      ],
    };
    const caches = Array.from({ length: options.places }, () => new PlaceCache(namespace, options.timeScale));
    const backendPort = await this.listen(this.backend(new KvBinding(store, caches), analytics), 0);
    const calls = new Calls();
    const control = new Control(analytics, store, namespace, this.places, calls);
    const port = await this.listen((request, response) => {
      return request.url!.startsWith("/_stack/")
        ? control.handle(request, response)
        : handleApi(routes, calls, request, response);
    }, options.port);
    await this.startPlaces(config, { ...vars, ...options.secrets }, backendPort, failed);
    return {
      api: `http://127.0.0.1:${port}/client/v4`,
      control: `http://127.0.0.1:${port}/_stack`,
      places: this.places.map(({ url, pid }) => ({ url, pid })),
      account,
      token: "local-token",
      namespace: namespaceId,
      dataset,
    };
  }

  /** Ends the processes and servers and removes the temporary files. */
  async close(): Promise<void> {
    this.closed = true;
    for (const place of this.places) place.stop();
    await Promise.all(this.places.map((place) => place.ended()));
    for (const server of this.servers) {
      server.close();
      server.closeAllConnections();
    }
    this.analytics?.close();
    if (this.directory) await rm(this.directory, { recursive: true, force: true });
  }

  private async startPlaces(
    config: Awaited<ReturnType<typeof readWorkerConfig>>,
    vars: Record<string, unknown>,
    backendPort: number,
    failed: (reason: string) => void,
  ): Promise<void> {
    const { options, log } = this;
    const bundle = await readBundle(options.worker, config.main);
    const directory = (this.directory = await mkdtemp(join(tmpdir(), "perch-stack-")));
    await copyModules(directory, bundle);
    for (let index = 0; index < options.places; index++) {
      const name = `LOC${index + 1}`;
      const country = countries[index % countries.length]!;
      const { compatibilityDate, compatibilityFlags } = config;
      const limits = options.limits.map(({ name, limit, period }) => {
        return { name, limit, periodMs: (period * 1000) / options.timeScale };
      });
      const { trust, bare } = options;
      const worker = { bundle, compatibilityDate, compatibilityFlags, vars, limits, trust, dataset, bare };
      const place = await Place.start(directory, { name, index, country, backendPort, ...worker }, log);
      this.places.push(place);
      void place.ended().then((how) => this.closed || failed(`workerd of ${name} ended by itself: ${how}`));
    }
  }

  // What the bindings of the places speak to; workerd marks each request with its place and service.
  private backend(kv: KvBinding, analytics: Analytics): Listener {
    const caches = Array.from({ length: this.options.places }, () => new CacheStore(this.options.timeScale));
    return async (request, response) => {
      const place = Number(request.headers["x-stack-place"]);
      switch (request.headers["x-stack-service"]) {
        case "kv":
          return kv.handle(place, request, response);
        case "cache":
          return caches[place]!.handle(request, response);
        case "refused":
          analytics.refuse((await readBody(request)).toString());
          break;
        case dataset:
          analytics.write(JSON.parse((await readBody(request)).toString()) as PostedPoint);
          break;
        default:
          throw new Error(`unknown service ${String(request.headers["x-stack-service"])}`);
      }
      response.writeHead(204).end();
    };
  }

  private async listen(listener: Listener, port: number): Promise<number> {
    // workerd sends whole URLs and no Host.
    const server = createServer({ requireHostHeader: false }, (request, response) => {
      listener(request, response).catch((error: unknown) => {
        this.log(`stack: ${request.method} ${request.url}: ${error instanceof Error ? error.stack : String(error)}`);
        if (!response.headersSent) sendText(response, 500, String(error));
        else response.destroy();
      });
    });
    // Closing an idle connection races with a client that is just reusing it.
    server.keepAliveTimeout = 0;
    server.requestTimeout = 0;
    this.servers.push(server);
    return listen(server, port);
  }
}
