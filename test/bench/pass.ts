// The least that a worker can do: pass the request on.

interface Env {
  REPLICATE_BASE_URL: string;
}

export default {
  fetch(request: Request, env: Env): Promise<Response> {
    const { pathname } = new URL(request.url);
    const path = pathname.startsWith("/v1/") ? pathname.slice(3) : pathname;
    return fetch(env.REPLICATE_BASE_URL + path, request);
  },
} satisfies ExportedHandler<Env>;
