// Drives the official client against the base URL given as the first argument and prints what each call gave, as JSON.
import Replicate from "replicate";

const [baseUrl, stable, canary, failing] = process.argv.slice(2);
const replicate = new Replicate({ auth: "r8_test", baseUrl });
const input = { prompt: "hello there" };
const seen = {};

seen.official = await replicate.run("acme/flux", { input });
seen.byVersion = await replicate.run(`acme/flux:${canary}`, { input });
seen.polled = await replicate.run(`acme/flux:${canary}`, { input, wait: { mode: "poll", interval: 20 } });
seen.deployment = await replicate.wait(
  await replicate.deployments.predictions.create("acme", "flux-canary", { input }),
  { interval: 20 },
);

const began = performance.now();
seen.streamed = [];
for await (const event of replicate.stream("acme/chat", { input })) {
  seen.streamed.push({ event: event.event, data: event.data, at: performance.now() - began });
}

const created = await replicate.predictions.create({ version: stable, input });
seen.canceled = await replicate.predictions.cancel(created.id);

for (const [name, wait] of [
  ["failed", { mode: "block" }],
  ["failedPolled", { mode: "poll", interval: 20 }],
]) {
  seen[name] = await replicate.run(`acme/flux:${failing}`, { input, wait }).catch((error) => error.message);
}
seen.refused = await replicate.run("acme/flux", { input: {} }).catch((error) => error.response.status);
seen.account = await replicate.accounts.current();
seen.listed = (await replicate.predictions.list()).results.length;
seen.models = (await replicate.models.get("acme", "flux")).latest_version.id;
seen.versions = (await replicate.models.versions.list("acme", "flux")).results.map((version) => version.id);

console.log(JSON.stringify(seen));
