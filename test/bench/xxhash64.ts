// xxhash64 in 32-bit arithmetic: BigInt would make a heap object of every step.

const encoder = new TextEncoder();
let bytes = new Uint8Array(1024);

/** The latest digest; JavaScript has no pair to return without allocating one. */
export const digest = { high: 0, low: 0 };

// An accumulator of 64 bits. Multiplicands are the primes' halves.
class Lane {
  high = 0;
  low = 0;

  set(high: number, low: number): this {
    this.high = high;
    this.low = low;
    return this;
  }

  add(high: number, low: number): this {
    const sum = (this.low >>> 0) + (low >>> 0);
    this.low = sum | 0;
    this.high = (this.high + high + (sum > 0xffffffff ? 1 : 0)) | 0;
    return this;
  }

  xor(high: number, low: number): this {
    this.high ^= high;
    this.low ^= low;
    return this;
  }

  multiply(high: number, low: number): this {
    const a1 = this.low >>> 16;
    const a0 = this.low & 0xffff;
    const b1 = low >>> 16;
    const b0 = low & 0xffff;
    const middle = a1 * b0 + ((a0 * b0) >>> 16);
    const carry = a0 * b1 + (middle & 0xffff);
    const upper = (a1 * b1 + (middle >>> 16) + (carry >>> 16)) | 0;
    this.high = (upper + Math.imul(this.high, low) + Math.imul(this.low, high)) | 0;
    this.low = Math.imul(this.low, low);
    return this;
  }

  /** Rotates left by 1 to 31 bits. */
  rotate(n: number): this {
    const high = (this.high << n) | (this.low >>> (32 - n));
    this.low = (this.low << n) | (this.high >>> (32 - n));
    this.high = high;
    return this;
  }

  /** XORs itself with itself shifted right by n bits. */
  fold(n: number): this {
    if (n >= 32) {
      this.low ^= this.high >>> (n - 32);
    } else {
      this.low ^= (this.high << (32 - n)) | (this.low >>> n);
      this.high ^= this.high >>> n;
    }
    return this;
  }
}

const p1h = 0x9e3779b1;
const p1l = 0x85ebca87;
const p2h = 0xc2b2ae3d;
const p2l = 0x27d4eb4f;
const p3h = 0x165667b1;
const p3l = 0x9e3779f9;
const p4h = 0x85ebca77;
const p4l = 0xc2b2ae63;
const p5h = 0x27d4eb2f;
const p5l = 0x165667c5;

const h = new Lane();
const word = new Lane();
const lanes = [new Lane(), new Lane(), new Lane(), new Lane()] as const;

function u32(at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** Hashes text's UTF-8 with seed 0; the result is in digest. */
export function xxhash64(text: string): void {
  if (text.length * 3 > bytes.length) bytes = new Uint8Array(text.length * 3);
  const length = encoder.encodeInto(text, bytes).written;
  let at = 0;
  if (length >= 32) at = stripes(length);
  else h.set(p5h, p5l);
  h.add(0, length);
  for (; at + 8 <= length; at += 8) {
    word
      .set(u32(at + 4), u32(at))
      .multiply(p2h, p2l)
      .rotate(31)
      .multiply(p1h, p1l);
    h.xor(word.high, word.low).rotate(27).multiply(p1h, p1l).add(p4h, p4l);
  }
  if (at + 4 <= length) {
    word.set(0, u32(at)).multiply(p1h, p1l);
    h.xor(word.high, word.low).rotate(23).multiply(p2h, p2l).add(p3h, p3l);
    at += 4;
  }
  for (; at < length; at++) {
    word.set(0, bytes[at]!).multiply(p5h, p5l);
    h.xor(word.high, word.low).rotate(11).multiply(p1h, p1l);
  }
  h.fold(33).multiply(p2h, p2l).fold(29).multiply(p3h, p3l).fold(32);
  digest.high = h.high >>> 0;
  digest.low = h.low >>> 0;
}

/** Takes all whole stripes of 32 bytes into h and returns where they end. */
function stripes(length: number): number {
  const [a, b, c, d] = lanes;
  a.set(p1h, p1l).add(p2h, p2l);
  b.set(p2h, p2l);
  c.set(0, 0);
  d.set(~p1h, ~p1l).add(0, 1); // −p1
  let at = 0;
  for (; at + 32 <= length; at += 32) {
    for (let i = 0; i < 4; i++) {
      word.set(u32(at + 8 * i + 4), u32(at + 8 * i)).multiply(p2h, p2l);
      lanes[i]!.add(word.high, word.low).rotate(31).multiply(p1h, p1l);
    }
  }
  h.set(a.high, a.low).rotate(1);
  for (const [lane, n] of [
    [b, 7],
    [c, 12],
    [d, 18],
  ] as const) {
    word.set(lane.high, lane.low).rotate(n);
    h.add(word.high, word.low);
  }
  for (const lane of lanes) {
    word.set(lane.high, lane.low).multiply(p2h, p2l).rotate(31).multiply(p1h, p1l);
    h.xor(word.high, word.low).multiply(p1h, p1l).add(p4h, p4l);
  }
  return at;
}
