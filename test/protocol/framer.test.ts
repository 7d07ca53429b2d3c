// Framer against mqtt-packet, over every way to cut a stream, and against lengths that lie.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Frame, Framer } from '../../protocol/framer.ts';
import { fault, Reason } from '../../protocol/packet.ts';
import { anyPacket, generate, levels, oracleParse } from './oracle.ts';

const BYTES_MAX = 1_000_000;

interface Seen {
  header: number;
  bytes: string;
  bodyBytes: number;
}

/** Feeds `stream` in chunks that end at `cuts`; each chunk is overwritten once the framer has let go of it. */
function frames(
  stream: Uint8Array,
  cuts: readonly number[],
  packetBytesMax = BYTES_MAX,
): { seen: Seen[]; result: number; framer: Framer } {
  const framer = new Framer(packetBytesMax);
  const seen: Seen[] = [];
  let result = 0;
  let from = 0;
  for (const to of [...cuts, stream.length]) {
    const padding = from % 3;
    const chunk = new Uint8Array(padding + to - from + 1);
    chunk.set(stream.subarray(from, to), padding);
    framer.feed(chunk, padding, padding + to - from);
    for (result = framer.next(); result === Frame.PACKET; result = framer.next()) {
      const bytes = Buffer.from(framer.buffer.subarray(framer.packetFrom, framer.bodyTo)).toString('hex');
      seen.push({ header: framer.header, bytes, bodyBytes: framer.bodyTo - framer.bodyFrom });
    }
    chunk.fill(0xee);
    from = to;
    if (result < 0) break;
  }
  return { seen, result, framer };
}

const streams = fc
  .constantFrom(...levels)
  .chain((level) => fc.tuple(fc.constant(level), fc.array(anyPacket(level), { minLength: 1, maxLength: 5 })))
  .map(([level, packets]) => ({ level, bytes: Buffer.concat(packets.map((packet) => generate(packet, level))) }));

