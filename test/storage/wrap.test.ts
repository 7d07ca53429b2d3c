// Key wrapping against the standard's own example and the runtime's cipher, and what it does with damage.
import { createCipheriv, createDecipheriv } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KEY_BYTES, KeyWrap, WRAPPED_BYTES } from '../../storage/wrap.ts';
import { check } from '../check.ts';

const key = fc.uint8Array({ minLength: KEY_BYTES, maxLength: KEY_BYTES });
const IV = Buffer.alloc(8, 0xa6);

function wrapped(wrapping: Uint8Array, one: Uint8Array): Buffer {
  const cipher = createCipheriv('id-aes256-wrap', wrapping, IV);
  return Buffer.concat([cipher.update(one), cipher.final()]);
}

test('RFC 3394 §4.6: 256 bits of key data with a 256-bit key', () => {
  const kek = Buffer.from('000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F', 'hex');
  const data = Buffer.from('00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F', 'hex');
  const expected = '28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21';
  const wrap = new KeyWrap(kek);
  expect(wrap.wrap([data]).toString('hex')).toBe(expected);
  expect(wrap.unwrap(Buffer.from(expected, 'hex'))).toEqual([data]);
});

test('as the runtime does it, however many at once', () => {
  check(
    fc.property(key, fc.array(key, { maxLength: 20 }), (wrapping, keys) => {
      const wrap = new KeyWrap(wrapping);
      const all = wrap.wrap(keys);
      expect(all.equals(Buffer.concat(keys.map((one) => wrapped(wrapping, one))))).toBe(true);
      expect(wrap.unwrap(all).map((one) => Uint8Array.from(one!))).toEqual(keys);
      for (let at = 0; at < all.length; at += WRAPPED_BYTES) {
        const decipher = createDecipheriv('id-aes256-wrap', wrapping, IV);
        const one = Buffer.concat([decipher.update(all.subarray(at, at + WRAPPED_BYTES)), decipher.final()]);
        expect(Uint8Array.from(one)).toEqual(keys[at / WRAPPED_BYTES]);
      }
    }),
    200,
  );
});

test('a flipped bit costs its key, and no other one', () => {
  const keys = fc.sample(key, { numRuns: 3, seed: 1 }) as Uint8Array[];
  const wrap = new KeyWrap(keys[0]!);
  const all = wrap.wrap(keys);
  for (let bit = 0; bit < all.length * 8; bit++) {
    all[bit >> 3]! ^= 1 << (bit & 7);
    const found = wrap.unwrap(all);
    const hit = Math.floor((bit >> 3) / WRAPPED_BYTES);
    expect(found.map((one) => one === null)).toEqual(keys.map((_, i) => i === hit));
    all[bit >> 3]! ^= 1 << (bit & 7);
  }
  expect(new KeyWrap(keys[1]!).unwrap(all)).toEqual([null, null, null]);
});
