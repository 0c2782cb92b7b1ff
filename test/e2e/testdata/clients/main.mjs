// Unmodified clients, each given nothing but a base URL and a fetch of the site's
// own. Takes lines of JSON that name a scenario, any number at a time, and answers
// each with a line.
import { createInterface } from "node:readline";
import { recorder } from "./recorder.mjs";

async function run({ client, scenario, user, ...options }) {
  const { asked, fetch } = recorder(user);
  try {
    const scenarios = await import(`./${client}.mjs`);
    return { result: await scenarios[scenario]({ ...options, fetch }), asked };
  } catch (error) {
    return { error: String(error.stack), asked };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, ...options } = JSON.parse(line);
  void run(options).then((answer) => process.stdout.write(JSON.stringify({ id, ...answer }) + "\n"));
}
