// The routing core in JavaScript: the same decisions as the one in
// WebAssembly, so that a benchmark can tell what WebAssembly costs. Documents
// are taken as valid.

import { Action, Edit, Endpoint, Search, Shape, Unusable } from "../../worker/shell/core.ts";
import type {
  Access,
  Answer,
  Core,
  Decision,
  Editor,
  Edits,
  Loaded,
  Plan,
  Question,
  Route,
  ServiceKeys,
  Target,
  Trouble,
  Use,
  Answered,
  Fault,
  Facts,
  Frame,
} from "../../worker/shell/core.ts";
import { Failure, Outcome, Reason } from "../../worker/shell/columns.ts";
import type { Ended } from "../../worker/shell/columns.ts";
import { endedOf, JavaScriptAnswer } from "./jsanswer.ts";
import { JavaScriptEditor, JavaScriptFinder } from "./jsbody.ts";
import { digest, xxhash64 } from "./xxhash64.ts";

interface TargetDocument {
  version?: string;
  deployment?: string;
  model?: string;
  url?: string;
  credentials?: boolean;
}

interface RolloutDocument {
  schema: number;
  service: string;
  rollout: string;
  generation: number;
  percentage: number;
  salt: string;
  targets: Record<string, TargetDocument>;
  rules?: { header: string; equals: string; use: string }[];
  user?: { header?: string; cookie?: string; from?: "token" | "address" };
  overrides?: boolean;
  unattended_after_ms?: number;
}

class JavaScriptLoaded implements Loaded {
  readonly plan: Plan;
  readonly stable: Target;
  readonly canary: Target;

  constructor(
    readonly text: string,
    readonly halt: string,
    readonly document: RolloutDocument,
  ) {
    this.plan = planOf(document);
    this.stable = this.target("stable");
    this.canary = this.target("canary");
  }

  target(name: string): Target {
    const target = this.plan.targets.find((target) => target.name === name);
    if (target === undefined) throw new Unusable(`targets.${name} is missing`);
    return target;
  }
}

function planOf(d: RolloutDocument): Plan {
  return {
    service: d.service,
    rollout: d.rollout,
    generation: d.generation,
    percentage: d.percentage,
    from: d.user?.from ?? "",
    cookie: d.user?.cookie ?? "perch-user",
    overrides: d.overrides ?? false,
    outcomes: "",
    access: null,
    fallback: { maxBodyBytes: 1 << 20 },
    headers: [d.user?.header ?? "x-user-id", ...(d.rules ?? []).map((rule) => rule.header)],
    targets: Object.entries(d.targets).map(([name, target], at, all) => ({
      name,
      at,
      index: `${d.service}|${name}`,
      path: replicatePath(target),
      url: target.url ?? "",
      version: target.version ?? "",
      credentials: target.credentials ?? false,
      fallback: name === "canary" ? all.findIndex(([name]) => name === "stable") : -1,
      timeoutMS: name === "canary" ? 30_000 : 0,
      idleMS: 30_000,
      headers: [],
    })),
  };
}

function replicatePath(target: TargetDocument): string {
  if (target.version) return "/predictions";
  if (target.deployment) return `/deployments/${target.deployment}/predictions`;
  return target.model ? `/models/${target.model}/predictions` : "";
}

const isSegment = (text: string) => /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(text);
const isVersionID = (text: string) => /^[0-9a-f]{64}$/.test(text);

function keysOf(kind: string, name: string): ServiceKeys {
  const service = `${kind}:${name}`;
  const key = `${kind}:${name.replace("/", ":")}`;
  const alias = kind === "http" ? "" : `alias:${key}`;
  return { service, rollout: `rollout:${key}`, halt: `halt:${key}`, alias };
}

function parseService(text: string): ServiceKeys | undefined {
  const colon = text.indexOf(":");
  const kind = colon < 0 ? "model" : text.slice(0, colon);
  const name = text.slice(colon + 1);
  const segments = name.split("/");
  if (!["model", "deployment", "http"].includes(kind)) return undefined;
  if (segments.length !== (kind === "http" ? 1 : 2) || !segments.every(isSegment)) return undefined;
  return keysOf(kind, name);
}

function cookie(header: string, name: string): string {
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
  }
  return "";
}

const safeMethods = new Set(["GET", "HEAD", "OPTIONS", "QUERY"]);
const hex = (n: number) => n.toString(16).padStart(8, "0");

