// Password files: Mosquitto's own are understood, broken ones are refused, and who is unknown costs what who is known costs.
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../engine/random.ts';
import { loadPasswordFile, type PasswordFile, Verdict } from '../../engine/security/password-file.ts';
import { derive, hashPassword, type PasswordHash } from '../../engine/security/password-hash.ts';
import { directory, hasMosquittoPasswd, messageOf, mosquittoPasswd, temporaryFile } from './temporary.ts';

/** Written by mosquitto_passwd 2.0.11 for `secret`, `pässwörd` and, with -H sha512, `third`. */
const ALICE =
  'alice:$7$101$bbj0pHFts6Z1K8Uv$MPF0uj5ZRc7vLfGJ9qkKDfOCmVXJCBkyTXXH9S/tpXqNrqhjr+2jb1rbrTfAvLSNFT7LGzZOClrkYh4l4t7N3Q==';
const BOB =
  'bob:$7$101$2xYHbmSgeMybtqgL$863bUUC1+jsSi4wxO3K4C1DY13svWpmt35KMvSLtlw+ZQ6mGcV/j5W14no+1yaHN9vEHFpHICPs74ZmxM3t/+g==';
const CAROL =
  'carol:$6$ZpRBanjgQj27cBrC$sIfXc0d4A1epeohM/uJyL5vM2J1IgzJSYkwvQUeKyTt55s5ZwfA5QmJGEebm5Yo5CFwghgmEwZe/QXVCb9hiCA==';

const bytes = (text: string) => new TextEncoder().encode(text);
const verify = (file: PasswordFile, user: string, password: string) => file.verify(user, bytes(password));

describe('formats', () => {
  test('verifies what mosquitto_passwd 2.0.11 wrote, both kinds', async () => {
    const file = loadPasswordFile(temporaryFile(`# users\n${ALICE}\r\n\n${BOB}\n${CAROL}`));
    expect(file.users).toBe(3);
    expect(file.warnings).toEqual([]);
    expect(await verify(file, 'alice', 'secret')).toBe(Verdict.OK);
    expect(await verify(file, 'bob', 'pässwörd')).toBe(Verdict.OK);
    expect(await verify(file, 'carol', 'third')).toBe(Verdict.OK);
    for (const [user, password] of [
      ['alice', 'secreT'],
      ['alice', ''],
      ['alice', 'third'],
      ['carol', 'secret'],
      ['Alice', 'secret'],
      ['nobody', 'secret'],
      ['', ''],
      ['__proto__', 'secret'],
      ['# users', 'secret'],
    ] as const) {
      expect(await verify(file, user, password)).toBe(Verdict.DENIED);
    }
  });

  test.skipIf(!hasMosquittoPasswd)('verifies a file that mosquitto_passwd writes now', async () => {
    const path = temporaryFile('');
    mosquittoPasswd('-b', path, 'one', 'a long password with spaces: $7$');
    mosquittoPasswd('-H', 'sha512', '-b', path, 'two', 'zwei');
    mosquittoPasswd('-b', path, 'empty', '');
    const file = loadPasswordFile(path);
    expect(await verify(file, 'one', 'a long password with spaces: $7$')).toBe(Verdict.OK);
    expect(await verify(file, 'two', 'zwei')).toBe(Verdict.OK);
    expect(await verify(file, 'empty', '')).toBe(Verdict.OK);
    expect(await verify(file, 'two', 'drei')).toBe(Verdict.DENIED);
  });

  test('hashPassword writes $7$ lines with the iterations asked for and a salt of its own', async () => {
    const [first, second] = await Promise.all([hashPassword('x', systemRandom, 5), hashPassword('x', systemRandom, 5)]);
    expect(first).toMatch(/^\$7\$5\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==$/);
    expect(first).not.toBe(second);
    const file = loadPasswordFile(temporaryFile(`u:${first}\n`));
    expect(await verify(file, 'u', 'x')).toBe(Verdict.OK);
    await expect(hashPassword('x', systemRandom, 0)).rejects.toThrow(/iterations/);
    expect(await hashPassword('x', systemRandom)).toMatch(/^\$7\$210000\$/);
  });
});

