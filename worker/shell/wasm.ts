// The routing core in WebAssembly: one instance per isolate, started by the
// first request, replaced after a trap.

import { Unusable } from "./core.ts";
import type {
  Access,
  Core,
  Decision,
  Loaded,
  Plan,
  Question,
  Route,
  ServiceKeys,
  Target,
  Trouble,
  Use,
} from "./core.ts";
import type { Outcome } from "./columns.ts";
import { WasmBodies } from "./wasm_bodies.ts";
import type { Instance } from "./wasm_instance.ts";

class WasmLoaded implements Loaded {
  readonly text: string;
  readonly halt: string;
  readonly plan: Plan;
  instance: Instance | undefined; // that holds the document under handle
  handle: number;
  released = false; // held no longer than a call takes
  readonly stable: number; // its place in the plan's targets

  constructor(text: string, halt: string, plan: Plan, instance: Instance, handle: number) {
    this.text = text;
    this.halt = halt;
    this.plan = plan;
    this.instance = instance;
    this.handle = handle;
    this.stable = plan.targets.findIndex(({ name }) => name === "stable");
  }
}

/** Answers that follow from the question alone: a repeated one needs no call, which is dear while caches are cold. */
class Memo<T> {
  static readonly #most = 1_000;
  static readonly #longest = 512; // of a question
  #answers = new Map<string, T>();

  of(question: string, ask: () => T): T {
    const known = this.#answers.get(question);
    if (known !== undefined || this.#answers.has(question)) return known as T;
    const answer = ask();
    if (question.length > Memo.#longest) return answer;
    if (this.#answers.size >= Memo.#most) this.#answers.clear();
    this.#answers.set(question, answer);
    return answer;
  }
}

export class WasmCore extends WasmBodies implements Core {
  #routes = new Memo<Route>();
  #versions = new Memo<ServiceKeys | string | undefined>();
  #services = new Memo<ServiceKeys | undefined>();
  #troubled: Instance | undefined; // that has breakers which are not closed
  #classes = new Memo<{ outcome: Outcome; errorClass: string }>();

  resolve(method: string, path: string, service: string, upgrade: boolean): Route {
    const question = `${method}\n${path}\n${oneLine(service)}\n${upgrade ? "1" : ""}`;
    return this.#routes.of(question, () =>
      this.call((core) => {
        const code = core.exports.resolve(core.write(question));
        const [variant = "", rest = "", prediction = "", seal = "", ...keys] = core.lines();
        return {
          action: code & 0xff,
          endpoint: (code >> 8) & 0xff,
          undecided: isSet(code, 16),
          variant,
          rest,
          keys: serviceKeys(keys),
          shape: code >> 24,
          prediction,
          seal,
          cancel: isSet(code, 17),
          creates: isSet(code, 18),
          safe: isSet(code, 19),
        };
      }),
    );
  }

  resolveVersion(version: string): ServiceKeys | string | undefined {
    return this.#versions.of(version, () =>
      this.call((core) => {
        const code = core.exports.resolve_version(core.write(version));
        if (code === 0) return undefined;
        return code === 1 ? serviceKeys(core.lines()) : core.text();
      }),
    );
  }

  resolveService(name: string): ServiceKeys | undefined {
    return this.#services.of(name, () =>
      this.call((core) => {
        return core.exports.resolve_service(core.write(name)) === 0 ? undefined : serviceKeys(core.lines());
      }),
    );
  }

  load(text: string, halt: string): Loaded {
    return this.call((core) => {
      const handle = this.#load(core, text, halt);
      return new WasmLoaded(text, halt, JSON.parse(core.text()) as Plan, core, handle);
    });
  }