export class JavaScriptCore implements Core {
  readonly traps = 0;

  resolve(method: string, path: string, service: string, upgrade: boolean): Route {
    const asked = /^\/@(stable|canary)(?=\/|$)/.exec(path);
    const variant = asked?.[1] ?? "";
    const rest = asked ? path.slice(asked[0].length) || "/" : path;
    const undecided = upgrade || method === "OPTIONS";
    const route = {
      action: Action.notFound as number,
      endpoint: Endpoint.predictions as number,
      undecided,
      variant,
      shape: Shape.none as number,
      prediction: "",
      seal: "",
      cancel: false,
      creates: false,
      safe: safeMethods.has(method),
    };
    const named = service === "" ? undefined : parseService(service);
    if (rest.startsWith("/_perch/")) {
      if (rest === "/_perch/health") return { ...route, action: Action.health, rest };
      return { ...route, action: rest === "/_perch/variant" ? Action.variant : Action.notFound, rest, keys: named };
    }
    if (rest.startsWith("/v1/")) return this.#replicate(route, method, rest.slice(3), named);
    if (named?.service.startsWith("http:")) {
      return { ...route, action: Action.service, endpoint: Endpoint.http, rest, keys: named };
    }
    const slash = rest.indexOf("/", 1);
    const first = slash < 0 ? rest.slice(1) : rest.slice(1, slash);
    if (!isSegment(first)) return { ...route, rest };
    const below = slash < 0 ? "/" : rest.slice(slash);
    return { ...route, action: Action.service, endpoint: Endpoint.http, rest: below, keys: keysOf("http", first) };
  }