describe('work', () => {
  /** Counts the hashes by their cost, and computes them. */
  function counting() {
    const iterations: number[] = [];
    const compute = (known: PasswordHash, password: Uint8Array) => {
      iterations.push(known.iterations);
      return derive(known, password);
    };
    return { iterations, compute };
  }

  test('one hash for each answer: known, wrong or unknown alike', async () => {
    const { iterations, compute } = counting();
    const file = loadPasswordFile(temporaryFile(`${ALICE}\n${BOB}\n`), { derive: compute });
    await verify(file, 'alice', 'secret');
    await verify(file, 'alice', 'wrong');
    await verify(file, 'nobody', 'wrong');
    await verify(file, '', '');
    expect(iterations).toEqual([101, 101, 101, 101]);
  });

  test('in a file of mixed costs an unknown name always has the same one, and unknown names have all of them', async () => {
    const { iterations, compute } = counting();
    const file = loadPasswordFile(temporaryFile(`${ALICE}\n${CAROL}\n`), { derive: compute });
    for (let i = 0; i < 5; i++) await verify(file, 'nobody', `guess ${i}`);
    expect(new Set(iterations).size).toBe(1);
    for (let i = 0; i < 100; i++) await verify(file, `nobody ${i}`, 'guess');
    expect(new Set(iterations)).toEqual(new Set([0, 101]));
  });

  test('few run at once, few wait in order, the rest are told busy; the places come back', async () => {
    const started: (() => void)[] = [];
    const compute = (known: PasswordHash) => new Promise<Uint8Array>((resolve) => started.push(() => resolve(known.hash)));
    const file = loadPasswordFile(temporaryFile(ALICE), { derive: compute, atOnceMax: 2, waitingMax: 2 });
    const answers = Array.from({ length: 6 }, () => verify(file, 'alice', 'secret'));
    expect(await answers[4]).toBe(Verdict.BUSY);
    expect(await answers[5]).toBe(Verdict.BUSY);
    expect(started.length).toBe(2);
    for (let i = 0; i < 4; i++) {
      started[i]!();
      expect(await answers[i]).toBe(Verdict.OK);
    }
    expect(started.length).toBe(4);
    const again = verify(file, 'alice', 'secret');
    await Promise.resolve();
    started[4]!();
    expect(await again).toBe(Verdict.OK);
  });

  test('what waits is bounded by its iterations too', async () => {
    const compute = () => new Promise<Uint8Array>(() => {});
    const file = loadPasswordFile(temporaryFile(ALICE), { derive: compute, atOnceMax: 1, waitingIterationsMax: 202 });
    const answers = Array.from({ length: 4 }, () => verify(file, 'alice', 'secret'));
    expect(await answers[3]).toBe(Verdict.BUSY);
    expect(await Promise.race([answers[2], Promise.resolve('waits')])).toBe('waits');
  });

  test('a hash that fails is a denial and gives its place back', async () => {
    let calls = 0;
    const compute = () => (++calls === 1 ? Promise.reject(new Error('no memory')) : Promise.resolve(new Uint8Array(3)));
    const file = loadPasswordFile(temporaryFile(ALICE), { derive: compute, atOnceMax: 1, waitingMax: 0 });
    expect(await verify(file, 'alice', 'secret')).toBe(Verdict.DENIED);
    expect(await verify(file, 'alice', 'secret')).toBe(Verdict.DENIED);
    expect(calls).toBe(2);
  });

  test('the password is the caller’s again at once, and the copy is overwritten', async () => {
    let seen: Uint8Array | null = null;
    const compute = (known: PasswordHash, password: Uint8Array) => {
      seen = password;
      return derive(known, password);
    };
    const file = loadPasswordFile(temporaryFile(ALICE), { derive: compute });
    const password = bytes('secret');
    const answer = file.verify('alice', password);
    password.fill(0);
    expect(await answer).toBe(Verdict.OK);
    expect(seen).toEqual(new Uint8Array(6));
  });
});

