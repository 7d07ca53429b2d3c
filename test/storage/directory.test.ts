// The directory of a sealed value against a map: every position that it holds is found with its size and reference, and no other one.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Directory } from '../../storage/directory.ts';
import { RecordBuffer } from '../../storage/records.ts';
import { check } from '../check.ts';

const NO_BYTES = new Uint8Array(0);
const SPAN = 200;

function recordsOf(held: ReadonlyMap<number, { size: number; reference: number }>): RecordBuffer {
  const records = new RecordBuffer(64);
  for (const [position, { size, reference }] of held) {
    const content = { bytes: new Uint8Array(size), from: 0, topicBytes: 0, propertyBytes: 0, payloadBytes: size };
    if (reference < 0) records.append(position, 1, NO_BYTES, 0, 0, { ...content, sinceMs: 0, untilMs: 0, expires: false });
    else records.appendReference(position, 1, NO_BYTES, 0, 0, reference, size, 0, 0);
  }
  return records;
}

test('finds what is there, and only that', () => {
  const entry = fc.record({ size: fc.nat(50), reference: fc.oneof(fc.constant(-1), fc.nat(1_000)) });
  const held = fc.uniqueArray(fc.tuple(fc.nat(SPAN), entry), { maxLength: 60, selector: ([position]) => position });
  check(
    fc.property(held, fc.integer({ min: 0, max: 2 ** 40 }), (entries, from) => {
      const sorted = entries.map(([at, one]) => [from + at, one] as const).sort(([a], [b]) => a - b);
      const map = new Map(sorted);
      const directory = new Directory(recordsOf(map));
      expect(directory.first).toBe(sorted[0]?.[0] ?? 0);
      expect(directory.last).toBe(sorted.at(-1)?.[0] ?? -1);
      const found = new Map<number, { size: number; reference: number }>();
      for (let position = Math.max(0, from - 3); position < from + SPAN + 3; position++) {
        const index = directory.indexOf(position);
        if (index >= 0) found.set(position, { size: directory.size(index), reference: directory.reference(index) });
      }
      expect(found).toEqual(map);
    }),
    500,
  );
});
