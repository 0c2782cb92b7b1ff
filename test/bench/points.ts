// Analytics points for timed requests. workerd's own binding writes each point
// as JSON, a number per byte, and posts it over HTTP: that is most of a
// request's CPU time, happens nowhere in production, and would hide every
// difference. So timed points are counted here; those of the requests that
// check a worker go the whole way.

interface Settings {
  ANALYTICS: AnalyticsEngineDataset;
  PERCH_LOG?: string;
}

interface Worker<E> {
  fetch(request: Request, env: E, ctx: ExecutionContext): Promise<Response>;
}

const variantBlob = 1;
const kindBlob = 3;

/** The worker with its points counted by variant, those of predictions apart, which GET /_bench/points tells. */
export function counted<E extends Settings>(worker: Worker<E>) {
  const counts: Record<string, number> = {};
  const dataset: AnalyticsEngineDataset = {
    writeDataPoint(point) {
      const { blobs = [] } = point ?? {};
      const name = String(blobs[blobs[kindBlob] === "prediction" ? kindBlob : variantBlob]);
      counts[name] = (counts[name] ?? 0) + 1;
    },
  };
  let countedEnv: E | undefined;
  let loggedEnv: E | undefined;
  return {
    fetch(request: Request, env: E, ctx: ExecutionContext): Promise<Response> | Response {
      const asked = request.headers.get("x-bench");
      if (asked === "echo") return worker.fetch(request, env, ctx);
      if (request.url.endsWith("/_bench/points")) return Response.json(counts);
      if (asked === "log")
        return worker.fetch(request, (loggedEnv ??= { ...env, ANALYTICS: dataset, PERCH_LOG: "" }), ctx);
      countedEnv ??= { ...env, ANALYTICS: dataset };
      return worker.fetch(request, countedEnv, ctx);
    },
  };
}
