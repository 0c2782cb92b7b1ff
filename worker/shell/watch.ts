// The end of an answer's body, noticed without reading it.

/** How a body ended. */
export type BodyEnd = "whole" | "broken";

/** The same body, piped by workerd itself, and how it ends. length is the content-length, or NaN. */
export function watch(body: ReadableStream, length: number): { body: ReadableStream; ended: Promise<BodyEnd> } {
  const through = Number.isNaN(length) ? new IdentityTransformStream() : new FixedLengthStream(length);
  const ended = body.pipeTo(through.writable).then(
    (): BodyEnd => "whole",
    (): BodyEnd => "broken",
  );
  return { body: through.readable, ended };
}

/** The content-length, or NaN. */
export const lengthOf = (headers: Headers) => Number(headers.get("content-length") ?? NaN);
