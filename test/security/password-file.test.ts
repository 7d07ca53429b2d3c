// Password files: Mosquitto's own are understood, broken ones are refused, and who is unknown costs what who is known costs.
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../engine/random.ts';
import { loadPasswordFile, type PasswordFile, Verdict } from '../../engine/security/password-file.ts';
import { derive, hashPassword, type PasswordHash, parsePasswordHash } from '../../engine/security/password-hash.ts';
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
    const mosquitto = (iterations: number) => hashPassword('x', systemRandom, { format: 'mosquitto', iterations });
    const [first, second] = await Promise.all([mosquitto(5), mosquitto(5)]);
    expect(first).toMatch(/^\$7\$5\$[A-Za-z0-9+/]{16}\$[A-Za-z0-9+/]{86}==$/);
    expect(first).not.toBe(second);
    const file = loadPasswordFile(temporaryFile(`u:${first}\n`));
    expect(await verify(file, 'u', 'x')).toBe(Verdict.OK);
    await expect(mosquitto(0)).rejects.toThrow(/iterations/);
    expect(await hashPassword('x', systemRandom, { format: 'mosquitto' })).toMatch(/^\$7\$210000\$/);
  });

  test('hashPassword writes scrypt unless told otherwise, as a PHC string with a salt of its own', async () => {
    const [first, second] = await Promise.all([hashPassword('ü x', systemRandom), hashPassword('ü x', systemRandom)]);
    expect(first).toMatch(/^\$scrypt\$ln=15,r=8,p=3\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect(first).not.toBe(second);
    const file = loadPasswordFile(temporaryFile(`u:${first}\n`));
    expect(await verify(file, 'u', 'ü x')).toBe(Verdict.OK);
    expect(await verify(file, 'u', 'u x')).toBe(Verdict.DENIED);
    expect(file.scram).toBeNull();
    await expect(hashPassword('x', systemRandom, { format: 'scrypt', ln: 18 })).rejects.toThrow(/memory/);
  });

  test('scrypt is that of RFC 7914 §12, with a hash of 64 bytes', async () => {
    const hash = '/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA'; // password, NaCl, N = 1024, r = 8, p = 16
    const path = temporaryFile(`u:$scrypt$ln=10,r=8,p=16$TmFDbE5hQ2w$${hash}\n`);
    expect(await verify(loadPasswordFile(path), 'u', 'password')).toBe(Verdict.DENIED); // that salt has 4 bytes, this one 8
    const derived = await derive(
      { scheme: 'scrypt', ln: 10, r: 8, p: 16, cost: 1, salt: bytes('NaCl'), hash: new Uint8Array(64) },
      bytes('password'),
    );
    expect(Buffer.from(derived).toString('base64')).toBe(`${hash}==`);
  });

  test('keys of SCRAM check a password of CONNECT too; RFC 7677 §3 has these', async () => {
    const path = temporaryFile(
      'user:$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n',
    );
    const file = loadPasswordFile(path);
    expect(file.scram).not.toBeNull();
    expect(await verify(file, 'user', 'pencil')).toBe(Verdict.OK);
    for (const password of ['pencils', '', 'pencil\n', 'pencil\0'])
      expect(await verify(file, 'user', password)).toBe(Verdict.DENIED);
    expect(await file.verify('user', Uint8Array.of(0xff, 0xfe))).toBe(Verdict.DENIED);
  });

  test('a password for SCRAM is one whichever way it is typed, and has no control character', async () => {
    const field = await hashPassword('Ame\u0301lie \u2163', systemRandom, { format: 'scram', iterations: 4_096 });
    expect(field).toMatch(/^\$scram-sha-256\$4096\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=\$[A-Za-z0-9+/]{43}=$/);
    const file = loadPasswordFile(temporaryFile(`u:${field}\n`));
    expect(await verify(file, 'u', 'Am\u00e9lie IV')).toBe(Verdict.OK);
    for (const password of ['tab\there', 'del\x7f', '\u0085', ''])
      await expect(hashPassword(password, systemRandom, { format: 'scram', iterations: 4_096 })).rejects.toThrow(/control/);
    await expect(hashPassword('x', systemRandom, { format: 'scram', iterations: 4_095 })).rejects.toThrow(/4096/);
  });
});

