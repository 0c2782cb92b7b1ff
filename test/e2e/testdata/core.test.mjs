// The shell's side of the WebAssembly module, alone: what it opens it closes, and
// a trap ends no instance but its own.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { test } from "node:test";

registerHooks({
  load(url, context, next) {
    if (!url.endsWith(".wasm")) return next(url, context);
    const source = `import { readFileSync } from "node:fs";
      export default new WebAssembly.Module(readFileSync(new URL(${JSON.stringify(url)})));`;
    return { format: "module", source, shortCircuit: true };
  },
});

const open = { documents: 0, editors: 0, instances: 0 };
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
    },
  };
};
const { WasmCore } = await import("../../../worker/shell/wasm.ts");
const { TooLong, Trap } = await import("../../../worker/shell/core.ts");
console.error = () => {};

const text = readFileSync(0, "utf8"); // a document, from the test that runs this
const question = { override: "", client: "", random: "r", cookie: "", version: "", headers: ["me"] };
const decide = (core, loaded, changes = {}) => core.decide(loaded, { ...question, ...changes }, Date.now(), 1);
const bytes = (s) => new TextEncoder().encode(s);
const string = (b) => new TextDecoder().decode(b);

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
  const [whole, cut] = [core.editor("acme/next"), core.editor("")];
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
  const first = core.editor("acme/next");
  first.close();
  const second = core.editor("acme/next");
  assert.equal(first.close().length, 0);
  assert.equal(open.editors, before + 1);
  assert.equal(string(second.push(bytes("{}"))) + string(second.close()), `{"version":"acme/next"}`);
  assert.equal(open.editors, before);
});