  #load(core: Instance, text: string, halt: string): number {
    let documentBytes: number;
    let haltBytes: number;
    try {
      documentBytes = core.write(text);
      haltBytes = core.write(halt, documentBytes);
    } catch {
      throw new Unusable("rollout document is larger than 64 KiB");
    }
    const handle = core.exports.load(documentBytes, haltBytes);
    if (handle === 0) throw new Unusable(core.text());
    return handle;
  }

  /** Runs a call on a document. A new instance does not know it yet, and a released one must not stay. */
  #callOn<T>(loaded: WasmLoaded, call: (core: Instance, handle: number) => T): T {
    return this.call((core) => {
      if (loaded.instance !== core) {
        loaded.handle = this.#load(core, loaded.text, loaded.halt);
        loaded.instance = core;
      }
      try {
        return call(core, loaded.handle);
      } finally {
        if (loaded.released) this.#forget(core, loaded);
      }
    });
  }

  #forget(core: Instance, loaded: WasmLoaded): void {
    core.exports.release(loaded.handle);
    loaded.instance = undefined;
  }

  release(loaded: WasmLoaded): void {
    loaded.released = true;
    if (loaded.instance === undefined || loaded.instance !== this.instance) return;
    try {
      this.call((core) => this.#forget(core, loaded));
    } catch {
      // It went with the instance.
    }
  }

  decide(loaded: WasmLoaded, q: Question, now: number, endpoint: number): Decision {
    return this.#callOn(loaded, (core, handle) => {
      const { identity } = q;
      const user = identity.includes("\n") ? identity.replaceAll("\n", " ") : identity;
      const n = core.write(
        `${q.override}\n${user}\n${q.client}\n${q.random}\n${q.cookie}\n${oneLine(q.version)}\n${q.headers.join("\n")}`,
      );
      const form = q.preview ? endpoint | preview : endpoint;
      const code = core.exports.decide(handle, n, high(now), low(now), form);
      const [reason = "", fingerprint = "", bucket = ""] = core.lines();
      const target = targetAt(loaded.plan, code & 0xff);
      const edit = (code >> 8) & 0xff;
      const isNew = isSet(code, 16);
      const skipped = isSet(code, 17);
      return { target, edit, isNew, reason, user: fingerprint, bucket: Number(bucket), skipped };
    });
  }

  use(loaded: WasmLoaded, at: number, version: string, endpoint: number): Use {
    const target = targetAt(loaded.plan, at);
    const edit = this.#callOn(loaded, (core, handle) => core.exports.use(handle, at, core.write(version), endpoint));
    return { target, edit };
  }

  stable(loaded: WasmLoaded, version: string, endpoint: number): Use {
    return this.use(loaded, loaded.stable, version, endpoint);
  }

  rescue(loaded: WasmLoaded, at: number, trouble: Trouble): boolean {
    const { cause, status, creates, safe, resendable } = trouble;
    const flags = (creates ? 1 : 0) | (safe ? 2 : 0) | (resendable ? 4 : 0);
    return this.#callOn(loaded, (core, handle) => core.exports.rescue(handle, at, cause, status, flags) === 1);
  }

  report(loaded: WasmLoaded, at: number, failed: boolean, now: number): void {
    // No breaker has anything to remember: a success tells the core nothing.
    if (!failed && (this.instance === undefined || this.instance !== this.#troubled)) return;
    this.#callOn(loaded, (core, handle) => {
      const troubled = core.exports.report(handle, at, failed ? 1 : 0, high(now), low(now));
      this.#troubled = troubled > 0 ? core : undefined;
    });
  }

  access(text: string): Access {
    return this.#read(text, (core, n) => core.exports.access(n)) as Access;
  }

  headers(text: string): Target["headers"] {
    return this.#read(text, (core, n) => core.exports.headers(n)) as Target["headers"];
  }

  /** What the core makes of a text, as JSON. */
  #read(text: string, read: (core: Instance, n: number) => number): unknown {
    return this.call((core) => {
      let n: number;
      try {
        n = core.write(text);
      } catch {
        throw new Unusable("it is larger than 64 KiB");
      }
      if (read(core, n) === 0) throw new Unusable(core.text());
      return JSON.parse(core.text());
    });
  }

  classify(status: number, failure: number) {
    return this.#classes.of(`${status} ${failure}`, () =>
      this.call((core) => {
        core.exports.classify(status, failure);
        const [outcome = "", errorClass = ""] = core.lines();
        return { outcome: outcome as Outcome, errorClass };
      }),
    );
  }
}

/** A line break would begin another field. No service and no version has one. */
const oneLine = (text: string) => (text.includes("\n") ? "" : text);

/** Nobody will be sent where a decision leads. */
const preview = 1 << 8;

const isSet = (code: number, bit: number) => ((code >> bit) & 1) === 1;
const high = (ms: number) => Math.floor(ms / 2 ** 32);
const low = (ms: number) => ms >>> 0;

function targetAt(plan: Plan, at: number): Target {
  const target = plan.targets[at];
  if (target === undefined) throw new Error(`target ${at} of ${plan.targets.length}`);
  return target;
}

function serviceKeys(lines: string[]): ServiceKeys | undefined {
  const [service, rollout = "", halt = "", alias = ""] = lines;
  return service ? { service, rollout, halt, alias } : undefined;
}
