// Payloads and the bursts that carry them: what is written is read, no changed bit is believed, and a burst that is used again and again
// holds at every time what mqtt-packet would have made of the same messages.
import fc from 'fast-check';
import mqttPacket, { type IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { Burst } from '../../bench/raw/burst.ts';
import {
  HEADER_BYTES,
  isHeader,
  Pattern,
  readNumber,
  readSent,
  readWord,
  runOf,
  streamOf,
  streamWord,
  writeHeader,
} from '../../bench/raw/message.ts';
import { type StreamPacket, streamPacket } from '../../bench/raw/stream.ts';
import { check } from '../check.ts';

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const pattern = new Pattern();

function payloadOf(run: number, stream: number, number: number, sent: number, bytes: number): Buffer {
  const payload = Buffer.alloc(bytes);
  writeHeader(viewOf(payload), 0, streamWord(run, stream), number, sent, bytes);
  pattern.fill(payload, HEADER_BYTES, bytes, stream);
  return payload;
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function isWhole(payload: Buffer): boolean {
  const view = viewOf(payload);
  if (!isHeader(view, 0, payload.length)) return false;
  return pattern.holds(payload, view, HEADER_BYTES, payload.length, streamOf(readWord(view, 0)));
}

const messages = fc.record({
  run: fc.integer({ min: 0, max: 255 }),
  stream: fc.integer({ min: 0, max: 2 ** 24 - 1 }),
  number: u32,
  sent: u32,
  bytes: fc.constantFrom(16, 17, 19, 32, 64, 255, 511, 512, 528, 529, 2_000),
});

describe('payload', () => {
  test('is read as it was written', () =>
    check(
      fc.property(messages, ({ run, stream, number, sent, bytes }) => {
        const payload = payloadOf(run, stream, number, sent, bytes);
        const view = viewOf(payload);
        expect(isWhole(payload)).toBe(true);
        const word = readWord(view, 0);
        expect([runOf(word), streamOf(word), readNumber(view, 0), readSent(view, 0)]).toEqual([run, stream, number, sent]);
      }),
      500,
    ));

  test('carries the microseconds of any time of the clock, and its check is over those', () =>
    check(
      fc.property(messages, fc.double({ min: 1, max: 2 ** 45, noNaN: true }), ({ stream, number, bytes }, sentUs) => {
        // So close under a whole microsecond that a sum may be rounded up to it.
        for (const time of [sentUs, Math.ceil(sentUs) - 2 ** -12, Math.ceil(sentUs) - 2 ** -8]) {
          const payload = payloadOf(1, stream, number, time, bytes);
          expect(isWhole(payload)).toBe(true);
          expect(readSent(viewOf(payload), 0)).toBe(Math.floor(time) % 2 ** 32);
        }
      }),
      500,
    ));

  test('with any bit changed is not believed', () =>
    check(
      fc.property(messages, fc.nat(), ({ run, stream, number, sent, bytes }, at) => {
        const payload = payloadOf(run, stream, number, sent, bytes);
        const bit = at % (bytes * 8);
        payload[bit >> 3]! ^= 1 << (bit & 7);
        expect(isWhole(payload)).toBe(false);
      }),
      3_000,
    ));

  test('of another length is not believed', () =>
    check(
      fc.property(messages, ({ run, stream, number, sent, bytes }) => {
        const payload = payloadOf(run, stream, number, sent, bytes);
        expect(isWhole(payload.subarray(0, -1))).toBe(false);
        expect(isWhole(Buffer.concat([payload, Buffer.of(0)]))).toBe(false);
      }),
      300,
    ));

  test('the pattern is the same whatever was asked for before', () => {
    const fresh = new Pattern();
    const large = Buffer.alloc(100_000);
    fresh.fill(large, 0, large.length, 3);
    const small = Buffer.alloc(1_000);
    new Pattern().fill(small, 0, small.length, 3);
    expect(large.subarray(0, 1_000).equals(small)).toBe(true);
    expect(new Pattern().holds(large, viewOf(large), 0, large.length, 3)).toBe(true);
  });
});

describe('burst', () => {
  const shapes = fc.record({
    topics: fc.array(fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom('a', 'b', '/', '7') }), {
      minLength: 1,
      maxLength: 5,
    }),
    level: fc.constantFrom(3, 4, 5) as fc.Arbitrary<3 | 4 | 5>,
    qos: fc.constantFrom(0, 1, 2) as fc.Arbitrary<0 | 1 | 2>,
    retain: fc.boolean(),
    payloadBytes: fc.constantFrom(16, 33, 300),
    slots: fc.integer({ min: 1, max: 6 }),
    headroom: fc.constantFrom(0, 14),
    // The places of the messages of each use.
    uses: fc.array(fc.array(fc.nat(4), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 12 }),
  });

  test('holds what mqtt-packet would have made, however it was used before', () =>
    check(
      fc.property(shapes, ({ topics, level, qos, retain, payloadBytes, slots, headroom, uses }) => {
        const packets = topics.map((topic, stream) => streamPacket({ topic, stream, level, qos, retain, payloadBytes }, pattern));
        const largest = Math.max(...packets.map(({ bytes }) => bytes.length));
        const burst = new Burst(slots, largest, headroom, () => {});
        let number = 0;
        for (const use of uses) {
          burst.begin();
          const expected: Buffer[] = [];
          for (const any of use.slice(0, slots)) {
            const place = any % topics.length;
            const packetId = (number % 65_535) + 1;
            burst.add(place, packets[place] as StreamPacket, streamWord(9, place), number, number * 7, packetId);
            const payload = payloadOf(9, place, number, number * 7, payloadBytes);
            const packet: IPublishPacket = {
              cmd: 'publish',
              topic: topics[place]!,
              payload,
              qos,
              retain,
              dup: false,
              ...(qos === 0 ? {} : { messageId: packetId }),
            };
            expected.push(mqttPacket.generate(packet, { protocolVersion: level }));
            number++;
          }
          expect(burst.block.subarray(headroom, burst.end).equals(Buffer.concat(expected))).toBe(true);
        }
      }),
      500,
    ));
});
