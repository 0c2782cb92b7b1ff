// The shell's side of the WebAssembly module, alone: what it opens it closes, and
// a trap ends no instance but its own.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import "../../shell/wasm_modules.mjs";

const open = { documents: 0, editors: 0, instances: 0 };
let reports = 0;
let broken = ""; // the export that traps
const Real = WebAssembly.Instance;
WebAssembly.Instance = function (module, imports) {
  open.instances++;
  const { exports } = new Real(module, imports);
  const watch =
    (name, kind, by) =>
    (handle, ...rest) => {
      if (broken === name) throw new WebAssembly.RuntimeError("unreachable");
      const result = exports[name](handle, ...rest);
      open[kind] += by;
      return result;
    };
  return {
    exports: {
      ...exports,
      load: watch("load", "documents", 1),
      release: watch("release", "documents", -1),
      open_editor: watch("open_editor", "editors", 1),
      push_editor: watch("push_editor", "editors", 0),
      close_editor: watch("close_editor", "editors", -1),
      decide: watch("decide", "documents", 0),
      report: (...told) => {
        reports++;
        return exports.report(...told);
      },
    },
  };
};
const { WasmCore } = await import("../../../worker/shell/wasm.ts");
const { Action, Edit, Shape, TooLong, Trap, Unusable } = await import("../../../worker/shell/core.ts");
console.error = () => {};

const text = readFileSync(0, "utf8"); // a document, from the test that runs this
const question = { identity: "", override: "", client: "", random: "r", cookie: "", version: "", headers: ["me"] };
const decide = (core, loaded, changes = {}, now = Date.now()) =>
  core.decide(loaded, { ...question, ...changes }, now, 1);
const bytes = (s) => new TextEncoder().encode(s);
const string = (frames) => frames.map((b) => new TextDecoder().decode(b)).join("");
const edits = (edit, version = "") => ({ edit, version, webhook: false });

test("a document that was released while a request held it stays no longer than a call", () => {
  const core = new WasmCore();
  const before = open.documents;
  const loaded = core.load(text, "");
  core.release(loaded);
  assert.equal(decide(core, loaded).target.name, "canary");
  assert.equal(core.stable(loaded, "", 1).target.name, "stable");
  assert.throws(() => decide(core, loaded, { cookie: "x".repeat(100_000) }), TooLong);
  assert.equal(open.documents, before);
  core.release(loaded);
  assert.equal(core.traps, 0);
});

test("a document outlives the instance that held it", () => {
  const core = new WasmCore();
  const loaded = core.load(text, "");
  broken = "decide";
  assert.throws(() => decide(core, loaded), Trap);
  broken = "";
  assert.equal(decide(core, loaded).target.name, "canary");
  assert.equal(core.traps, 1);
});

test("a release that traps is not the request's trouble", () => {
  const core = new WasmCore();
  const loaded = core.load(text, "");
  broken = "release";
  core.release(loaded);
  broken = "";
  assert.equal(core.traps, 1);
  assert.equal(decide(core, loaded).target.name, "canary");
});

test("a body goes on with the instance on which it began, and ends no other", () => {
  const core = new WasmCore();
  const loaded = core.load(text, "");
  const [whole, cut] = [core.editor(edits(Edit.set, "acme/next")), core.editor(edits(Edit.remove))];
  let sent = string(whole.push(bytes(`{"input":`)));
  broken = "decide";
  assert.throws(() => decide(core, loaded), Trap);
  broken = "";
  decide(core, loaded);
  sent += string(whole.push(bytes(`{}}`))) + string(whole.close());
  assert.equal(sent, `{"version":"acme/next","input":{}}`);
  const { instances } = open;
  broken = "push_editor";
  assert.throws(() => cut.push(bytes("{")), Trap);
  broken = "";
  decide(core, loaded);
  assert.equal(open.instances, instances, "the healthy instance was dropped");
  assert.equal(core.traps, 1);
});

test("an editor may be closed twice, and then takes no other's handle", () => {
  const core = new WasmCore();
  const before = open.editors;
  const first = core.editor(edits(Edit.set, "acme/next"));
  first.close();
  const second = core.editor(edits(Edit.set, "acme/next"));
  assert.equal(first.close().length, 0);
  assert.equal(open.editors, before + 1);
  assert.equal(string(second.push(bytes("{}"))) + string(second.close()), `{"version":"acme/next"}`);
  assert.equal(open.editors, before);
});

