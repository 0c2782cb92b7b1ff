// Drives the rest of the official client against the base URL given as the first argument: all that is not running
// models. Prints what each call gave, as JSON.
import { createServer } from "node:http";
import Replicate, { validateWebhook } from "replicate";

const [baseUrl, stable, canary] = process.argv.slice(2);
const replicate = new Replicate({ auth: "r8_test", baseUrl });
const input = { prompt: "hello there" };
const seen = {};

const file = await replicate.files.create(new Blob(["hello"], { type: "text/plain" }), { customer: 7 });
seen.file = { size: file.size, type: file.content_type, customer: file.metadata.customer };
seen.files = (await replicate.files.list()).results.length;
seen.sameFile = (await replicate.files.get(file.id)).id === file.id;
seen.deleted = await replicate.files.delete(file.id);

await replicate.deployments.create({
  deployment_name: "app",
  name: "app",
  model: "acme/flux",
  version: stable,
  hardware: "cpu",
  min_instances: 0,
  max_instances: 1,
});
seen.updated = (await replicate.deployments.update("acme", "app", { version: canary })).current_release;
seen.deployments = (await replicate.deployments.list()).results.length;
seen.undeployed = await replicate.deployments.delete("acme", "app");

seen.hardware = (await replicate.hardware.list()).length;
seen.collections = (await replicate.collections.list()).results.length;
seen.collection = (await replicate.collections.get("official")).models.length;
seen.model = (await replicate.models.create("acme", "new", { visibility: "private", hardware: "cpu" })).name;
seen.models = (await replicate.models.list()).results.length;
seen.found = (await replicate.models.search("flux")).results.map((model) => model.name);

const training = await replicate.trainings.create("acme", "flux", canary, { destination: "acme/new", input: {} });
seen.training = (await replicate.trainings.cancel(training.id)).status;
seen.trainings = (await replicate.trainings.list()).results.length;

seen.paged = 0;
for (let i = 0; i < 5; i++) await replicate.predictions.create({ version: stable, input });
for await (const batch of replicate.paginate(replicate.predictions.list)) seen.paged += batch.length;

// Each delivery is checked by the client's own code with the secret that the API gives.
const { key } = await replicate.webhooks.default.secret.get();
seen.webhooks = [];
await new Promise((resolve) => {
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const h = request.headers;
    const genuine = await validateWebhook({
      id: h["webhook-id"],
      timestamp: h["webhook-timestamp"],
      signature: h["webhook-signature"],
      body,
      secret: key,
    });
    seen.webhooks.push({ genuine, status: JSON.parse(body).status });
    response.end();
    if (seen.webhooks.length === 2) server.close(resolve);
  }).listen(0, "127.0.0.1", () => {
    const webhook = `http://127.0.0.1:${server.address().port}/`;
    replicate.predictions.create({ version: canary, input, webhook, webhook_events_filter: ["start", "completed"] });
  });
});

console.log(JSON.stringify(seen));
