// Records: what is appended comes out again, every flipped bit is found, and nothing that is no record is taken for one.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MessageView } from '../../protocol/publish.ts';
import { RECORD_BYTES, RecordBuffer, type RecordContent } from '../../storage/records.ts';
import { check } from '../check.ts';
import { fieldsOf } from './message.ts';

const SEED = 0x1234_5678;

interface Message {
  readonly number: number;
  readonly bits: number;
  readonly ids: Uint8Array;
  readonly topic: Uint8Array;
  readonly properties: Uint8Array;
  readonly payload: Uint8Array;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly expires: boolean;
  /** Number of a shared message that the record refers to, -1 when it holds its own. */
  readonly reference: number;
}

const number = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const message: fc.Arbitrary<Message> = fc.record({
  number,
  bits: fc.constantFrom(0, 1, 2, 4, 5, 6),
  ids: bytes(9),
  topic: bytes(40).map((topic) => Uint8Array.from(topic, (byte) => byte & 0x7f)),
  properties: bytes(30),
  payload: bytes(300),
  sinceMs: number,
  untilMs: fc.oneof(number, fc.constant(Infinity)),
  expires: fc.boolean(),
  reference: fc.oneof(number, fc.constant(-1)),
});

function contentOf({ topic, properties, payload, sinceMs, untilMs, expires }: Message): RecordContent {
  return {
    bytes: Buffer.concat([Buffer.of(0xee), topic, properties, payload]),
    from: 1,
    topicBytes: topic.length,
    propertyBytes: properties.length,
    payloadBytes: payload.length,
    sinceMs,
    untilMs,
    expires,
  };
}

function append(records: RecordBuffer, one: Message): number {
  const size = one.topic.length + one.properties.length + one.payload.length;
  const { ids, bits, sinceMs, untilMs } = one;
  const at =
    one.reference < 0
      ? records.append(one.number, bits, ids, 0, ids.length, contentOf(one))
      : records.appendReference(one.number, bits, ids, 0, ids.length, one.reference, size, sinceMs, untilMs);
  records.finish(at, SEED);
  return at;
}

function expectRecord(records: RecordBuffer, at: number, one: Message): void {
  expect(records.isWhole(at, SEED)).toBe(true);
  expect(records.number(at)).toBe(one.number);
  expect(records.bits(at)).toBe(one.bits);
  expect(records.sinceMs(at)).toBe(one.sinceMs);
  expect(records.untilMs(at)).toBe(one.untilMs);
  expect(records.reference(at)).toBe(one.reference);
  expect(records.messageBytes(at)).toBe(one.topic.length + one.properties.length + one.payload.length);
  const ids = records.idsFrom(at);
  expect(records.bytes.slice(ids, ids + records.idsBytes(at))).toEqual(one.ids);
  if (one.reference >= 0) return;
  const view = new MessageView();
  view.dup = view.packetId = view.topicAlias = 1;
  records.view(at, view);
  expect(fieldsOf(view)).toEqual({
    topic: Buffer.from(one.topic).toString(),
    properties: one.properties,
    payload: Buffer.from(one.payload).toString('latin1'),
    qos: one.bits & 3,
    retain: one.bits >> 2,
    expiresAtMs: one.expires ? one.untilMs : Infinity,
  });
  expect([view.dup, view.packetId, view.topicAlias, view.expiryS]).toEqual([0, 0, 0, -1]);
}

test('what is appended comes out, one behind the other, also from a copy and from bytes that came from elsewhere', () => {
  check(
    fc.property(fc.array(message, { maxLength: 12 }), fc.integer({ min: 0, max: 2_000 }), (messages, capacity) => {
      const records = new RecordBuffer(capacity);
      const offsets = messages.map((one) => append(records, one));
      const copied = new RecordBuffer(0);
      for (const at of offsets) copied.copy(records, at);
      const loaded = new RecordBuffer(16);
      loaded.load(Uint8Array.from(records.bytes.subarray(0, records.end)));
      for (const buffer of [records, copied, loaded]) {
        const found: number[] = [];
        for (let at = 0; at < buffer.end; at += buffer.length(at)) found.push(at);
        expect(found).toEqual(offsets);
        for (const [i, at] of offsets.entries()) expectRecord(buffer, at, messages[i]!);
      }
    }),
    300,
  );
});