describe('framer', () => {
  test('cuts what mqtt-packet cuts, at every split point and byte by byte', () => {
    fc.assert(
      fc.property(streams, ({ level, bytes }) => {
        const expected = oracleParse(bytes, level)!;
        const whole = frames(bytes, []);
        expect(whole.seen.map(({ bodyBytes }) => bodyBytes)).toEqual(expected.map(({ length }) => length));
        expect(whole.seen.map(({ bytes }) => bytes).join('')).toBe(bytes.toString('hex'));
        expect(whole.result).toBe(Frame.NEED_MORE);
        for (let cut = 1; cut < bytes.length; cut++) expect(frames(bytes, [cut]).seen).toEqual(whole.seen);
        const single = Array.from({ length: bytes.length - 1 }, (_, index) => index + 1);
        expect(frames(bytes, single).seen).toEqual(whole.seen);
      }),
      { numRuns: 100 },
    );
  });

  test('cuts the same for any set of cuts', () => {
    fc.assert(
      fc.property(streams, fc.array(fc.nat(2_000), { maxLength: 20 }), ({ bytes }, points) => {
        const cuts = points.filter((point) => point <= bytes.length).sort((a, b) => a - b);
        expect(frames(bytes, cuts).seen).toEqual(frames(bytes, []).seen);
      }),
    );
  });

  test('a whole packet is shown where it lies', () => {
    const framer = new Framer(BYTES_MAX);
    const chunk = Uint8Array.of(9, 0xc0, 0, 0xc0, 0, 9);
    framer.feed(chunk, 1, 5);
    expect([framer.next(), framer.next()]).toEqual([Frame.PACKET, Frame.PACKET]);
    expect(framer.buffer).toBe(chunk);
    expect(framer).toMatchObject({ packetFrom: 3, bodyFrom: 5, bodyTo: 5, header: 0xc0, heldBytes: 0 });
    expect(framer.next()).toBe(Frame.NEED_MORE);
    expect(framer.buffer).not.toBe(chunk);
  });

  test('what was shown from the carry buffer outlives the next packets', () => {
    const framer = new Framer(BYTES_MAX);
    framer.feed(Uint8Array.of(0x40), 0, 1);
    framer.next();
    framer.feed(Uint8Array.of(2, 1, 2, 0x50, 2, 3), 0, 6);
    framer.next();
    const { buffer, packetFrom, bodyTo } = framer;
    expect(framer.next()).toBe(Frame.NEED_MORE);
    framer.feed(Uint8Array.of(4), 0, 1);
    expect(framer.next()).toBe(Frame.PACKET);
    expect([...buffer.subarray(packetFrom, bodyTo)]).toEqual([0x40, 2, 1, 2]);
  });

  test('large packets that cross chunks come from the pool, and go back when they are no longer looked at', () => {
    const lent = new Set<Uint8Array>();
    const pool = {
      acquire: (bytes: number) => {
        const block = new Uint8Array(bytes * 2).fill(0xee);
        lent.add(block);
        return block;
      },
      release: (block: Uint8Array) => {
        expect(lent.delete(block)).toBe(true);
        block.fill(0xdd);
      },
    };
    const framer = new Framer(BYTES_MAX, pool);
    // PUBLISH of 100,003 bytes, then PINGREQ.
    const stream = new Uint8Array(100_007).fill(7);
    stream.set([0x30, 0xa0, 0x8d, 0x06]);
    stream.set([0xc0, 0], 100_004);
    framer.feed(stream, 0, 40_000);
    expect(framer.next()).toBe(Frame.NEED_MORE);
    framer.settle();
    expect([...lent].every(({ length }) => length >= 40_000)).toBe(true);
    framer.feed(stream, 40_000, 90_000);
    expect(framer.next()).toBe(Frame.NEED_MORE);
    framer.settle();
    expect(lent.size).toBe(1); // the one that it outgrew is back
    framer.feed(stream, 90_000, 100_006);
    expect(framer.next()).toBe(Frame.PACKET);
    const { buffer, packetFrom, bodyTo } = framer;
    expect(framer.next()).toBe(Frame.PACKET);
    expect(framer.header).toBe(0xc0);
    expect(framer.next()).toBe(Frame.NEED_MORE);
    // Even of a connection that was closed meanwhile.
    framer.release();
    expect(Buffer.compare(buffer.subarray(packetFrom, bodyTo), stream.subarray(0, 100_004))).toBe(0);
    expect(lent.size).toBe(1);
    framer.settle();
    expect(lent.size).toBe(0);
    framer.feed(stream, 0, 50_000);
    expect(framer.next()).toBe(Frame.NEED_MORE);
    framer.release();
    framer.settle();
    expect(lent.size).toBe(0);
  });

  test.each([
    ['five bytes', [0x30, 0xff, 0xff, 0xff, 0xff, 0x01]],
    ['not in its shortest form, two bytes', [0xc0, 0x80, 0x00]],
    ['not in its shortest form, four bytes', [0xc0, 0xff, 0xff, 0x80, 0x00]],
  ])('a length of %s is malformed, for good [MQTT-1.5.5-1]', (_what, bytes) => {
    for (const cuts of [[], [1], [2], [1, 2, 3]]) {
      const { result, framer } = frames(
        Uint8Array.from(bytes),
        cuts.filter((cut) => cut < bytes.length),
      );
      expect(result).toBe(fault(Reason.MALFORMED_PACKET));
      framer.feed(Uint8Array.of(0xc0, 0), 0, 2);
      expect(framer.next()).toBe(fault(Reason.MALFORMED_PACKET));
      expect(framer.heldBytes).toBe(0);
    }
  });

  test('a packet over the bound fails when its length is known, fixed header included', () => {
    const fits = Uint8Array.of(0x30, 8, 0, 1, 97, 1, 2, 3, 4, 5);
    expect(frames(fits, [4], 10).seen).toHaveLength(1);
    expect(frames(fits, [], 10).seen).toHaveLength(1);
    for (const cuts of [[], [1], [2]]) {
      const { result, framer } = frames(fits, cuts, 9);
      expect(result).toBe(fault(Reason.PACKET_TOO_LARGE));
      expect(framer.heldBytes).toBe(0);
    }
    expect(frames(Uint8Array.of(0x30, 8), [], 9).result).toBe(fault(Reason.PACKET_TOO_LARGE));
  });

  test('memory follows the bytes that came, not those that were claimed', () => {
    const framer = new Framer(268_435_460);
    framer.feed(Uint8Array.of(0x30, 0xff, 0xff, 0xff, 0x7f), 0, 5);
    expect(framer.next()).toBe(Frame.NEED_MORE);
    expect(framer.heldBytes).toBeLessThanOrEqual(64);
    for (let arrived = 5; arrived < 100_000; arrived += 1_000) {
      framer.feed(new Uint8Array(1_000), 0, 1_000);
      expect(framer.next()).toBe(Frame.NEED_MORE);
      expect(framer.heldBytes).toBeLessThanOrEqual(2 * (arrived + 1_000));
    }
    framer.release();
    expect(framer.heldBytes).toBe(0);
  });

  test('the bound can rise between two packets of a chunk', () => {
    const framer = new Framer(4);
    framer.feed(Uint8Array.of(0x40, 2, 0, 1, 0x40, 3, 0, 1, 0), 0, 9);
    expect(framer.next()).toBe(Frame.PACKET);
    framer.packetBytesMax = 5;
    expect(framer.next()).toBe(Frame.PACKET);
  });

  test('feeding before the last chunk is used up is a mistake of the caller', () => {
    const framer = new Framer(BYTES_MAX);
    framer.feed(Uint8Array.of(0xc0, 0), 0, 2);
    expect(() => framer.feed(Uint8Array.of(0xc0, 0), 0, 2)).toThrow('framer: fed before');
  });
});