describe('refused files', () => {
  const hash = ALICE.slice(ALICE.indexOf('$'));
  const fields = hash.split('$');
  const changed = (at: number, field: string) => `secret:${fields.with(at, field).join('$')}`;

  test.each([
    ['no colon', 'secret', /no colon/],
    ['no name', `:${hash}`, /user name is missing/],
    ['no hash', 'secret:', /hash is missing/],
    ['plain text', 'secret:secret', /lethe passwd -U/],
    ['an unknown kind', `secret:$5$AAAA$AAAA`, /unknown kind/],
    ['a bcrypt hash', `secret:$2b$10$secretsecret`, /unknown kind/],
    ['a field missing', 'secret:$7$101$AAAA', /\$7\$ hash is broken/],
    ['a field too many', `secret:${hash}$AAAA`, /\$7\$ hash is broken/],
    ['a field missing in $6$', 'secret:$6$AAAA', /\$6\$ hash is broken/],
    ['no iterations', changed(2, '0'), /iterations/],
    ['negative iterations', changed(2, '-101'), /iterations/],
    ['hexadecimal iterations', changed(2, '0x65'), /iterations/],
    ['endless iterations', changed(2, '4000000000'), /iterations/],
    ['an empty salt', changed(3, ''), /salt or the hash/],
    ['a salt that is not base64', changed(3, 'bbj0pHFts6Z1K8U!'), /salt or the hash/],
    ['a hash cut short', changed(4, 'MPF0uj5ZRc7vLfGJ'), /salt or the hash/],
    ['an empty hash', changed(4, ''), /salt or the hash/],
    ['the user twice', `secret:${hash}`, /line above/],
  ])('%s', (_, line, words) => {
    const path = temporaryFile(
      `# head\nsecret:${hash}\n`.replace('secret', words.source === 'line above' ? 'secret' : 'other') + line,
    );
    const message = messageOf(() => loadPasswordFile(path));
    expect(message.startsWith(`${path}:3: `)).toBe(true);
    expect(message).toMatch(words);
    expect(message).not.toMatch(/secret|AAAA|MPF0/);
  });

  test('missing, empty, only comments, a directory, not UTF-8', () => {
    mkdirSync(join(directory, 'folder'));
    expect(messageOf(() => loadPasswordFile(join(directory, 'none')))).toMatch(/none: there is no such file/);
    expect(messageOf(() => loadPasswordFile(join(temporaryFile(''), 'below')))).toMatch(/there is no such file/);
    expect(messageOf(() => loadPasswordFile(temporaryFile('')))).toMatch(/no user/);
    expect(messageOf(() => loadPasswordFile(temporaryFile('# nobody\n \n')))).toMatch(/no user/);
    expect(messageOf(() => loadPasswordFile(join(directory, 'folder')))).toMatch(/not a regular file/);
    expect(messageOf(() => loadPasswordFile(temporaryFile(Uint8Array.of(0xff, 0x3a))))).toMatch(/not UTF-8/);
  });

  test.skipIf(process.getuid?.() === 0)('unreadable', () => {
    const path = temporaryFile(ALICE);
    chmodSync(path, 0);
    expect(messageOf(() => loadPasswordFile(path))).toMatch(/may not be read/);
  });
});

test('a file that everybody can read is a warning', () => {
  const path = temporaryFile(ALICE);
  chmodSync(path, 0o644);
  expect(loadPasswordFile(path).warnings).toEqual([expect.stringMatching(/chmod 600/)]);
  chmodSync(path, 0o640);
  expect(loadPasswordFile(path).warnings).toEqual([]);
});
