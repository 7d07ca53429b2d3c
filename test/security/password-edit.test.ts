// Changing a password file: every other line stays, and the file is the old one or the new one.
import { lstatSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { systemRandom } from '../../engine/random.ts';
import { deleteUser, rewritePasswordFile, setUser, upgradePlain } from '../../engine/security/password-edit.ts';
import { loadPasswordFile, Verdict } from '../../engine/security/password-file.ts';
import { hashPassword } from '../../engine/security/password-hash.ts';
import { directory, messageOf, temporaryFile } from './temporary.ts';

const hash = await hashPassword('new', systemRandom, { format: 'mosquitto', iterations: 1 });
const bytes = (text: string) => new TextEncoder().encode(text);

test('setUser changes one line in its place, or adds one at the end', () => {
  expect(setUser('', 'a', hash)).toBe(`a:${hash}\n`);
  expect(setUser('# head\na:old\n\nab:x', 'a', hash)).toBe(`# head\na:${hash}\n\nab:x\n`);
  expect(setUser('# head\r\nab:x\n', 'a', hash)).toBe(`# head\r\nab:x\na:${hash}\n`);
});

test.each(['', ' ', 'a:b', 'a\nb', '#a', 'a\0', 'x'.repeat(65_536)])(
  'setUser refuses a name that a line cannot hold (%#)',
  (name) => {
    expect(messageOf(() => setUser('', name, hash))).toMatch(/user name/);
  },
);

test('setUser refuses what is not a hash', () => {
  expect(messageOf(() => setUser('', 'a', 'plain'))).toMatch(/plain text/);
});

test('deleteUser takes one line out, and says when there is none', () => {
  expect(deleteUser('# head\na:1\nab:2\n', 'a')).toBe('# head\nab:2\n');
  expect(deleteUser('a:1\n', 'a')).toBe('');
  expect(messageOf(() => deleteUser('ab:1\n#a:2\n', 'a'))).toBe('the file has no such user');
});

test('upgradePlain hashes plain passwords alone', async () => {
  const text = await upgradePlain(`# head\ndave:plain\r\n\nerin:${hash}\nfred:pa:ss`, systemRandom, {
    format: 'mosquitto',
    iterations: 3,
  });
  const lines = text.split('\n');
  expect(lines[0]).toBe('# head');
  expect(lines[3]).toBe(`erin:${hash}`);
  expect(lines[1]).toMatch(/^dave:\$7\$3\$/);
  const file = loadPasswordFile(temporaryFile(text));
  expect(await file.verify('dave', bytes('plain'))).toBe(Verdict.OK);
  expect(await file.verify('fred', bytes('pa:ss'))).toBe(Verdict.OK);
  expect(await file.verify('erin', bytes('new'))).toBe(Verdict.OK);
});

test.each(['secret', 'secret:', ':secret', 'secret:$6$x', 'secret:$5$x$y'])('upgradePlain refuses the line %s', async (line) => {
  const failed = upgradePlain(`# head\n${line}\n`, systemRandom, { format: 'mosquitto', iterations: 1 });
  await expect(failed).rejects.toThrow(/^line 2: /);
  await expect(failed).rejects.not.toThrow(/secret/);
});

test('rewritePasswordFile makes a file of mode 0600 and leaves nothing else', async () => {
  const path = join(dirname(temporaryFile('')), 'made');
  await rewritePasswordFile(path, (text) => setUser(text, 'a', hash));
  expect(readFileSync(path, 'utf8')).toBe(`a:${hash}\n`);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await rewritePasswordFile(path, (text) => setUser(text, 'b', hash));
  expect(loadPasswordFile(path).users).toBe(2);
  expect(readdirSync(directory).filter((name) => name.startsWith('.'))).toEqual([]);
});

test('rewritePasswordFile follows a link, and leaves the old file when the edit fails', async () => {
  const path = temporaryFile('a:1\n');
  const link = `${path}.link`;
  symlinkSync(path, link);
  await rewritePasswordFile(link, (text) => setUser(text, 'b', hash));
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(readFileSync(path, 'utf8')).toBe(`a:1\nb:${hash}\n`);
  await expect(rewritePasswordFile(path, (text) => deleteUser(text, 'nobody'))).rejects.toThrow(/no such user/);
  expect(readFileSync(path, 'utf8')).toBe(`a:1\nb:${hash}\n`);
  const latin = temporaryFile(Uint8Array.of(0xe4, 0x3a, 0x31));
  await expect(rewritePasswordFile(latin, (text) => text)).rejects.toThrow(/not UTF-8/);
  expect(readdirSync(directory).filter((name) => name.startsWith('.'))).toEqual([]);
});
