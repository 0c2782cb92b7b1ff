// Analytics points for timed requests. workerd's own binding writes each point
// as JSON, a number per byte, and posts it over HTTP: that is most of a
// request's CPU time, happens nowhere in production, and would hide every
// difference. So timed points are counted here; those of the requests that
// check a worker go the whole way.

interface Points {
  ANALYTICS: AnalyticsEngineDataset;
}

interface Worker<E> {
  fetch(request: Request, env: E, ctx: ExecutionContext): Promise<Response>;
}

const variantBlob = 1;

/** The worker with its points counted by variant, which GET /_bench/points tells. */
export function counted<E extends Points>(worker: Worker<E>) {
  const counts: Record<string, number> = {};
  const dataset: AnalyticsEngineDataset = {
    writeDataPoint(point) {
      const variant = String(point?.blobs?.[variantBlob]);
      counts[variant] = (counts[variant] ?? 0) + 1;
    },
  };
  let countedEnv: E | undefined;
  return {
    fetch(request: Request, env: E, ctx: ExecutionContext): Promise<Response> | Response {
      if (request.headers.has("x-bench-echo")) return worker.fetch(request, env, ctx);
      if (request.url.endsWith("/_bench/points")) return Response.json(counts);
      countedEnv ??= { ...env, ANALYTICS: dataset };
      return worker.fetch(request, countedEnv, ctx);
    },
  };
}
