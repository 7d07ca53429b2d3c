// docs/examples/load-test.sh, as it stands: it ends with 0 when what is asserted holds and with 1 when it does not, and leaves no broker behind.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { LETHE_MAIN } from '../../bench/contestants/lethe.ts';
import { Child } from '../end-to-end/child.ts';

const root = new URL('../..', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'lethe-load-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function run(name: string, assert: string): Promise<Child & { readonly result: string }> {
  const result = join(folder, name);
  const env = { LETHE: `${process.execPath} ${LETHE_MAIN}`, LOAD_ASSERT: assert, LOAD_RESULT: result, LOAD_DURATION: '1s' };
  const child = new Child('docs/examples/load-test.sh', [], { cwd: root, env });
  await child.ended();
  return Object.assign(child, { result });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test.each([
  ['holds', 'lost=0,duplicated=0,p99<10s', 0],
  ['fails', 'lost=0,p50<1us', 1],
] as const)('what is asserted %s', async (name, assert, code) => {
  const child = await run(name, assert);
  expect(child.exit, child.stdout + child.stderr).toEqual({ code, signal: null });
  const { pid } = JSON.parse(readFileSync(join(child.result, 'ready.json'), 'utf8')) as { pid: number };
  expect(isAlive(pid)).toBe(false);
  const { account } = JSON.parse(readFileSync(join(child.result, 'result.json'), 'utf8')) as { account: { lost: number } };
  expect(account.lost).toBe(0);
  expect(existsSync(join(child.result, 'report.html'))).toBe(true);
});
