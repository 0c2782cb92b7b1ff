// A user of the official npm client: runs the model again and again until its
// standard input ends, then prints what became of the calls on each side.
import Replicate from "replicate";

const [baseUrl, model] = process.argv.slice(2);
const arms = {};
let variant = "none";
let running = true;

process.stdin.resume().on("end", () => (running = false));

const noted = async (url, init) => {
  const response = await fetch(url, init);
  variant = response.headers.get("x-perch-variant") ?? variant;
  return response;
};

for (let i = 0; running; i++) {
  const user = (url, init) =>
    noted(url, {
      ...init,
      headers: { ...Object.fromEntries(new Headers(init?.headers)), "x-user-id": `npm-${i % 200}` },
    });
  const replicate = new Replicate({ auth: "demo-token", baseUrl, fetch: user, useFileOutput: false });
  let ended = "ok";
  try {
    await replicate.run(model, { input: { prompt: "a perch" } });
  } catch {
    ended = "failed";
  }
  arms[variant] ??= { ok: 0, failed: 0 };
  arms[variant][ended]++;
}
console.log(JSON.stringify(arms));
