/** One array of all pieces; a single one that is not empty is that array. */
export function join(pieces: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const whole = pieces.find((piece) => piece.length === size);
  if (whole !== undefined) return whole as Uint8Array<ArrayBuffer>; // no memory is shared
  const joined = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}
