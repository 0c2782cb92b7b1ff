// Unmodified clients, each given nothing but a base URL; prints what they got as
// JSON. The canary user's header is what a site's own fetch would add.
import { createReplicate } from "@ai-sdk/replicate";
import Replicate from "replicate";

const [baseUrl, scenario, model, user = "user"] = process.argv.slice(2);
const asked = []; // every request of the client's
const withUser = async (url, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set("x-user-id", user);
  const response = await fetch(url, { ...init, headers });
  asked.push({
    method: init.method ?? "GET",
    url: String(url),
    authorized: headers.has("authorization"),
    status: response.status,
  });
  return response;
};
const replicate = new Replicate({ auth: "test-token", baseUrl, fetch: withUser, useFileOutput: false });
const input = { prompt: "one two three" };
const direct = (url, method) =>
  withUser(url, { method, headers: { authorization: "Bearer test-token" } }).then((r) => r.json());

const scenarios = {
  sync: () => replicate.run(model, { input }),
  async: () => replicate.run(model, { input, wait: { mode: "poll", interval: 20 } }),
  async stream() {
    const events = [];
    for await (const { event, data } of replicate.stream(model, { input })) events.push({ event, data });
    return events;
  },
  async cancel() {
    const { id } = await replicate.predictions.create({ model, input });
    return (await replicate.predictions.cancel(id)).status;
  },
  async links() {
    const { id, urls } = await replicate.predictions.create({ model, input });
    const polled = await direct(urls.get, "GET");
    const canceled = await direct(urls.cancel, "POST");
    return { id, urls, polled, canceled };
  },
  async pages() {
    const ids = [];
    for await (const page of replicate.paginate(replicate.predictions.list)) ids.push(page.map(({ id }) => id));
    return ids;
  },
  async image() {
    const provider = createReplicate({ apiToken: "test-token", baseURL: baseUrl, fetch: withUser });
    const options = {
      prompt: "one two three",
      n: 1,
      providerOptions: { replicate: { maxWaitTimeInSeconds: 1, pollIntervalMillis: 20 } },
    };
    const { images } = await provider.image(model).doGenerate(options);
    return images.map((image) => Buffer.from(image).toString());
  },
};
const result = await scenarios[scenario]();
console.log(JSON.stringify({ result, asked }));
