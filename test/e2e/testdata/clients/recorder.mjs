// A fetch that keeps what it was asked for and which headers of Perch's came
// back: clients show the latter to nobody. It adds what a site's own would, the user.

/** @param {string} user */
export function recorder(user) {
  const asked = [];
  const recording = async (url, init = {}) => {
    if (String(url).startsWith("data:")) return fetch(url, init);
    const headers = new Headers(init.headers);
    headers.set("x-user-id", user);
    const call = { method: init.method ?? "GET", url: String(url), authorized: headers.has("authorization") };
    asked.push(call);
    const response = await fetch(url, { ...init, headers });
    const header = (name) => response.headers.get(name) ?? "";
    call.status = response.status;
    call.variant = header("x-perch-variant");
    call.servedBy = header("x-perch-served-by");
    call.fallback = header("x-perch-fallback");
    call.retryAfter = header("retry-after");
    return response;
  };
  return { asked, fetch: recording };
}
