// Sealed values and rows: they come back whole, no flipped bit goes unseen, and what stands in clear is believed only when it is whole.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RowSealer, SEALED_HEADER_BYTES, type SealedFacts, seal, sealedFacts, unseal } from '../../storage/sealed.ts';
import { check } from '../check.ts';
import { makeVault } from './vault-rig.ts';

const facts: fc.Arbitrary<Omit<SealedFacts, 'slot'>> = fc.record({
  flags: fc.nat(255),
  count: fc.nat(1_000_000),
  last: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  sinceMs: fc.integer({ min: 0, max: 2 ** 48 }),
  untilMs: fc.oneof(fc.integer({ min: 0, max: 2 ** 48 }), fc.constant(Infinity)),
});
const FACTS = { flags: 1, count: 3, last: 9, sinceMs: 5, untilMs: 7 };

describe('a value', () => {
  test('comes back with its facts', () => {
    const { vault, random } = makeVault();
    check(
      fc.property(fc.uint8Array({ maxLength: 2_000 }), facts, (plain, told) => {
        const { value, slot } = seal(vault, random, plain, told);
        expect(value.length).toBe(SEALED_HEADER_BYTES + plain.length);
        // From a place that is not aligned to anything, as LMDB hands it out.
        const moved = new Uint8Array(value.length + 3).subarray(3);
        moved.set(value);
        expect(sealedFacts(moved)).toEqual({ ...told, slot });
        const opened = unseal(vault, moved);
        expect(opened?.whole).toBe(true);
        expect(Uint8Array.from(opened!.plain)).toEqual(plain);
        vault.destroy([slot]);
      }),
      200,
    );
  });

  test('holds nothing in clear', () => {
    const { vault, random } = makeVault();
    const plain = Buffer.from('canary canary canary canary');
    const { value } = seal(vault, random, plain, FACTS);
    for (let from = 0; from + 6 <= plain.length; from++) expect(value.includes(plain.subarray(from, from + 6))).toBe(false);
  });

  test('is sealed under a key of its own, with a nonce of its own', () => {
    const { vault, random } = makeVault();
    const plain = Buffer.alloc(64);
    const values = Array.from({ length: 50 }, () => seal(vault, random, plain, FACTS));
    expect(new Set(values.map(({ slot }) => vault.keyOf(slot).toString('hex'))).size).toBe(50);
    expect(new Set(values.map(({ value }) => value.subarray(40, 52).toString('hex'))).size).toBe(50);
    expect(new Set(values.map(({ value }) => value.subarray(SEALED_HEADER_BYTES).toString('hex'))).size).toBe(50);
  });

  test('with a flipped bit is not whole; a bit in what stands in clear costs the facts, any other one a bit of the content', () => {
    const { vault, random } = makeVault();
    const plain = random(120);
    const { value } = seal(vault, random, plain, FACTS);
    for (let bit = 0; bit < value.length * 8; bit++) {
      const at = bit >> 3;
      value[at]! ^= 1 << (bit & 7);
      const opened = unseal(vault, value);
      if (opened?.whole) throw new Error(`bit ${bit} may flip unseen`);
      if (at < 56) {
        if (sealedFacts(value) !== null) throw new Error(`the facts are believed with bit ${bit} flipped`);
      } else {
        const wrong = opened!.plain.filter((byte, i) => byte !== plain[i]).length;
        expect(wrong).toBe(at < SEALED_HEADER_BYTES ? 0 : 1);
      }
      value[at]! ^= 1 << (bit & 7);
    }
    expect(unseal(vault, value)?.whole).toBe(true);
  });

  test('cut anywhere is not whole', () => {
    const { vault, random } = makeVault();
    const { value } = seal(vault, random, random(100), FACTS);
    for (let length = 0; length < value.length; length++) {
      expect(unseal(vault, value.subarray(0, length))?.whole ?? false).toBe(false);
    }
  });

  test('whose key was destroyed cannot be read by anybody', () => {
    const { vault, random } = makeVault();
    const plain = Buffer.from('forget me, and forget me not at all');
    const { value, slot } = seal(vault, random, plain, FACTS);
    vault.destroy([slot]);
    const opened = unseal(vault, value);
    expect(opened?.whole).toBe(false);
    expect(opened?.plain.includes('forget')).toBe(false);
  });

  test('that names a slot that is not there is not read', () => {
    const { vault, random } = makeVault();
    const other = makeVault(2);
    for (let i = 0; i < 100; i++) other.vault.take();
    const { value } = seal(other.vault, random, random(10), FACTS);
    expect(unseal(vault, value)).toBeNull();
  });

  test('random bytes are none', () => {
    const { vault } = makeVault();
    vault.take();
    check(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        if (bytes.length > 0) bytes[0] = 1;
        expect(sealedFacts(bytes)).toBeNull();
        expect(unseal(vault, bytes)).toBeNull();
      }),
      1_000,
    );
  });
});

describe('a row', () => {
  test('comes back, also to another instance', () => {
    const { vault, random } = makeVault();
    const sealer = new RowSealer(vault, random);
    const other = new RowSealer(vault, random);
    check(
      fc.property(fc.uint8Array({ maxLength: 500 }), (plain) => {
        const value = sealer.seal(plain);
        for (const reader of [sealer, other]) expect(Uint8Array.from(reader.open(value)!)).toEqual(plain);
      }),
      200,
    );
  });

  test('never repeats a nonce under one key: neither does an instance, nor do two', () => {
    const { vault, random } = makeVault();
    const plain = Buffer.alloc(32);
    const rows = [new RowSealer(vault, random), new RowSealer(vault, random)].flatMap((sealer) =>
      Array.from({ length: 200 }, () => sealer.seal(plain)),
    );
    expect(new Set(rows.map((row) => row.subarray(8, 32).toString('hex'))).size).toBe(400);
    expect(new Set(rows.map((row) => row.subarray(48).toString('hex'))).size).toBe(400);
  });

  test('with a flipped bit, or cut, is not read', () => {
    const { vault, random } = makeVault();
    const sealer = new RowSealer(vault, random);
    const value = sealer.seal(random(40));
    for (let bit = 0; bit < value.length * 8; bit++) {
      const at = bit >> 3;
      if (at > 0 && at < 8) continue; // holds nothing
      value[at]! ^= 1 << (bit & 7);
      if (sealer.open(value) !== null) throw new Error(`bit ${bit} may flip unseen`);
      value[at]! ^= 1 << (bit & 7);
    }
    for (let length = 0; length < value.length; length++) expect(sealer.open(value.subarray(0, length))).toBeNull();
    expect(sealer.open(value)).not.toBeNull();
  });

  test('of another store is not read', () => {
    const { vault, random } = makeVault();
    const other = makeVault(2);
    const value = new RowSealer(other.vault, other.random).seal(Buffer.alloc(8));
    expect(new RowSealer(vault, random).open(value)).toBeNull();
  });
});
