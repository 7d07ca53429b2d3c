// HOT: no allocation, closures, strings, try or async per message.
// Big-endian integers, variable byte integers (MQTT 5.0 §1.5.5) and byte copies over a borrowed Uint8Array.

/** Below this many bytes a plain loop beats the call into the runtime's memmove. */
const LOOP_BYTES_MAX = 96;

/** Copies [from, to) of `source` to `target` at `at`; returns the offset after the last byte written. */
export function copyBytes(source: Uint8Array, from: number, to: number, target: Uint8Array, at: number): number {
  const length = to - from;
  if (length <= LOOP_BYTES_MAX) {
    for (let i = 0; i < length; i++) target[at + i] = source[from + i]!;
  } else {
    target.set(source.subarray(from, to), at);
  }
  return at + length;
}

/** A copy of [from, to) with memory of its own. `slice` is no such thing: a Buffer's borrows. */
export function ownBytes(source: Uint8Array, from: number, to: number): Uint8Array {
  return new Uint8Array(source.subarray(from, to));
}

/** Compares from the end: names that share a beginning, as topics do, differ there. */
export function equalBytes(a: Uint8Array, aFrom: number, aTo: number, b: Uint8Array, bFrom: number, bTo: number): boolean {
  const length = aTo - aFrom;
  if (length !== bTo - bFrom) return false;
  for (let i = length - 1; i >= 0; i--) if (a[aFrom + i] !== b[bFrom + i]) return false;
  return true;
}

export function readU16(buffer: Uint8Array, at: number): number {
  return (buffer[at]! << 8) | buffer[at + 1]!;
}

export function writeU16(buffer: Uint8Array, at: number, value: number): number {
  buffer[at] = value >>> 8;
  buffer[at + 1] = value;
  return at + 2;
}

export function writeU32(buffer: Uint8Array, at: number, value: number): number {
  buffer[at] = value >>> 24;
  buffer[at + 1] = value >>> 16;
  buffer[at + 2] = value >>> 8;
  buffer[at + 3] = value;
  return at + 4;
}

/** Bytes that a variable byte integer takes: 1 to 4. */
export function varintBytes(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

export function writeVarint(buffer: Uint8Array, at: number, value: number): number {
  let rest = value;
  let to = at;
  while (rest >= 128) {
    buffer[to++] = (rest & 127) | 128;
    rest >>>= 7;
  }
  buffer[to++] = rest;
  return to;
}
