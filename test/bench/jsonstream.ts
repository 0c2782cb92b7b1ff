// The push tokenizer of package shared/jsonstream in JavaScript: it accepts and
// refuses the same, so that both search and edit bodies with the same care.

export const Kind = { begin: 0, end: 1, key: 2, string: 3, number: 4, literal: 5 } as const;

/** Takes tokens; false stops the scanner. Text is bytes[from, to); start and end are offsets in the whole input. */
export interface Sink {
  isObject?: boolean;
  token(
    kind: number,
    last: boolean,
    depth: number,
    start: number,
    end: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): boolean;
}

const State = {
  value: 0,
  firstValue: 1,
  firstKey: 2,
  key: 3,
  colon: 4,
  after: 5,
  done: 6,
  text: 7,
  escape: 8,
  hex: 9,
  number: 10,
  literal: 11,
  broken: 12,
} as const;

// Where in the grammar of numbers.
const Num = { minus: 0, zero: 1, integer: 2, point: 3, fraction: 4, e: 5, sign: 6, exponent: 7 } as const;

const maxDepth = 512;
const nothing = new Uint8Array();
const encoder = new TextEncoder();
const literals: Record<number, Uint8Array> = {
  0x74: encoder.encode("true"),
  0x66: encoder.encode("false"),
  0x6e: encoder.encode("null"),
};
const escapes: Record<number, number> = {
  0x22: 0x22,
  0x5c: 0x5c,
  0x2f: 0x2f,
  0x62: 0x08,
  0x66: 0x0c,
  0x6e: 0x0a,
  0x72: 0x0d,
  0x74: 0x09,
};

export class Scanner {
  #state: number = State.value;
  #number = 0;
  #kind = 0; // of the text being read
  #depth = 0;
  #objects: boolean[] = [];
  #offset = 0; // bytes consumed before the current chunk
  #start = 0;
  #literal: Uint8Array = nothing;
  #matched = 0;
  #hex = "";
  #high = ""; // a high surrogate that waits for its low half

