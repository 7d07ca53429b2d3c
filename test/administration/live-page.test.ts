// The live page in a real Chromium: asks for the token and keeps it out of the address, shows what happens, moves, needs nothing but the broker, and fits a phone.
// `LETHE_PICTURES=DIR` keeps what it looks like.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ONE_SHARD } from '../broker.ts';
import { Browser, chromium, type Tab } from '../browser/chromium.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { directory } from '../security/temporary.ts';
import { TOKEN, useAdmin } from './admin.ts';

const DESK = [1280, 800] as const;
const PHONE = [390, 844] as const;

// Publish to deliver is sampled where one shard does both.
const rig = useAdmin(() => [ONE_SHARD, `server.data_dir=${join(directory, 'live')}`]);

if (chromium === null)
  process.stdout.write('the live page is not tested: there is no Chromium here (apt-get install chromium)\n');

describe.skipIf(chromium === null)('the live page', () => {
  let browser: Browser;
  let tab: Tab;
  beforeAll(async () => {
    browser = await Browser.start(chromium!);
    tab = await browser.tab();
  });
  afterAll(() => browser?.close());

  const address = () => `http://127.0.0.1:${rig.broker.admin}/`;
  const shows = (text: string) => tab.until(`document.body.innerText.includes(${JSON.stringify(text)})`);
  /** What a card says. */
  const card = (name: string) =>
    `[...document.querySelectorAll('.card')].find((card) => card.querySelector('span').textContent === ${JSON.stringify(name)})?.querySelector('b').textContent`;
  async function picture(name: string): Promise<void> {
    const { LETHE_PICTURES } = process.env;
    if (LETHE_PICTURES !== undefined) writeFileSync(join(LETHE_PICTURES, `${name}.png`), await tab.picture());
  }
  async function enter(token: string): Promise<void> {
    await tab.value(`document.getElementById('token').value = ${JSON.stringify(token)}`);
    await tab.value(`document.querySelector('#login button').click()`);
  }

  test('asks for the token, refuses a wrong one, and keeps the right one out of the address', async () => {
    await tab.open(address(), ...DESK);
    await tab.until(`!document.getElementById('login').hidden`);
    await picture('login');
    await enter('wrong');
    await shows('The broker does not know this token.');
    expect(await tab.value(`document.getElementById('figures').hidden`)).toBe(true);
    await enter(TOKEN);
    await shows('ready');
    await tab.until(`document.getElementById('login').hidden && !document.getElementById('figures').hidden`);
    expect(await tab.value('location.href')).toBe(address());
    expect(await tab.value(`sessionStorage.getItem('lethe-token')`)).toBe(TOKEN);
    expect(await tab.value('localStorage.length')).toBe(0);
  });

  test('shows what happens: clients, throughput, held messages and their age, reasons', async () => {
    const port = rig.broker.tcp;
    const away = await mqttJs({ port, level: 5, clientId: 'away', clean: false, properties: { sessionExpiryInterval: 600 } });
    await away.subscribe('kept/#', 1);
    away.cut();
    const subscriber = await mqttJs({ port, level: 5 });
    await subscriber.subscribe('moving', 0);
    const publisher = await mqttJs({ port, level: 5 });
    for (let at = 0; at < 5; at++) await publisher.publish(`kept/${at}`, 'x'.repeat(1_000), { qos: 1 });
    // What it shows is at most a second old; so it publishes until it shows something.
    let isSeen = false;
    const feed = (async () => {
      while (!isSeen) for (let at = 0; at < 50; at++) await publisher.publish('moving', 'payload', { qos: 1 });
    })();
    await tab.until(`${card('clients of 100 k')} === '2'`);
    await tab.until(
      `Number.parseFloat(${card('received a second')}) > 0 && Number.parseFloat(${card('delivered a second')}) > 0`,
    );
    await tab.until(`${card('held messages')} === '5' && ${card('oldest held')} !== 'none'`);
    await tab.until(`/(µs|ms|s)$/.test(${card('publish to deliver, p99')})`);
    expect(await tab.value(card('slow consumers'))).toBe('0');
    expect(await tab.value(card('erasure lag, bound 1 s'))).toMatch(/^[\d.]+ (µs|ms|s)$/);
    isSeen = true;
    await feed;
    publisher.client.stream.write(Buffer.from([0xf0, 0xff, 0xff, 0xff, 0xff]));
    await shows('malformed packet');
  });

  test('its plots move', async () => {
    const pixels = `(() => { const canvas = document.querySelector('#throughput canvas'); return canvas.toDataURL(); })()`;
    const first = await tab.value<string>(pixels);
    await tab.until(`${pixels} !== ${JSON.stringify(first)}`);
    expect(await tab.value(`document.querySelectorAll('.plot:not([hidden]) canvas').length`)).toBe(8);
    if (process.env['LETHE_PICTURES'] !== undefined) await tab.until('performance.now() > 15000');
    await picture('desk');
  });

  test('fits a phone: nothing is wider than it', async () => {
    await tab.open(address(), ...PHONE);
    await shows('ready');
    await tab.until(`document.querySelectorAll('.plot canvas').length === 8`);
    await picture('phone');
    expect(await tab.value('document.documentElement.scrollWidth')).toBe(PHONE[0]);
    const wide = `[...document.querySelectorAll('.card b, td, h2, .plot p')].filter((one) => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline').map((one) => one.textContent)`;
    expect(await tab.value(wide)).toEqual([]);
    await tab.dark(true);
    await picture('dark');
    await tab.dark(false);
  });

  test('says so when the broker does not answer, and forgets the token when it is told to', async () => {
    // Later, because the page is loaded anew by it: an answer would have nowhere to come from.
    await tab.value(`void setTimeout(() => document.getElementById('leave').click())`);
    await tab.until(`document.readyState === 'complete' && !document.getElementById('login').hidden`);
    expect(await tab.value('sessionStorage.length')).toBe(0);
    await enter(TOKEN);
    await shows('ready');
    await rig.broker.stop();
    await shows('no answer');
  });

  test('asks for nothing elsewhere, and its policy forbids nothing that it does', () => {
    expect(tab.requests.length).toBeGreaterThan(5);
    expect(tab.requests.filter((url) => !url.startsWith(address()) && !url.startsWith('data:'))).toEqual([]);
    expect(tab.requests.filter((url) => url.includes(TOKEN))).toEqual([]);
    // A refused token and a broker that has gone are said by the browser itself.
    expect(tab.complaints.filter((text) => !/401 \(Unauthorized\)|ERR_CONNECTION/.test(text))).toEqual([]);
  });
});
