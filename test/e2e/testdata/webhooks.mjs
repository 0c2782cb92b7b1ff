// Webhooks by the unmodified npm client: creates a prediction that has one, or
// tells which of those on standard input are signed as Replicate signs them.
import { text } from "node:stream/consumers";
import Replicate, { validateWebhook } from "replicate";

const [command, ...args] = process.argv.slice(2);
const commands = {
  async create(baseUrl, model, webhook) {
    const replicate = new Replicate({ auth: "test-token", baseUrl });
    const input = { prompt: "one two three" };
    return replicate.predictions.create({ model, input, webhook, webhook_events_filter: ["completed"] });
  },
  async validate(secret) {
    const webhooks = JSON.parse(await text(process.stdin));
    return Promise.all(webhooks.map((webhook) => validateWebhook(webhook, secret)));
  },
};
console.log(JSON.stringify(await commands[command](...args)));
