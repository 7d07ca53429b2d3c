// Pseudonyms: as HMAC-SHA-256 has them, the same for the same key, and a key that is made once and kept from others.
import { createHmac } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { base32, findPseudonymKey, keepPseudonymKey, pseudonymKey, pseudonymOf } from '../../engine/administration/pseudonym.ts';
import { systemRandom } from '../../engine/random.ts';

const folder = mkdtempSync(join(tmpdir(), 'lethe-pseudonym-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('base32', () => {
  test.each([
    ['', ''],
    ['f', 'my'],
    ['fo', 'mzxq'],
    ['foo', 'mzxw6'],
    ['foob', 'mzxw6yq'],
    ['fooba', 'mzxw6ytb'],
    ['foobar', 'mzxw6ytboi'],
  ])('%j is %j (RFC 4648 §10)', (text, expected) => {
    expect(base32(Buffer.from(text))).toBe(expected);
  });
});

describe('pseudonymOf', () => {
  test('is the beginning of HMAC-SHA-256: RFC 4231, test case 2', () => {
    const digest = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843';
    const pseudonym = pseudonymOf(Buffer.from('Jefe'), 'what do ya want for nothing?');
    expect(pseudonym).toBe(base32(Buffer.from(digest, 'hex').subarray(0, 16)));
    expect(pseudonym).toHaveLength(26);
  });

  test('depends on every byte of the key and of the identifier', () => {
    const key = Buffer.alloc(32, 7);
    const other = Buffer.from(key);
    other[31]! ^= 1;
    const names = [pseudonymOf(key, 'a'), pseudonymOf(key, 'b'), pseudonymOf(other, 'a'), pseudonymOf(key, '')];
    expect(new Set(names).size).toBe(4);
    expect(pseudonymOf(key, 'é')).toBe(
      base32(createHmac('sha256', key).update(Buffer.from('é', 'utf8')).digest().subarray(0, 16)),
    );
  });
});

describe('the key', () => {
  test('is made once in the data directory, for its owner alone', () => {
    expect(findPseudonymKey({ file: '', folder })).toBeNull();
    const key = pseudonymKey({ file: '', folder }, systemRandom, null);
    expect(key).toHaveLength(32);
    expect(statSync(join(folder, 'pseudonym.key')).mode & 0o777).toBe(0o600);
    expect(Buffer.from(key).equals(readFileSync(join(folder, 'pseudonym.key')))).toBe(true);
    expect([...pseudonymKey({ file: '', folder }, systemRandom, null)]).toEqual([...key]);
  });

  test('is drawn anew where there is no place for it', () => {
    const nowhere = { file: '', folder: '' };
    expect(pseudonymKey(nowhere, systemRandom, null)).not.toEqual(pseudonymKey(nowhere, systemRandom, null));
  });

  test('is the derived one where there is no file, and a directory that loses its master key can keep it', () => {
    const place = { file: '', folder: mkdtempSync(join(folder, 'derived-')) };
    const derived = new Uint8Array(32).fill(7);
    expect(pseudonymKey(place, systemRandom, derived)).toEqual(derived);
    expect(readdirSync(place.folder)).toEqual([]);
    keepPseudonymKey(place, derived);
    expect(pseudonymKey(place, systemRandom, null)).toEqual(derived);
    keepPseudonymKey(place, new Uint8Array(32));
    expect(pseudonymKey(place, systemRandom, new Uint8Array(32))).toEqual(derived);
  });

  test('may be a file of its own, in hex too; one that is neither is refused by name', () => {
    const file = join(folder, 'named.key');
    writeFileSync(file, `${'ab'.repeat(32)}\n`);
    expect(pseudonymKey({ file, folder }, systemRandom, null)).toEqual(new Uint8Array(32).fill(0xab));
    writeFileSync(file, 'short');
    expect(() => pseudonymKey({ file, folder }, systemRandom, null)).toThrow(`${file}: is no key of pseudonyms`);
    const absent = join(folder, 'absent.key');
    expect(() => pseudonymKey({ file: absent, folder }, systemRandom, null)).toThrow(
      `${absent}: the key of pseudonyms cannot be read`,
    );
  });
});
