// HOT: no allocation, closures, strings, try or async per message.
// What every payload of the load carries, so that a receiver can account for it without having been told of it:
//
//   bytes  0-3   run (8 bits) and stream (24 bits): a stream is one topic of one publisher
//          4-7   number of the message on its stream, counted from 0, modulo 2^32
//          8-11  when it was sent, or in an open loop due, in µs of the clock, modulo 2^32
//         12-15  check over the twelve bytes before and the payload's length
//         16-    the pattern, from a place that the stream chooses
//
// Integers are big-endian. Changing any one of them changes the check: each step of it can be undone.
import { equalBytes } from '../../protocol/bytes.ts';

export const HEADER_BYTES = 16;
export const STREAMS_MAX = 0x100_0000;
export const PAYLOAD_BYTES_MAX = 64 * 1_048_576;

const NUMBER_AT = 4;
const SENT_AT = 8;
const CHECK_AT = 12;
/** A prime, so that neighbours begin at different places. */
const PATTERN_STARTS = 251;
/** Up to here a loop over words beats the call into the runtime's memcmp. */
const LOOP_BYTES_MAX = 512;

/** The run and the stream as a payload carries them. */
export function streamWord(run: number, stream: number): number {
  return ((run << 24) | stream) >>> 0;
}

export function streamOf(word: number): number {
  return word & (STREAMS_MAX - 1);
}

export function runOf(word: number): number {
  return word >>> 24;
}

/** @param sentUs time of the clock, of which the low 32 bits are kept, without what is less than a microsecond */
export function writeHeader(view: DataView, at: number, word: number, number: number, sentUs: number, bytes: number): void {
  // The check is over what is kept: with the whole time, its sums would now and then be rounded to another microsecond.
  const sent = sentUs >>> 0;
  view.setUint32(at, word);
  view.setUint32(at + NUMBER_AT, number);
  view.setUint32(at + SENT_AT, sent);
  view.setInt32(at + CHECK_AT, checkOf(word, number, sent, bytes));
}

export function readWord(view: DataView, at: number): number {
  return view.getUint32(at);
}

export function readNumber(view: DataView, at: number): number {
  return view.getUint32(at + NUMBER_AT);
}

export function readSent(view: DataView, at: number): number {
  return view.getUint32(at + SENT_AT);
}

/** Whether the header at `at`, of a payload of `bytes` bytes, is one that `writeHeader` wrote. */
export function isHeader(view: DataView, at: number, bytes: number): boolean {
  if (bytes < HEADER_BYTES) return false;
  const check = checkOf(view.getUint32(at), view.getUint32(at + NUMBER_AT), view.getUint32(at + SENT_AT), bytes);
  return view.getInt32(at + CHECK_AT) === check;
}

function checkOf(word: number, number: number, sent: number, bytes: number): number {
  let check = Math.imul(word ^ 0x9e37_79b9, 0x85eb_ca6b);
  check = Math.imul((check ^ (check >>> 15)) + number, 0xc2b2_ae35);
  check = Math.imul((check ^ (check >>> 13)) + sent, 0x27d4_eb2f);
  check = Math.imul((check ^ (check >>> 16)) + bytes, 0x1656_67b1);
  return check ^ (check >>> 15);
}

/** The bytes behind the header: the same in every process, and at every offset different from what stands near it. */
export class Pattern {
  #bytes = patternBytes(0);
  #view = new DataView(this.#bytes.buffer);

  /** Fills [at, to) of a payload, which is behind its header. */
  fill(payload: Uint8Array, at: number, to: number, stream: number): void {
    const from = stream % PATTERN_STARTS;
    this.#reach(from + to - at);
    payload.set(this.#bytes.subarray(from, from + to - at), at);
  }

  /** Whether [at, to) is what `fill` wrote. */
  holds(payload: Uint8Array, view: DataView, at: number, to: number, stream: number): boolean {
    const bytes = to - at;
    let own = stream % PATTERN_STARTS;
    if (own + bytes > this.#bytes.length) this.#reach(own + bytes);
    if (bytes > LOOP_BYTES_MAX) return Buffer.compare(payload.subarray(at, to), this.#bytes.subarray(own, own + bytes)) === 0;
    let its = at;
    for (; its + 4 <= to; its += 4, own += 4) if (view.getInt32(its) !== this.#view.getInt32(own)) return false;
    return equalBytes(payload, its, to, this.#bytes, own, own + to - its);
  }

  #reach(bytes: number): void {
    if (bytes <= this.#bytes.length) return;
    this.#bytes = patternBytes(bytes * 2);
    this.#view = new DataView(this.#bytes.buffer);
  }
}

/** Xorshift (Marsaglia 2003), from a fixed seed. */
function patternBytes(count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(count);
  let state = 0x2545_f491;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}
