// The listeners in docs/BROWSERS.md are ones that the broker takes. Its pages and its proxies are run by test/browser.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadConfig } from '../../engine/config/load.ts';
import { temporaryFile } from '../security/temporary.ts';

const page = readFileSync(new URL('../../docs/BROWSERS.md', import.meta.url), 'utf8');
const listeners = [...page.matchAll(/```toml\n(.*?)```/gs)].map(([, toml]) => toml!);

test('there are one for browsers and one for each proxy', () => {
  expect(listeners.map((toml) => /name = "(.*)"/.exec(toml)?.[1])).toEqual(['wss', 'behind-nginx', 'behind-haproxy']);
});

test.each(listeners)('%s', (toml) => {
  const [listener, ...more] = loadConfig({ file: temporaryFile(toml) }).listeners;
  expect(more).toEqual([]);
  expect(listener).toMatchObject({ anonymous: false, origins: ['https://app.example.org'] });
});
