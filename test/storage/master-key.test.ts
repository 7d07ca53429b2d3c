// Where the master key comes from, and that nothing but 32 bytes is taken for one.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findMasterKey } from '../../engine/spool/master-key.ts';

const folder = mkdtempSync(join(tmpdir(), 'lethe-key-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const KEY = Uint8Array.from({ length: 32 }, (_, i) => 0x80 + i);
const NONE = { file: '', env: '', command: [] };
let files = 0;

function fileOf(content: string | Uint8Array): string {
  const path = join(folder, `key-${++files}`);
  writeFileSync(path, content);
  return path;
}

const hex = Buffer.from(KEY).toString('hex');
const base64 = Buffer.from(KEY).toString('base64');
const forms: readonly (readonly [string, string | Uint8Array])[] = [
  ['hex', hex],
  ['hex in capitals', hex.toUpperCase()],
  ['hex and a line feed', `${hex}\n`],
  ['base64', base64],
  ['base64 with space around it', ` ${base64}\r\n`],
];

test('no source gives no key', () => {
  expect(findMasterKey(NONE)).toBeNull();
});

describe('a file', () => {
  test.each([...forms, ['32 raw bytes', KEY] as const])('with %s', (_name, content) => {
    expect(findMasterKey({ ...NONE, file: fileOf(content) })).toEqual(KEY);
  });

  test.each([
    ['nothing', ''],
    ['31 bytes', KEY.subarray(1)],
    ['33 bytes', Buffer.concat([KEY, Buffer.of(1)])],
    ['63 hex digits', hex.slice(1)],
    ['65 hex digits', `${hex}0`],
    ['hex with a stranger in it', `${hex.slice(0, 63)}g`],
    ['base64 of 31 bytes', Buffer.from(KEY.subarray(1)).toString('base64')],
    ['a sentence', 'this is not a master key, and it is not 32 bytes long either'],
  ])('with %s is refused by its name, without a word of what it holds', (_name, content) => {
    const file = fileOf(content);
    let message = '';
    try {
      findMasterKey({ ...NONE, file });
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toBe(
      `${file}: is no master key; give 64 hex digits, 44 characters of base64, or 32 bytes (openssl rand -hex 32 makes one)`,
    );
  });

  test('that is not there', () => {
    const file = join(folder, 'missing');
    expect(() => findMasterKey({ ...NONE, file })).toThrow(
      `${file}: the master key cannot be read (ENOENT); correct spool.key_file`,
    );
  });
});

describe('an environment variable', () => {
  test.each(forms)('with %s', (_name, content) => {
    expect(findMasterKey({ ...NONE, env: 'THE_KEY' }, { THE_KEY: content as string })).toEqual(KEY);
  });

  test.each([
    ['not set', {}],
    ['empty', { THE_KEY: '' }],
  ])('that is %s', (_name, env) => {
    expect(() => findMasterKey({ ...NONE, env: 'THE_KEY' }, env)).toThrow(
      'the environment variable THE_KEY has no master key; set it, or unset spool.key_env',
    );
  });

  test('with something else', () => {
    expect(() => findMasterKey({ ...NONE, env: 'THE_KEY' }, { THE_KEY: 'secret' })).toThrow(
      /^the environment variable THE_KEY: is no master key; give 64 hex digits/,
    );
  });
});

describe('a command', () => {
  const node = (script: string) => ({ ...NONE, command: [process.execPath, '--eval', script] });

  test.each(forms)('that prints %s', (_name, content) => {
    expect(findMasterKey(node(`process.stdout.write(${JSON.stringify(content)})`))).toEqual(KEY);
  });

  test('that prints 32 raw bytes', () => {
    expect(findMasterKey(node(`process.stdout.write(Buffer.from('${hex}', 'hex'))`))).toEqual(KEY);
  });

  test('that fails is told by its program and code, and not by what it printed', () => {
    expect(() => findMasterKey(node(`process.stdout.write('${hex}'); process.exit(7)`))).toThrow(
      `the command of spool.key_command failed (exit code 7): ${process.execPath}`,
    );
  });

  test('that is not there', () => {
    expect(() => findMasterKey({ ...NONE, command: ['/nowhere/at-all', 'x'] })).toThrow(
      'the command of spool.key_command failed (ENOENT): /nowhere/at-all',
    );
  });

  test('that prints something else', () => {
    expect(() => findMasterKey(node(`process.stdout.write('secret')`))).toThrow(/^the output of .*: is no master key/);
  });
});

test('a file goes before the environment, and that before a command', () => {
  const command = [process.execPath, '--eval', `process.stdout.write('${'ab'.repeat(32)}')`];
  const env = { THE_KEY: 'cd'.repeat(32) };
  expect(findMasterKey({ file: fileOf(KEY), env: 'THE_KEY', command }, env)).toEqual(KEY);
  expect(findMasterKey({ file: '', env: 'THE_KEY', command }, env)).toEqual(new Uint8Array(32).fill(0xcd));
  expect(findMasterKey({ file: '', env: '', command }, env)).toEqual(new Uint8Array(32).fill(0xab));
});
