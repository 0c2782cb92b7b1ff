// A worker for the stack's own tests: each path does one thing with a binding and answers what came of it.
const actions = {
  async kv(url, env) {
    const keys = url.searchParams.getAll("key");
    const cacheTtl = Number(url.searchParams.get("cacheTtl") ?? 30);
    const values = await env.ROLLOUTS.get(keys.length === 1 ? keys[0] : keys, { type: "text", cacheTtl });
    return values instanceof Map ? Object.fromEntries(values) : { [keys[0]]: values };
  },
  async kvPut(url, env) {
    await env.ROLLOUTS.put(url.searchParams.get("key"), url.searchParams.get("value"), { metadata: { by: "worker" } });
    return env.ROLLOUTS.getWithMetadata(url.searchParams.get("key"));
  },
  async kvList(url, env) {
    return env.ROLLOUTS.list({ prefix: url.searchParams.get("prefix") });
  },
  async cachePut(url) {
    const headers = { "cache-control": url.searchParams.get("control"), "x-mark": "kept" };
    await caches.default.put("https://perch.internal/a?b=1", new Response("cached body", { headers }));
    return {};
  },
  async cacheMatch() {
    const hit = await caches.default.match("https://perch.internal/a?b=1");
    return hit ? { body: await hit.text(), mark: hit.headers.get("x-mark"), age: hit.headers.get("age") } : null;
  },
  async cacheDelete() {
    return caches.default.delete("https://perch.internal/a?b=1");
  },
  async points(url, env, request) {
    const write = ({ count, point }) => {
      for (let i = 0; i < count; i++) env.ANALYTICS.writeDataPoint(point);
      return count;
    };
    const writes = request.method === "POST" ? await request.json() : [JSON.parse(url.searchParams.get("write"))];
    return { written: writes.map(write).reduce((sum, count) => sum + count, 0) };
  },
  async limit(url, env) {
    return env.LIMITER.limit({ key: url.searchParams.get("key") });
  },
  async where(url, env, request) {
    const { colo, country } = request.cf ?? {};
    return {
      colo,
      country,
      ip: request.headers.get("cf-connecting-ip"),
      bindings: Object.keys(env).sort(),
      text: env.GREETING,
    };
  },
  async fetch(url) {
    return (await fetch(url.searchParams.get("url"))).json();
  },
};

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    try {
      return Response.json(await actions[url.pathname.slice(1)](url, env, request));
    } catch (error) {
      return Response.json({ error: error.message }, { status: 500 });
    }
  },
};