test("a route tells all that its path does", () => {
  const core = new WasmCore();
  const route = (method, path) => core.resolve(method, path, "", false);
  const poll = route("GET", "/v1/predictions/abc~p1.k");
  assert.equal(poll.action, Action.prediction);
  assert.equal(poll.prediction, "abc~p1.k");
  assert.equal(poll.shape, Shape.prediction);
  assert.deepEqual([poll.cancel, poll.creates, poll.safe, poll.undecided], [false, false, true, false]);
  const cancel = route("POST", "/v1/predictions/abc/cancel");
  assert.deepEqual([cancel.cancel, cancel.creates, cancel.safe], [true, false, false]);
  const create = route("POST", "/v1/models/acme/flux/predictions");
  assert.deepEqual([create.creates, create.safe, create.shape], [true, false, Shape.prediction]);
  assert.equal(create.keys.service, "model:acme/flux");
  assert.equal(route("QUERY", "/v1/models").shape, Shape.page);
  assert.equal(route("GET", "/_perch/at/p1.k").seal, "p1.k");
  assert.equal(route("OPTIONS", "/v1/predictions").undecided, true);
});

test("what the worker's variables hold is read, or refused with a reason", () => {
  const core = new WasmCore();
  const open = { token: "", keys: [], jwt: null, rateLimit: "LIMITER" };
  assert.deepEqual(core.access(`{"rate_limit": "LIMITER"}`), open);
  assert.throws(
    () => core.access(`{"token": "r8_x"}`),
    (e) => e instanceof Unusable && /write secret:NAME/.test(e.message),
  );
  assert.throws(() => core.access(" ".repeat(100_000)), Unusable);
  assert.deepEqual(core.headers(`{"x-a": "1"}`), [["x-a", "1"]]);
  assert.throws(() => core.headers(`{"host": "a"}`), Unusable);
  assert.equal(core.traps, 0);
});

test("the identity names the user, on one line", () => {
  const core = new WasmCore();
  const loaded = core.load(text, "");
  const named = decide(core, loaded, { headers: ["alice"] });
  assert.equal(decide(core, loaded, { identity: "alice" }).user, named.user);
  const odd = decide(core, loaded, { identity: "a\nb" });
  assert.equal(odd.user, decide(core, loaded, { identity: "a b" }).user);
  assert.equal(odd.isNew, false);
});

test("a request that failed is rescued, and the breaker hears of it", () => {
  const core = new WasmCore();
  const loaded = core.load(text, "");
  const { canary, stable } = Object.fromEntries(loaded.plan.targets.map((target) => [target.name, target]));
  assert.equal(canary.fallback, stable.at);
  const trouble = { cause: 0, status: 503, creates: true, safe: false, resendable: true };
  assert.equal(core.rescue(loaded, canary.at, trouble), true);
  assert.equal(core.rescue(loaded, canary.at, { ...trouble, resendable: false }), false);
  assert.equal(core.rescue(loaded, canary.at, { ...trouble, status: 429 }), false);
  assert.equal(core.rescue(loaded, stable.at, trouble), false);
  assert.equal(core.use(loaded, stable.at, "", 1).target, stable);

  const now = 1_795_000_000_000;
  reports = 0;
  for (let i = 0; i < 100; i++) core.report(loaded, canary.at, false, now);
  assert.equal(reports, 0, "while all is well nothing is told");
  for (let i = 0; i < 5; i++) core.report(loaded, canary.at, true, now);
  assert.equal(decide(core, loaded, {}, now + 1).skipped, true);
  assert.equal(decide(core, loaded, { preview: true }, now + 10_000).skipped, false);
  assert.equal(decide(core, loaded, {}, now + 10_000).skipped, false, "the probe");
  assert.equal(decide(core, loaded, {}, now + 10_000).skipped, true);
  reports = 0;
  for (let i = 0; i < 100; i++) core.report(loaded, canary.at, false, now + 10_001);
  assert.equal(reports, 1, "the first success closes the breaker");
  assert.equal(decide(core, loaded, {}, now + 10_002).skipped, false);

  for (let i = 0; i < 5; i++) core.report(loaded, canary.at, true, now);
  broken = "decide";
  assert.throws(() => decide(core, loaded), Trap);
  broken = "";
  assert.equal(decide(core, loaded, {}, now + 1).skipped, false, "a new instance begins anew");
  reports = 0;
  core.report(loaded, canary.at, false, now + 1);
  assert.equal(reports, 0);
});
