// What the core leaves open in a body, filled in.

import { SlotKind } from "./core.ts";
import type { Slot } from "./core.ts";

const encoder = new TextEncoder();

/**
 * The bytes that stand in a slot's place: text as a JSON string (null as JSON's) or, for
 * a tail, the members of text, which is a JSON object. The slot's own value comes back
 * as it was written.
 */
export function fill(slot: Slot, text: string | null): Uint8Array {
  const isTail = slot.kind === SlotKind.tail || slot.kind === SlotKind.kept;
  const written = text === slot.value ? slot.raw : undefined;
  if (!isTail) return written ?? encoder.encode(JSON.stringify(text));
  const members = (written ?? encoder.encode(text ?? "{}")).slice(1, -1); // without the braces
  if (slot.comma !== true || members.length === 0) return members;
  const joined = new Uint8Array(1 + members.length);
  joined[0] = 0x2c;
  joined.set(members, 1);
  return joined;
}
