// Runs a model once per user through the unmodified npm client, the user in the
// input and in the header that Perch reads; prints user → output as JSON.
import Replicate from "replicate";

const [baseUrl, form, users] = process.argv.slice(2);
const outputs = {};
for (let i = 0; i < Number(users); i++) {
  const user = `user-${i}`;
  const withUser = (url, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set("x-user-id", user);
    return fetch(url, { ...init, headers });
  };
  const replicate = new Replicate({ auth: "test-token", baseUrl, fetch: withUser, useFileOutput: false });
  outputs[user] = JSON.stringify(await replicate.run(form, { input: { user, prompt: "hello" } }));
}
console.log(JSON.stringify(outputs));