  readonly #sink: Sink;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  get isDone(): boolean {
    return this.#state === State.done;
  }

  /** Whether just one whole value was pushed, which may be a number that could go on. */
  get isWhole(): boolean {
    return this.isDone || (this.#depth === 0 && this.#state === State.number && this.#isComplete);
  }

  get #isComplete(): boolean {
    const state = this.#number;
    return state !== Num.minus && state !== Num.point && state !== Num.e && state !== Num.sign;
  }

  /** Consumes bytes; false after an error or a stop, from then on. */
  push(data: Uint8Array): boolean {
    for (let i = 0; i < data.length;) {
      const n = this.#step(data, i);
      if (n < 0) {
        this.#state = State.broken;
        return false;
      }
      i += n;
    }
    this.#offset += data.length;
    return true;
  }

  /** Consumes bytes of data from i and returns how many, or −1. */
  #step(data: Uint8Array, i: number): number {
    const c = data[i]!;
    switch (this.#state) {
      case State.text:
        return this.#text(data, i);
      case State.escape:
        return this.#escape(c, this.#offset + i + 1) ? 1 : -1;
      case State.hex:
        return this.#hexDigit(c, this.#offset + i + 1) ? 1 : -1;
      case State.number:
        return this.#numberText(data, i);
      case State.literal:
        return this.#literalByte(c, this.#offset + i) ? 1 : -1;
      case State.broken:
        return -1;
    }
    if (c === 0x20 || c === 0x09 || c === 0x0a || c === 0x0d) return 1;
    return this.#structure(c, this.#offset + i) ? 1 : -1;
  }

  #structure(c: number, at: number): boolean {
    switch (this.#state) {
      case State.value:
      case State.firstValue:
        if (c === 0x5d && this.#state === State.firstValue) return this.#close(at);
        return this.#beginValue(c, at);
      case State.firstKey:
      case State.key:
        if (c === 0x7d && this.#state === State.firstKey) return this.#close(at);
        if (c !== 0x22) return false;
        this.#beginText(Kind.key, at);
        return true;
      case State.colon:
        this.#state = State.value;
        return c === 0x3a;
      case State.after:
        return this.#after(c, at);
    }
    return false;
  }

  #after(c: number, at: number): boolean {
    const inObject = this.#objects[this.#depth - 1];
    if (c === 0x2c) {
      this.#state = inObject ? State.key : State.value;
      return true;
    }
    return c === (inObject ? 0x7d : 0x5d) && this.#close(at);
  }

  #beginValue(c: number, at: number): boolean {
    this.#start = at;
    if (c === 0x22) {
      this.#beginText(Kind.string, at);
      return true;
    }
    if (c === 0x7b || c === 0x5b) return this.#open(c === 0x7b, at);
    const literal = literals[c];
    if (literal !== undefined) {
      this.#literal = literal;
      this.#matched = 1;
      this.#state = State.literal;
      return true;
    }
    this.#number = c === 0x2d ? Num.minus : c === 0x30 ? Num.zero : Num.integer;
    if (this.#number === Num.integer && !(c >= 0x31 && c <= 0x39)) return false;
    this.#state = State.number;
    return this.#sink.token(Kind.number, false, this.#depth, at, at + 1, nothing, 0, 0);
  }

  #open(isObject: boolean, at: number): boolean {
    if (this.#depth === maxDepth) return false;
    this.#objects[this.#depth++] = isObject;
    this.#state = isObject ? State.firstKey : State.firstValue;
    this.#sink.isObject = isObject;
    return this.#sink.token(Kind.begin, true, this.#depth - 1, at, at + 1, nothing, 0, 0);
  }

  #close(at: number): boolean {
    this.#depth--;
    this.#endValue();
    return this.#sink.token(Kind.end, true, this.#depth, at, at + 1, nothing, 0, 0);
  }

  #endValue(): void {
    this.#state = this.#depth === 0 ? State.done : State.after;
  }

  #literalByte(c: number, at: number): boolean {
    if (c !== this.#literal[this.#matched]) return false;
    if (++this.#matched < this.#literal.length) return true;
    this.#endValue();
    return this.#sink.token(Kind.literal, true, this.#depth, this.#start, at + 1, nothing, 0, 0);
  }

  #beginText(kind: number, at: number): void {
    this.#kind = kind;
    this.#start = at;
    this.#state = State.text;
    this.#high = "";
  }

  #piece(last: boolean, end: number, bytes: Uint8Array, from: number, to: number): boolean {
    return this.#sink.token(this.#kind, last, this.#depth, this.#start, end, bytes, from, to);
  }

  #text(data: Uint8Array, i: number): number {
    let n = i;
    for (; n < data.length; n++) {
      const c = data[n]!;
      if (c === 0x22 || c === 0x5c) break;
      if (c < 0x20) return -1;
    }
    const end = this.#offset + n;
    if (n > i && !this.#flushSurrogate(end)) return -1;
    if (n === data.length) return this.#piece(false, end, data, i, n) ? n - i : -1;
    if (data[n] === 0x5c) {
      this.#state = State.escape;
      return n === i || this.#piece(false, end, data, i, n) ? n - i + 1 : -1;
    }
    if (!this.#flushSurrogate(end)) return -1;
    if (this.#kind === Kind.key) this.#state = State.colon;
    else this.#endValue();
    return this.#piece(true, end + 1, data, i, n) ? n - i + 1 : -1;
  }

  #flushSurrogate(end: number): boolean {
    if (this.#high === "") return true;
    this.#high = "";
    return this.#emit("\ufffd", end);
  }

  #emit(text: string, end: number): boolean {
    const bytes = encoder.encode(text);
    return this.#piece(false, end, bytes, 0, bytes.length);
  }

  #escape(c: number, end: number): boolean {
    if (c === 0x75) {
      this.#state = State.hex;
      this.#hex = "";
      return true;
    }
    const plain = escapes[c];
    if (plain === undefined) return false;
    this.#state = State.text;
    return this.#flushSurrogate(end) && this.#emit(String.fromCharCode(plain), end);
  }

  #hexDigit(c: number, end: number): boolean {
    const digit = String.fromCharCode(c);
    if (!/[0-9a-fA-F]/.test(digit)) return false;
    this.#hex += digit;
    if (this.#hex.length < 4) return true;
    this.#state = State.text;
    const unit = String.fromCharCode(parseInt(this.#hex, 16));
    const isLow = unit >= "\udc00" && unit <= "\udfff";
    if (this.#high !== "" && isLow) {
      const pair = this.#high + unit;
      this.#high = "";
      return this.#emit(pair, end);
    }
    if (!this.#flushSurrogate(end)) return false;
    if (unit < "\ud800" || unit > "\udfff") return this.#emit(unit, end);
    if (isLow) return this.#emit("\ufffd", end);
    this.#high = unit;
    return true;
  }

  #numberText(data: Uint8Array, i: number): number {
    let n = i;
    while (n < data.length && this.#numberByte(data[n]!)) n++;
    const end = this.#offset + n;
    if (n === data.length) {
      return this.#sink.token(Kind.number, false, this.#depth, this.#start, end, data, i, n) ? n - i : -1;
    }
    if (!this.#isComplete) return -1;
    this.#endValue();
    return this.#sink.token(Kind.number, true, this.#depth, this.#start, end, data, i, n) ? n - i : -1;
  }

  /** Takes one more byte of the number; false means that it is not part of it. */
  #numberByte(c: number): boolean {
    const isDigit = c >= 0x30 && c <= 0x39;
    const isE = c === 0x65 || c === 0x45;
    let next = -1;
    switch (this.#number) {
      case Num.minus:
        if (isDigit) next = c === 0x30 ? Num.zero : Num.integer;
        break;
      case Num.zero:
      case Num.integer:
        if (isDigit && this.#number === Num.integer) next = Num.integer;
        else if (c === 0x2e) next = Num.point;
        else if (isE) next = Num.e;
        break;
      case Num.point:
      case Num.fraction:
        if (isDigit) next = Num.fraction;
        else if (isE && this.#number === Num.fraction) next = Num.e;
        break;
      case Num.e:
        if (isDigit) next = Num.exponent;
        else if (c === 0x2b || c === 0x2d) next = Num.sign;
        break;
      default:
        if (isDigit) next = Num.exponent;
    }
    if (next < 0) return false;
    this.#number = next;
    return true;
  }
}
