// Stands before the worker: logs how many handles of each kind the core has open.
{
  const Real = WebAssembly.Instance;
  const kinds = { load: "documents", open_finder: "finders", open_editor: "editors", open_answer: "answers" };
  const closing = { release: "documents", close_finder: "finders", close_editor: "editors", close_answer: "answers" };
  const open = { documents: 0, finders: 0, editors: 0, answers: 0, loads: 0 };
  const report = () => console.log(JSON.stringify({ handles: open }));
  WebAssembly.Instance = function (module, imports) {
    const { exports } = new Real(module, imports);
    const watched = { ...exports };
    for (const [name, kind] of Object.entries(kinds)) {
      watched[name] = (...args) => {
        const handle = exports[name](...args);
        if (handle !== 0) open[kind]++;
        if (name === "load") open.loads++;
        report();
        return handle;
      };
    }
    for (const [name, kind] of Object.entries(closing)) {
      watched[name] = (handle) => {
        exports[name](handle);
        open[kind]--;
        report();
      };
    }
    return { exports: watched };
  };
}
