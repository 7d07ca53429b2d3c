// A few seconds of fuzzing from a new seed each time; a failure names the seed and the stream.
import { expect, test } from 'vitest';
import { defaultLimits } from '../../protocol/limits.ts';
import { Level } from '../../protocol/packet.ts';
import { type Accepted, decodeAny, fuzz, readCorpus } from '../fuzz.ts';
import { headOf, oracleParse } from './oracle.ts';

const SECONDS = 3;
const DUP_FLAG = 0x08;
const corpus = readCorpus(new URL('../corpus', import.meta.url).pathname);

/** What mqtt-packet refuses and MQTT allows: DUP on a repeated PUBREL, SUBSCRIBE or UNSUBSCRIBE of MQTT 3.1. */
function isListed(packet: Uint8Array, level: Level): boolean {
  return level === Level.V31 && [0x6a, 0x8a, 0xaa].includes(packet[0]! | DUP_FLAG);
}

const agrees: Accepted = (packet, level) => {
  if (isListed(packet, level) || oracleParse(packet, level) !== null) return;
  throw new Error('accepted what mqtt-packet refuses');
};

test('every seed is well-formed', () => {
  expect(corpus.length).toBeGreaterThan(10);
  for (const { name, level, bytes } of corpus) {
    let from = 0;
    while (from < bytes.length) {
      const rest = bytes.subarray(from);
      const { header, bodyFrom } = headOf(rest);
      const isPing = header === 0xc0; // has no decoder
      const length = rest.subarray(1, bodyFrom).reduce((sum, byte, index) => sum + (byte & 127) * 128 ** index, 0);
      const result = decodeAny(rest, header, bodyFrom, bodyFrom + length, level, defaultLimits);
      expect({ name, result }).toEqual({ name, result: isPing ? 1 : 0 });
      from += bodyFrom + length;
    }
    expect({ name, from }).toEqual({ name, from: bytes.length });
  }
});

test('no crash, no hang, no growth, the same result wherever the stream is cut, nothing that mqtt-packet refuses', () => {
  const report = fuzz(corpus, SECONDS, Math.floor(Math.random() * 2 ** 31), agrees);
  expect(report.runs).toBeGreaterThan(100);
  expect(report.accepted).toBeGreaterThan(100);
});
