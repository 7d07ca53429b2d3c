// What one shard writes to another, as it lies in a ring (storage/ring.ts): twelve words, then lists and bytes.
//
//   word 0 KIND  1 ROUTE  2 PUBLISHER  3 BITS  4 TOPIC  5 PROPERTIES  6 PAYLOAD  7 TARGETS  8-9 EXPIRES (Float64)  10 COUNT  11 NUMBER
//
//   kind       ROUTE                 TARGETS            TOPIC, PROPERTIES, PAYLOAD           others
//   ROUTE      place to keep it at   bytes of targets   bytes of the topic name
//   RUN        place, or -1          bytes of targets   offset and bytes of the topic; bytes COUNT messages, BITS level, NUMBER payload bytes
//   MESSAGE    place, or -1          bytes of targets   bytes of each                        BITS QoS | retain << 2, EXPIRES, COUNT transfer or -1, NUMBER transfers below are over
//   RETAIN     retention                                bytes of each                        as MESSAGE
//   RETAINED                                            bytes of each                        as MESSAGE
//   DELIVERY   session's handle      bytes of ids       bytes of each                        BITS as stored, EXPIRES, NUMBER position (Float64 at 10)
//   REFUSED, LATER, SETTLED                                                                  NUMBER of the message, BITS a Refusal
//   HOLD, LET_GO  PUBLISHER
//   CONTROL                                                                   bytes          a message of control.ts
//   PART       the next bytes of a letter that is longer than PART_BYTES; NUMBER: bytes of the whole, COUNT: bytes before these
//
// Bytes that are many are copied a word at a time only where they lie in the same place of a word on both sides (a copy into or out of shared memory, otherwise: 64 KiB in 22 µs instead of 3.5). So a
// run, and a long payload, stand behind up to seven bytes of padding: of a RUN in word 8, of a message in bits 16-18 of BITS. Whoever copies them out puts them at such a place of its own first.
//
// A target: subscriber, options, group, bytes of identifiers, then these, padded to 4. PUBLISHER is the connection's number where it is known, 0 elsewhere.

export const Letter = {
  ROUTE: 1,
  RUN: 2,
  MESSAGE: 3,
  RETAIN: 4,
  RETAINED: 5,
  DELIVERY: 6,
  REFUSED: 7,
  LATER: 8,
  SETTLED: 9,
  HOLD: 10,
  LET_GO: 11,
  CONTROL: 12,
  PART: 13,
  FORGET_ROUTES: 14,
} as const;
export type Letter = (typeof Letter)[keyof typeof Letter];

export const Word = {
  KIND: 0,
  ROUTE: 1,
  PUBLISHER: 2,
  BITS: 3,
  TOPIC: 4,
  PROPERTIES: 5,
  PAYLOAD: 6,
  TARGETS: 7,
  EXPIRES: 8,
  /** Of a run, which does not expire. */
  PADDING: 8,
  COUNT: 10,
  NUMBER: 11,
} as const;

/** Bytes of the words before lists and bytes. */
export const LETTER_FIXED_BYTES = 48;
/** Words of a target before its identifiers. */
export const TARGET_WORDS = 4;

/** Payloads above this are copied in one call, those below in a loop (protocol/bytes.ts). */
export const ALIGNED_ABOVE = 96;
/** Most bytes of padding. */
export const PADDING_MAX = 7;
const WORD_MASK = 7;

/** Bytes to leave out before `to`, so that what lies at `from` of `source` comes to the same place of a word. */
export function padding(source: Uint8Array, from: number, to: number): number {
  return (source.byteOffset + from - to) & WORD_MASK;
}

/** Target lists are padded, so that what follows is aligned. */
export function padded(bytes: number): number {
  return (bytes + 3) & ~3;
}
