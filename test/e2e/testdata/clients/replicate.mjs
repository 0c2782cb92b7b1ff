// What sites do with npm's replicate.
import { createHash } from "node:crypto";
import Replicate, { validateWebhook } from "replicate";

const client = ({ baseUrl, fetch }) => new Replicate({ auth: "test-token", baseUrl, fetch });
const message = (promise) =>
  promise.then(
    () => "",
    (error) => error.message,
  );

export const sync = (o) => client(o).run(o.model, { input: { prompt: o.prompt } });

export const poll = (o) =>
  client(o).run(o.model, { input: { prompt: o.prompt }, wait: { mode: "poll", interval: 20 } });

export async function deployment(o) {
  const replicate = client(o);
  const created = await replicate.deployments.predictions.create(...o.model.split("/"), {
    input: { prompt: o.prompt },
  });
  return (await replicate.wait(created, { interval: 20 })).output;
}

export async function stream(o) {
  const events = [];
  for await (const { event, data } of client(o).stream(o.model, { input: { prompt: o.prompt } }))
    events.push({ event, data });
  return events;
}

export async function cancel(o) {
  const replicate = client(o);
  const { id } = await replicate.predictions.create({ model: o.model, input: { prompt: o.prompt } });
  const canceled = await replicate.predictions.cancel(id);
  const found = await replicate.predictions.get(id);
  return [canceled.status, found.status];
}

/** Cancels through the signal that run takes. */
export async function abort(o) {
  const controller = new AbortController();
  const statuses = [];
  const options = { input: { prompt: o.prompt }, wait: { mode: "poll", interval: 20 }, signal: controller.signal };
  await client(o).run(o.model, options, ({ status }) => {
    statuses.push(status);
    controller.abort();
  });
  return statuses.at(-1);
}

export const failed = (o) => message(sync(o));

export const polledFailed = (o) => message(poll(o));

export async function file(o) {
  const output = await sync(o); // a FileOutput
  const blob = await output.blob();
  return { text: await blob.text(), type: blob.type };
}

/** Uploads a file, and has a model work on it. */
export async function upload(o) {
  const image = Buffer.from(o.prompt.repeat(20_000));
  const output = await client(o).run(o.model, { input: { prompt: o.prompt, image } });
  return { output, sha256: createHash("sha256").update(image).digest("hex") };
}

export async function files(o) {
  const replicate = client(o);
  const made = await replicate.files.create(Buffer.from(o.prompt), { of: "perch" });
  const listed = await replicate.files.list();
  const found = await replicate.files.get(made.id);
  const deleted = await replicate.files.delete(made.id);
  return {
    listed: listed.results.some(({ id }) => id === made.id),
    found: found.id === made.id,
    metadata: found.metadata,
    deleted,
  };
}

export async function pages(o) {
  const replicate = client(o);
  const ids = [];
  for await (const page of replicate.paginate(replicate.predictions.list)) ids.push(page.map(({ id }) => id));
  return ids;
}

export async function webhook(o) {
  const { model, prompt, webhook } = o;
  const created = await client(o).predictions.create({
    model,
    input: { prompt },
    webhook,
    webhook_events_filter: ["completed"],
  });
  return { id: created.id, webhook: created.webhook };
}

/** Whether a webhook is signed with the account's secret, as Replicate's are. */
export async function validate(o) {
  const { key } = await client(o).webhooks.default.secret.get();
  return validateWebhook(o.delivered, key);
}
