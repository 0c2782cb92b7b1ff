// What Cloudflare's edge does around a worker, and workerd alone does not: it says who is calling and from where, binds
// rate limits, and limits the points that a request writes. workerd drops a point beyond a limit without a word; here
// the stack is told.
import worker from "./worker.js";

const maxPoints = 250;
const maxColumns = { blobs: 20, doubles: 20, indexes: 1 };
const maxBlobBytes = 16 * 1024;
const maxIndexBytes = 96;
// UTF-8 takes at most 3 bytes for a unit of a JavaScript string.
const worstBytes = 3;

const encoder = new TextEncoder();

function bytes(values, most) {
  const units = values.reduce((total, value) => total + (value?.length ?? value?.byteLength ?? 0), 0);
  if (units * worstBytes <= most) return units;
  return values.reduce((total, value) => {
    return total + (typeof value === "string" ? encoder.encode(value).length : (value?.byteLength ?? 0));
  }, 0);
}

function brokenLimit(point) {
  for (const [kind, most] of Object.entries(maxColumns)) {
    const count = point?.[kind]?.length ?? 0;
    if (count > most) return `${count} ${kind}, at most ${most} are allowed`;
  }
  const index = bytes(point?.indexes ?? [], maxIndexBytes);
  if (index > maxIndexBytes) return `index of ${index} bytes, at most ${maxIndexBytes} are allowed`;
  const blobs = bytes(point?.blobs ?? [], maxBlobBytes);
  if (blobs > maxBlobBytes) return `blobs of ${blobs} bytes together, at most ${maxBlobBytes} are allowed`;
  return null;
}

class LimitedDataset {
  #dataset;
  #refuse;
  #written = 0;

  constructor(dataset, refuse) {
    this.#dataset = dataset;
    this.#refuse = refuse;
  }

  writeDataPoint(point) {
    const reason = ++this.#written > maxPoints ? `more than ${maxPoints} points in one request` : brokenLimit(point);
    if (reason) this.#refuse(reason);
    else this.#dataset.writeDataPoint(point);
  }
}

// A rate-limit binding: a place counts for itself, as a colo does.
class RateLimit {
  #limit;
  #periodMs;
  #windows = new Map();

  constructor({ limit, periodMs }) {
    this.#limit = limit;
    this.#periodMs = periodMs;
  }

  async limit({ key }) {
    if (typeof key !== "string") throw new TypeError(`invalid key: ${key}`);
    const now = Date.now();
    const open = this.#windows.get(key);
    const window = open && now < open.end ? open : { end: now + this.#periodMs, count: 0 };
    this.#windows.set(key, window);
    return { success: ++window.count <= this.#limit };
  }
}

let limits;
function rateLimits(declared) {
  limits ??= Object.fromEntries(declared.map((one) => [one.name, new RateLimit(one)]));
  return limits;
}

// The worker gets the request itself: a copy would have another signal, and its own idea of redirects.
function arrive(request, place) {
  const address = request.cf.clientIp.replace(/:\d+$/, "");
  Object.defineProperty(request, "cf", { value: place });
  if (address === request.headers.get("cf-connecting-ip")) return;
  const headers = new Headers(request.headers);
  headers.set("cf-connecting-ip", address);
  Object.defineProperty(request, "headers", { value: headers });
}

export default {
  ...worker,
  fetch(request, env, ctx) {
    const { STACK_REFUSED: refused, STACK_PLACE: place, STACK_LIMITS: declared, ...own } = env;
    const refuse = (reason) => ctx.waitUntil(refused.fetch("http://stack/", { method: "POST", body: reason }));
    arrive(request, place);
    const analytics = new LimitedDataset(env.ANALYTICS, refuse);
    return worker.fetch(request, { ...own, ...rateLimits(declared), ANALYTICS: analytics }, ctx);
  },
};
