// What Cloudflare's edge does around a worker, and workerd alone does not: who is calling and from where, and the limit
// of points a request may write.
import worker from "./worker.js";

const maxPoints = 250;

class LimitedDataset {
  #dataset;
  #refuse;
  #written = 0;

  constructor(dataset, refuse) {
    this.#dataset = dataset;
    this.#refuse = refuse;
  }

  writeDataPoint(point) {
    try {
      if (++this.#written > maxPoints) {
        throw new Error(`writeDataPoint(): maximum of ${maxPoints} data points per request`);
      }
      this.#dataset.writeDataPoint(point);
    } catch (error) {
      this.#refuse(error.message);
      throw error;
    }
  }
}

export default {
  ...worker,
  fetch(request, env, ctx) {
    const { STACK_REFUSED: refused, STACK_PLACE: place, ...own } = env;
    const refuse = (reason) => ctx.waitUntil(refused.fetch("http://stack/", { method: "POST", body: reason }));
    const headers = new Headers(request.headers);
    headers.set("cf-connecting-ip", request.cf.clientIp.replace(/:\d+$/, ""));
    headers.set("cf-ipcountry", place.country);
    const arrived = new Request(request, { headers, cf: place });
    return worker.fetch(arrived, { ...own, ANALYTICS: new LimitedDataset(env.ANALYTICS, refuse) }, ctx);
  },
};
