// Perch's own shell with the decision in JavaScript: what WebAssembly costs is
// the difference from this.

import { createWorker } from "../../worker/shell/worker.ts";
import { JavaScriptCore } from "./jscore.ts";
import { counted } from "./points.ts";

export default counted(createWorker(new JavaScriptCore()));
