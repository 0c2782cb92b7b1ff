// Perch's worker as it is deployed, but for where its points go.

import worker from "../../worker/shell/index.ts";
import { counted } from "./points.ts";

export default counted(worker);