describe('work', () => {
  /** Counts the hashes by their cost, and computes them. */
  function counting() {
    const costs: number[] = [];
    const compute = (known: PasswordHash, password: Uint8Array) => {
      costs.push(known.cost);
      return derive(known, password);
    };
    return { costs, compute };
  }

  test('one hash for each answer: known, wrong or unknown alike', async () => {
    const { costs, compute } = counting();
    const file = loadPasswordFile(temporaryFile(`${ALICE}\n${BOB}\n`), { derive: compute });
    await verify(file, 'alice', 'secret');
    await verify(file, 'alice', 'wrong');
    await verify(file, 'nobody', 'wrong');
    await verify(file, '', '');
    expect(costs).toEqual([101, 101, 101, 101]);
  });

  test('in a file of mixed costs an unknown name always has the same one, and unknown names have all of them', async () => {
    const { costs, compute } = counting();
    const path = temporaryFile(`${ALICE}\n${CAROL}\n`);
    const file = loadPasswordFile(path, { derive: compute });
    for (let i = 0; i < 5; i++) await verify(file, 'nobody', `guess ${i}`);
    // In another shard and after a start, too.
    for (let i = 0; i < 20; i++) await verify(loadPasswordFile(path, { derive: compute }), 'nobody', 'guess');
    expect(new Set(costs).size).toBe(1);
    for (let i = 0; i < 100; i++) await verify(file, `nobody ${i}`, 'guess');
    expect(new Set(costs)).toEqual(new Set([1, 101]));
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

  test('what waits is bounded by its cost too', async () => {
    const compute = () => new Promise<Uint8Array>(() => {});
    const file = loadPasswordFile(temporaryFile(ALICE), { derive: compute, atOnceMax: 1, waitingCostMax: 202 });
    const answers = Array.from({ length: 4 }, () => verify(file, 'alice', 'secret'));
    expect(await answers[3]).toBe(Verdict.BUSY);
    expect(await Promise.race([answers[2], Promise.resolve('waits')])).toBe('waits');
  });

  test('costs of all kinds are in one unit', async () => {
    const scrypt = `$scrypt$ln=15,r=8,p=3$${'A'.repeat(22)}$${'A'.repeat(43)}`;
    const scram = `$scram-sha-256$600000$${'A'.repeat(22)}==$${'A'.repeat(43)}=$${'A'.repeat(43)}=`;
    expect(parsePasswordHash(scrypt).cost).toBe(2 ** 15 * 8 * 3);
    expect(parsePasswordHash(scram).cost).toBe(300_000);
    // Two of the dear kind may wait, not three.
    const compute = () => new Promise<Uint8Array>(() => {});
    const options = { derive: compute, atOnceMax: 1, waitingCostMax: 2_000_000 };
    const file = loadPasswordFile(temporaryFile(`u:${scrypt}`), options);
    const answers = Array.from({ length: 4 }, () => verify(file, 'u', 'secret'));
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
  const scrypt = (parameters: string, digest = 'A'.repeat(43)) => `secret:$scrypt$${parameters}$${'A'.repeat(22)}$${digest}`;
  const scram = (rounds: string, key = `${'A'.repeat(43)}=`) =>
    `secret:$scram-sha-256$${rounds}$${'A'.repeat(22)}==$${key}$${'A'.repeat(43)}=`;

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
    ['scrypt without parameters', `secret:$scrypt$$${'A'.repeat(22)}$${'A'.repeat(43)}`, /parameters/],
    ['scrypt in another order', scrypt('r=8,ln=15,p=3'), /parameters/],
    ['scrypt of no rounds', scrypt('ln=0,r=8,p=1'), /parameters/],
    ['scrypt of more than 128 MiB', scrypt('ln=17,r=9,p=1'), /128 MiB/],
    ['scrypt of endless memory', scrypt('ln=63,r=8,p=1'), /128 MiB/],
    ['scrypt of many large blocks', scrypt('ln=1,r=8,p=1048576'), /128 MiB/],
    ['scrypt of endless time', scrypt('ln=17,r=8,p=100'), /costs too much/],
    ['scrypt with a padded hash', scrypt('ln=15,r=8,p=3', `${'A'.repeat(43)}=`), /salt or the hash/],
    ['scrypt with a short hash', scrypt('ln=15,r=8,p=3', 'A'.repeat(20)), /salt or the hash/],
    ['scrypt with a field too many', `${scrypt('ln=15,r=8,p=3')}$AAAA`, /\$scrypt\$ hash is broken/],
    ['SCRAM with too few rounds', scram('4095'), /4096/],
    ['SCRAM with endless rounds', scram('99999999999'), /4096 to/],
    ['SCRAM with a short stored key', scram('4096', 'AAAA'), /salt or the hash/],
    ['SCRAM without a server key', scram('4096').slice(0, -45), /\$scram-sha-256\$ hash is broken/],
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