test('a buffer that is used again holds nothing of before', () => {
  const records = new RecordBuffer(64);
  const [long, short] = fc.sample(message, { numRuns: 2, seed: 1 }) as [Message, Message];
  append(records, { ...long, payload: new Uint8Array(4_000).fill(0xff), reference: -1 });
  records.clear();
  const at = append(records, { ...short, payload: Uint8Array.of(1), reference: -1 });
  expect(at).toBe(0);
  const fresh = new RecordBuffer(64);
  append(fresh, { ...short, payload: Uint8Array.of(1), reference: -1 });
  expect(records.bytes.slice(0, records.end)).toEqual(fresh.bytes.slice(0, fresh.end));
});

test('every flipped bit is found', () => {
  for (const one of fc.sample(message, { numRuns: 40, seed: 7 })) {
    const records = new RecordBuffer(64);
    append(records, one);
    for (let bit = 0; bit < records.end * 8; bit++) {
      records.bytes[bit >> 3]! ^= 1 << (bit & 7);
      if (records.isWhole(0, SEED)) throw new Error(`bit ${bit} of a record of ${records.end} bytes may flip unseen`);
      records.bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
    expectRecord(records, 0, one);
  }
});

test('one that was finished with another seed is none', () => {
  for (const one of fc.sample(message, { numRuns: 40, seed: 9 })) {
    const records = new RecordBuffer(64);
    append(records, one);
    expect(records.isWhole(0, SEED + 1)).toBe(false);
  }
});

test('damage of any kind is found', () => {
  check(
    fc.property(message, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 }), (one, damage) => {
      const records = new RecordBuffer(64);
      append(records, one);
      const before = Uint8Array.from(records.bytes);
      for (const [at, byte] of damage) records.bytes[at % records.end] = byte;
      if (Buffer.compare(before, records.bytes) !== 0) expect(records.isWhole(0, SEED)).toBe(false);
    }),
    2_000,
  );
});

test('random bytes are no record, wherever one looks', () => {
  check(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.integer({ min: 0, max: 400 }), (random, length) => {
      const records = new RecordBuffer(0);
      records.load(random);
      if (random.length >= 8) records.words[1] = length & ~7; // a length that fits, so that the check decides
      for (let at = 0; at < random.length + 64; at += 8) expect(records.isWhole(at, SEED)).toBe(false);
    }),
    500,
  );
});

test('a record with a check that fits lies inside its own bytes, or is none', () => {
  const word = fc.oneof(fc.integer(), fc.integer({ min: -64, max: 64 }), fc.constantFrom(0x7fff_ffff, -0x8000_0000, 0x0002_0000));
  check(
    fc.property(fc.array(word, { minLength: RECORD_BYTES / 4, maxLength: 60 }), fc.nat(60), (words, cut) => {
      const records = new RecordBuffer(words.length * 4);
      records.words.set(words);
      records.end = words.length * 4;
      const length = Math.max(RECORD_BYTES, Math.min(records.end, cut * 4)) & ~7;
      records.words[1] = length;
      records.finish(0, SEED);
      if (!records.isWhole(0, SEED)) return;
      const idsFrom = records.idsFrom(0);
      expect(records.idsBytes(0)).toBeGreaterThanOrEqual(0);
      expect(idsFrom + records.idsBytes(0)).toBeLessThanOrEqual(length);
      if (records.reference(0) >= 0) return;
      const view = new MessageView();
      records.view(0, view);
      const bounds = [RECORD_BYTES, view.topicFrom, view.topicTo, view.propertiesTo, view.payloadTo, length];
      for (let i = 1; i < bounds.length; i++) expect(bounds[i]!).toBeGreaterThanOrEqual(bounds[i - 1]!);
    }),
    5_000,
  );
});
