// What sites do with the AI SDK and its provider for Replicate.
import { createReplicate } from "@ai-sdk/replicate";
import { experimental_generateVideo as generateVideo, generateImage } from "ai";

const provider = ({ baseUrl, fetch }) => createReplicate({ apiToken: "test-token", baseURL: baseUrl, fetch });
const text = (file) => ({ text: Buffer.from(file.uint8Array).toString(), type: file.mediaType });
const trouble = (promise) =>
  promise.then(
    () => ({}),
    ({ message, statusCode, responseHeaders }) => ({
      message,
      status: statusCode,
      retryAfter: responseHeaders?.["retry-after"],
    }),
  );

async function generated(o, options) {
  const replicate = { pollIntervalMillis: 20, ...options };
  const model = provider(o).image(o.model);
  const { image } = await generateImage({ model, prompt: o.prompt, maxRetries: 0, providerOptions: { replicate } });
  return text(image);
}

export const image = (o) => generated(o, {});

/** Waits for so short that the rest is polled. */
export const polledImage = (o) => generated(o, { maxWaitTimeInSeconds: 1 });

export async function video(o) {
  const model = provider(o).video(o.model);
  const { video } = await generateVideo({ model, prompt: o.prompt, maxRetries: 0, poll: { intervalMs: 20 } });
  return text(video);
}

export const failedImage = (o) => trouble(image(o));

export const throttledImage = (o) => trouble(image(o));