  #replicate(route: Omit<Route, "rest">, method: string, rest: string, named: ServiceKeys | undefined): Route {
    const passed = { ...route, action: Action.pass, rest };
    if (method !== "POST" || route.undecided) return passed;
    const keys = named?.service.startsWith("http:") ? undefined : named;
    const create = { ...passed, shape: Shape.prediction, creates: true };
    if (rest === "/predictions") return { ...create, action: keys ? Action.service : Action.version, keys };
    const [, kind, owner = "", name = "", last, ...more] = rest.split("/");
    if ((kind !== "models" && kind !== "deployments") || last !== "predictions" || more.length > 0) return passed;
    if (!isSegment(owner) || !isSegment(name)) return passed;
    const created = keysOf(kind.slice(0, -1), `${owner}/${name}`);
    return { ...create, action: Action.service, endpoint: Endpoint.named, keys: keys ?? created };
  }

  resolveVersion(version: string): ServiceKeys | string | undefined {
    const colon = version.indexOf(":");
    const id = version.slice(colon + 1);
    if (isVersionID(id)) return `alias:version:${id}`;
    return colon < 0 ? parseService(version) : undefined;
  }

  resolveService(name: string): ServiceKeys | undefined {
    return parseService(name);
  }

  load(text: string, halt: string): Loaded {
    const document = JSON.parse(text) as RolloutDocument;
    if (document.schema !== 1) throw new Unusable(`schema ${document.schema} is not 1`);
    return new JavaScriptLoaded(text, halt, document);
  }

  release(): void {}

  decide(loaded: JavaScriptLoaded, q: Question, now: number, endpoint: number): Decision {
    const { document, plan } = loaded;
    const [userHeader = ""] = q.headers;
    const known = q.identity || userHeader || cookie(q.cookie, plan.cookie) || (plan.from && q.client);
    const user = known || q.random;
    xxhash64(`${document.salt}\0${user}`);
    const bucket = ((digest.high % 10_000) * 7_296 + (digest.low % 10_000)) % 10_000; // 2³² mod 10⁴ is 7296
    let { target, reason } = this.#choose(loaded, q, bucket);
    const stopped = this.#stopped(loaded, now);
    if (stopped && (target === loaded.canary || reason === Reason.percentage)) {
      target = loaded.stable;
      reason = stopped;
    }
    xxhash64(`fingerprint\0${document.salt}\0${user}`);
    const edit = editFor(target, endpoint, q.version);
    const isNew = !known && plan.from === "";
    return { target, edit, isNew, reason, user: hex(digest.high) + hex(digest.low), bucket, skipped: false };
  }

  #choose(loaded: JavaScriptLoaded, q: Question, bucket: number): { target: Target; reason: Reason } {
    const { document } = loaded;
    if (document.overrides) {
      const asked = q.override;
      if (asked === "stable" || asked === "canary") return { target: loaded[asked], reason: Reason.override };
    }
    const { rules = [] } = document;
    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i]!;
      if (q.headers[i + 1] === rule.equals) return { target: loaded.target(rule.use), reason: Reason.rule };
    }
    const isCanary = bucket < Math.round(document.percentage * 100);
    return { target: isCanary ? loaded.canary : loaded.stable, reason: Reason.percentage };
  }

  #stopped({ document, halt }: JavaScriptLoaded, now: number): Reason | undefined {
    if (halt !== "" && halt === document.rollout) return Reason.halted;
    const after = document.unattended_after_ms;
    return after && now >= after ? Reason.unattended : undefined;
  }

  use(loaded: JavaScriptLoaded, at: number, version: string, endpoint: number): Use {
    const target = loaded.plan.targets[at];
    if (target === undefined) throw new RangeError(`target ${at}`);
    return { target, edit: editFor(target, endpoint, version) };
  }

  stable(loaded: JavaScriptLoaded, version: string, endpoint: number): Use {
    return this.use(loaded, loaded.stable.at, version, endpoint);
  }

  rescue(loaded: JavaScriptLoaded, at: number, trouble: Trouble): boolean {
    const { cause, status } = trouble;
    const isCertain = cause === Failure.connect || (cause === Failure.none && status >= 500);
    return loaded.plan.targets[at]?.fallback !== -1 && isCertain && trouble.resendable;
  }

  // No target of a benchmark fails, and none has headers or access.

  report(): void {}

  access(): Access {
    throw new Unusable("the benchmark lets everybody in");
  }

  headers(): Target["headers"] {
    throw new Unusable("the benchmark adds no headers");
  }

  classify(status: number, failure: number) {
    if (failure === Failure.clientGone) return { outcome: Outcome.excluded, errorClass: "client" };
    if (failure === Failure.connect || status === 0) return { outcome: Outcome.error, errorClass: "connect" };
    if (status >= 500) return { outcome: Outcome.error, errorClass: "http" };
    if ([400, 404, 422].includes(status)) return { outcome: Outcome.clientError, errorClass: "http" };
    if ([401, 402, 403, 429].includes(status)) return { outcome: Outcome.excluded, errorClass: "http" };
    return { outcome: Outcome.ok, errorClass: "" };
  }

  findWhole(body: Uint8Array): { version: string; fault: Fault } {
    const finder = new JavaScriptFinder();
    finder.push(body);
    const search = finder.close();
    if (search === Search.found) return { version: finder.version, fault: "" };
    const fault = search === Search.duplicate ? "duplicate-key" : search === Search.malformed ? "malformed" : "";
    return { version: "", fault };
  }

  editWhole(body: Uint8Array, edits: Edits): { frames: Frame[]; fault: Fault } {
    const editor = editorOf(edits);
    const frames = [editor.push(body)];
    return { frames, fault: editor.fault() };
  }

  finder() {
    return new JavaScriptFinder();
  }

  editor(edits: Edits): Editor {
    const editor = editorOf(edits);
    return { push: (chunk) => [editor.push(chunk)], close: () => [editor.close()] };
  }

  answer(): Answer {
    throw new Error("the benchmark has small answers only");
  }

  answerWhole(shape: number, body: Uint8Array): Answered {
    if (shape !== Shape.prediction) throw new Error("the benchmark has predictions only");
    const { frames, facts } = new JavaScriptAnswer(body);
    return { frames, facts, listed: [] };
  }

  ended(facts: Facts, status: number, synchronous: boolean): Ended | "" {
    return endedOf(facts, status, synchronous);
  }
}

function editFor(target: Target, endpoint: number, version: string): number {
  if (endpoint === Endpoint.http) return Edit.none;
  const isPredictions = endpoint === Endpoint.predictions;
  if (target.version === "") return isPredictions ? Edit.remove : Edit.none;
  const idOf = (name: string) => name.slice(name.indexOf(":") + 1);
  const isSame = isPredictions && version !== "" && idOf(version) === idOf(target.version);
  return isSame ? Edit.none : Edit.set;
}

function editorOf({ edit, version, webhook }: Edits): JavaScriptEditor {
  if (edit === Edit.none || webhook) throw new Error("the benchmark edits versions only");
  return new JavaScriptEditor(edit === Edit.set ? version : "");
}
