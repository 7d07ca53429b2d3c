// Salvage: a damaged value gives back every record that is whole, and nothing that never was one.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RecordBuffer } from '../../storage/records.ts';
import { openValue } from '../../storage/salvage.ts';
import { SEALED_HEADER_BYTES, seal } from '../../storage/sealed.ts';
import { check } from '../check.ts';
import { makeVault } from './vault-rig.ts';

const IDS = Uint8Array.of(11, 7);
/** What stands before the tag: version, facts, nonce. A bit there may cost the value. */
const CLEAR_BYTES = 56;

const { vault, random } = makeVault();

/** A sealed value with records of these payload sizes; -1 stands for a reference. */
function makeValue(sizes: readonly number[]) {
  const records = new RecordBuffer(256);
  for (const [i, size] of sizes.entries()) {
    const at =
      size < 0
        ? records.appendReference(i, 1, IDS, 0, IDS.length, 1_000 + i, 10, 1, 2)
        : records.append(i, 1, IDS, 0, IDS.length, {
            bytes: random(size + 3),
            from: 0,
            topicBytes: 3,
            propertyBytes: 0,
            payloadBytes: size,
            sinceMs: 1,
            untilMs: Infinity,
            expires: false,
          });
    records.finish(at, vault.checkSeed);
  }
  const facts = { flags: 0, count: sizes.length, last: sizes.length - 1, sinceMs: 1, untilMs: Infinity };
  const { value } = seal(vault, random, records.bytes.subarray(0, records.end), facts);
  const originals = new Map<number, string>();
  for (let at = 0; at < records.end; at += records.length(at)) originals.set(records.number(at), textOf(records, at));
  return { value, originals };
}

function textOf(records: RecordBuffer, at: number): string {
  return Buffer.from(records.bytes.subarray(at, at + records.length(at))).toString('hex');
}

/** Numbers of the records that come out of a value; each must be exactly what went in. */
function numbersIn(value: Uint8Array, originals: ReadonlyMap<number, string>): { numbers: number[]; lost: number } | null {
  const opened = openValue(vault, value);
  if (opened === null) return null;
  const numbers: number[] = [];
  const { records, lost } = opened;
  for (let at = 0; at < records.end; at += records.length(at)) {
    const number = records.number(at);
    if (originals.get(number) !== textOf(records, at)) throw new Error(`record ${number} is not what it was`);
    numbers.push(number);
  }
  return { numbers, lost };
}

test('a whole value gives every record', () => {
  const { value, originals } = makeValue([0, 30, -1, 200]);
  expect(numbersIn(value, originals)).toEqual({ numbers: [0, 1, 2, 3], lost: 0 });
});

describe('a single flipped bit', () => {
  const sizes = [0, 40, -1, 13, 300, -1, 1];
  const all = sizes.map((_, i) => i);

  test('in the content costs one record at the most', () => {
    const { value, originals } = makeValue(sizes);
    const costs = new Set<number>();
    for (let bit = CLEAR_BYTES * 8; bit < value.length * 8; bit++) {
      value[bit >> 3]! ^= 1 << (bit & 7);
      const found = numbersIn(value, originals);
      const missing = all.filter((number) => !found?.numbers.includes(number));
      if (missing.length > 1) throw new Error(`bit ${bit} costs records ${missing.join()}`);
      expect(found?.lost).toBe(missing.length);
      for (const number of missing) costs.add(number);
      // The tag holds no content: without it the checks of the records still speak for them.
      if (bit < SEALED_HEADER_BYTES * 8) expect(missing).toEqual([]);
      value[bit >> 3]! ^= 1 << (bit & 7);
    }
    expect([...costs].sort()).toEqual(all);
  });

  test('in what stands in clear may cost the value, and makes nothing up', () => {
    const { value, originals } = makeValue(sizes);
    for (let bit = 0; bit < CLEAR_BYTES * 8; bit++) {
      value[bit >> 3]! ^= 1 << (bit & 7);
      expect(numbersIn(value, originals)).toBeNull();
      value[bit >> 3]! ^= 1 << (bit & 7);
    }
  });
});

test('any damage: what comes out is what went in, and never a record that does not touch the damage is missing', () => {
  const size = fc.oneof(fc.nat(120), fc.constant(-1));
  const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 6 });
  check(
    fc.property(fc.array(size, { minLength: 1, maxLength: 20 }), damage, (sizes, places) => {
      const { value, originals } = makeValue(sizes);
      const lengths = [...originals.values()].map((hex) => hex.length / 2);
      const ends = lengths.map((_, i) => lengths.slice(0, i + 1).reduce((sum, length) => sum + length, 0));
      const hit = new Set<number>();
      for (const [place, byte] of places) {
        const offset = place % (value.length - SEALED_HEADER_BYTES);
        value[SEALED_HEADER_BYTES + offset]! ^= byte;
        hit.add(ends.findIndex((end) => offset < end));
      }
      const found = numbersIn(value, originals)?.numbers ?? [];
      for (let number = 0; number < sizes.length; number++) if (!hit.has(number)) expect(found).toContain(number);
      vault.destroy([value.readUInt32LE(4)]);
    }),
    500,
  );
});

test('a payload that looks like records is none, wherever the record around it is damaged', () => {
  const inner = new RecordBuffer(256);
  for (const [i, reference] of [7, 8].entries()) {
    const at = inner.appendReference(i, 1, IDS, 0, IDS.length, reference, 10, 1, 2);
    inner.finish(at, 0); // whoever made it up does not know the seed
  }
  const payload = inner.bytes.slice(0, inner.end);
  const records = new RecordBuffer(1_024);
  const content = { bytes: payload, from: 0, topicBytes: 0, propertyBytes: 0, payloadBytes: payload.length };
  const at = records.append(0, 1, IDS, 0, 0, { ...content, sinceMs: 1, untilMs: 2, expires: false });
  records.finish(at, vault.checkSeed);
  const facts = { flags: 0, count: 1, last: 0, sinceMs: 1, untilMs: 2 };
  const { value } = seal(vault, random, records.bytes.subarray(0, records.end), facts);
  expect(openValue(vault, value)?.lost).toBe(0);
  for (let bit = SEALED_HEADER_BYTES * 8; bit < value.length * 8; bit++) {
    value[bit >> 3]! ^= 1 << (bit & 7);
    expect(openValue(vault, value)).toBeNull();
    value[bit >> 3]! ^= 1 << (bit & 7);
  }
});

test('a value that was cut gives what stands before the cut', () => {
  const { value, originals } = makeValue([8, 8, 8, 8]);
  const length = originals.get(0)!.length / 2;
  for (let kept = 0; kept < value.length; kept++) {
    const whole = Math.max(0, Math.floor((kept - SEALED_HEADER_BYTES) / length));
    const found = numbersIn(value.subarray(0, kept), originals);
    expect(found?.numbers ?? []).toEqual([0, 1, 2, 3].slice(0, whole));
  }
});
