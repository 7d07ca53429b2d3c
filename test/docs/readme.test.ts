// The first steps of the README: its commands and its program do what they say. The page there is run by test/browser.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { LETHE_MAIN } from '../../bench/contestants/lethe.ts';
import { environmentFor, startBroker } from '../broker.ts';
import { Child } from '../end-to-end/child.ts';

const root = new URL('../..', import.meta.url).pathname;
const readme = readFileSync(`${root}README.md`, 'utf8');

/** The first block of a language that has these words in it. */
function block(language: string, words: string): string {
  const blocks = [...readme.matchAll(/```(\w+)\n(.*?)```/gs)].filter(([, name]) => name === language).map(([, , text]) => text!);
  const found = blocks.find((text) => text.includes(words));
  if (found === undefined) throw new Error(`the README has no ${language} block with '${words}'`);
  return found;
}

test('the first connection from a terminal', async () => {
  const broker = await startBroker();
  const [subscribe, publish] = block('sh', 'npx lethe sub').trim().split('\n');
  const run = (line: string) => {
    const command = line.replace('npx lethe', `exec '${process.execPath}' '${LETHE_MAIN}'`).replace(/ +#.*/, '');
    return new Child('sh', ['-c', `${command} -p ${broker.tcp}`], { env: environmentFor(undefined) });
  };
  const sub = run(subscribe!);
  await expect.poll(() => broker.counts().connections, { interval: 10, timeout: 10_000 }).toBe(1);
  // It is connected, and not yet for certain subscribed: what it does not get is sent again.
  const pubs: Child[] = [];
  const isThere = async () => {
    const pub = run(publish!);
    pubs.push(pub);
    await pub.ended();
    return sub.stdout;
  };
  await expect.poll(isThere, { interval: 10, timeout: 20_000 }).toContain('greenhouse/1 21.5 °C\n');
  expect(pubs.map(({ exit }) => exit)).toEqual(pubs.map(() => ({ code: 0, signal: null })));
  sub.kill('SIGTERM');
  await sub.ended();
  await broker.stop();
});

test('a broker inside of a program', async () => {
  const program = block('js', 'createBroker');
  const child = new Child(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    env: environmentFor(undefined),
  });
  expect(await child.ended(), child.stderr).toEqual({ code: 0, signal: null });
  expect(child.stdout).toMatch(/^\d+ \d+\n$/);
});
