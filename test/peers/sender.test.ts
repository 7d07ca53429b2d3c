// The way from one shard to another over a ring as small as it may be: what is sent is read, in order and whole, whatever finds room when; and who waits for room is woken.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LETTER_FIXED_BYTES, Letter, Word } from '../../engine/peers/letter.ts';
import { Sender } from '../../engine/peers/sender.ts';
import { allocateDoorbell, Doorbell } from '../../storage/doorbell.ts';
import { allocateRing, RingConsumer, RingProducer } from '../../storage/ring.ts';
import { agree, check } from '../check.ts';

const RING_BYTES = 4_096;

class Way {
  readonly waiting = new Int32Array(new SharedArrayBuffer(4));
  readonly sender: Sender;
  readonly consumer: RingConsumer;
  /** Bytes behind the words of each letter, in order: how many, and which byte they are. */
  readonly sent: { readonly extra: number; readonly kind: Letter }[] = [];
  taken = 0;
  #long: Uint8Array | null = null;

  constructor() {
    const memory = allocateRing(RING_BYTES);
    this.sender = new Sender(new RingProducer(memory), new Doorbell(allocateDoorbell()), this.waiting, 0);
    this.consumer = new RingConsumer(memory);
  }

  send(extra: number, kind: Letter): void {
    const { sender } = this;
    const number = this.sent.length;
    const at = sender.reserve(kind, extra);
    agree(at % 8, 0);
    agree([sender.words[(at >> 2) + Word.PUBLISHER], sender.words[(at >> 2) + Word.TARGETS]], [0, 0]);
    sender.words[(at >> 2) + Word.NUMBER] = number;
    sender.words[(at >> 2) + Word.PAYLOAD] = extra;
    sender.floats[(at + Word.EXPIRES * 4) >> 3] = number / 3;
    sender.bytes.fill(number & 0xff, at + LETTER_FIXED_BYTES, at + LETTER_FIXED_BYTES + extra);
    sender.sent();
    this.sent.push({ extra, kind });
  }

  /** Reads up to `count` records of what is shown. */
  read(count: number): number {
    const { consumer } = this;
    consumer.look();
    let read = 0;
    for (; read < count && consumer.next(); read++) {
      const { bytes, words, floats, from } = consumer;
      if (words[from >> 2] === Letter.PART) this.#part(bytes, words, from);
      else this.#judge(bytes, words, floats, from);
    }
    return read;
  }

  /** Gives the room back, as Peers.release does. */
  release(): void {
    this.consumer.release();
    Atomics.store(this.waiting, 0, 0);
  }

  #part(bytes: Uint8Array, words: Int32Array, from: number): void {
    const word = from >> 2;
    const [length, before, whole] = [words[word + Word.PAYLOAD]!, words[word + Word.COUNT]!, words[word + Word.NUMBER]!];
    if (before === 0) {
      agree(this.#long, null);
      this.#long = new Uint8Array((whole + 7) & ~7);
    }
    this.#long!.set(bytes.subarray(from + LETTER_FIXED_BYTES, from + LETTER_FIXED_BYTES + length), before);
    if (before + length < whole) return;
    const long = this.#long!;
    this.#long = null;
    this.#judge(long, new Int32Array(long.buffer), new Float64Array(long.buffer), 0);
  }

  #judge(bytes: Uint8Array, words: Int32Array, floats: Float64Array, from: number): void {
    const number = this.taken++;
    const { extra, kind } = this.sent[number]!;
    const word = from >> 2;
    agree([words[word], words[word + Word.NUMBER], words[word + Word.PAYLOAD]], [kind, number, extra]);
    agree(floats[(from + Word.EXPIRES * 4) >> 3], number / 3);
    agree([words[word + Word.PUBLISHER], words[word + Word.TARGETS]], [0, 0]);
    for (let at = 0; at < extra; at++)
      if (bytes[from + LETTER_FIXED_BYTES + at] !== (number & 0xff)) throw new Error(`letter ${number} has changed at ${at}`);
  }
}

const kinds = fc.constantFrom(...Object.values(Letter).filter((kind) => kind !== Letter.PART));
const act = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(
        fc.oneof(
          { weight: 5, arbitrary: fc.nat(120) },
          { weight: 2, arbitrary: fc.nat(470) },
          { weight: 1, arbitrary: fc.nat(9_000) },
        ),
        kinds,
      )
      .map(
        ([extra, kind]) =>
          (way: Way) =>
            way.send(extra, kind),
      ),
  },
  {
    weight: 3,
    arbitrary: fc.nat(20).map((count) => (way: Way) => {
      way.read(count);
      way.release();
    }),
  },
  { weight: 3, arbitrary: fc.constant((way: Way) => way.sender.publish()) },
  { weight: 2, arbitrary: fc.constant((way: Way) => void way.sender.unspill()) },
);

describe('a sender', () => {
  test('brings every letter whole and in order, over a ring that wraps and is full', () =>
    check(
      fc.property(fc.array(act, { maxLength: 250, size: 'max' }), (acts) => {
        const way = new Way();
        for (const run of acts) {
          run(way);
          // Whoever waits for room has letters that wait; whoever has none does not.
          if (way.sender.spilledBytes === 0) agree(way.sender.unspill(), true);
        }
        for (let rounds = 0; way.taken < way.sent.length; rounds++) {
          if (rounds > 10_000) throw new Error(`${way.taken} of ${way.sent.length} letters came`);
          way.sender.unspill();
          way.sender.publish();
          way.read(1_000);
          way.release();
        }
        agree(way.sender.spilledBytes, 0);
        agree(way.sender.hasUnpublished, false);
        way.consumer.look();
        agree(way.consumer.next(), false);
      }),
      500,
    ));

  test('shows nothing before it is published, unless the ring is full', () => {
    const way = new Way();
    way.send(100, Letter.MESSAGE);
    expect([way.sender.hasUnpublished, way.consumer.hasRecords, way.read(1)]).toEqual([true, false, 0]);
    way.sender.publish();
    expect([way.sender.hasUnpublished, way.read(9)]).toEqual([false, 1]);
    way.release();
    while (way.sender.spilledBytes === 0) way.send(400, Letter.MESSAGE);
    // Only who reads can make room.
    expect(way.consumer.hasRecords).toBe(true);
  });

  test('says that it waits for room before it sleeps, and not once it has found it', () => {
    const way = new Way();
    while (way.sender.spilledBytes === 0) way.send(400, Letter.MESSAGE);
    expect(way.sender.unspill()).toBe(false);
    expect(Atomics.load(way.waiting, 0)).toBe(1);
    way.read(1_000);
    way.consumer.release();
    expect(way.sender.unspill()).toBe(true);
    expect(Atomics.load(way.waiting, 0)).toBe(0);
    way.sender.publish();
    way.read(1_000);
    expect(way.taken).toBe(way.sent.length);
  });

  test('sends what is longer than a part in parts, and the next letters behind it', () => {
    const way = new Way();
    const sizes = [way.sender.partBytes - LETTER_FIXED_BYTES, way.sender.partBytes - LETTER_FIXED_BYTES + 1, 100_000, 0];
    for (const size of sizes) way.send(size, Letter.RETAIN);
    while (way.taken < sizes.length) {
      way.sender.unspill();
      way.sender.publish();
      way.read(1_000);
      way.release();
    }
    expect(way.sender.spilledBytes).toBe(0);
  });
});
