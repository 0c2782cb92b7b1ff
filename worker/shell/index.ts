// The worker's entry.

import { WasmCore } from "./wasm.ts";
import { createWorker } from "./worker.ts";

export default createWorker(new WasmCore());
