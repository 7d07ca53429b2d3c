// docs/examples/browser-page.html in a real Chromium, as it stands: it connects, publishes and receives, comes back to its session after the network was cut, and is said to be gone when its tab is closed.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Line } from '../bridge/line.ts';
import { type RunningBroker, startBroker } from '../broker.ts';
import { Browser, chromium } from '../browser/chromium.ts';
import { openSite, type Site } from '../browser/site.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';

const html = readFileSync(new URL('../../docs/examples/browser-page.html', import.meta.url), 'utf8');

if (chromium === null)
  process.stdout.write('browser-page.html is not tested: there is no Chromium here (apt-get install chromium)\n');

describe.skipIf(chromium === null)('browser-page.html', () => {
  let site: Site;
  let broker: RunningBroker;
  let browser: Browser;

  beforeAll(async () => {
    site = await openSite();
    broker = await startBroker([`listener.ws.origins=${JSON.stringify([site.origin])}`]);
    browser = await Browser.start(chromium!);
  });
  afterAll(async () => {
    await browser?.close();
    await broker?.stop();
    site?.close();
  });

  test('does what it says', async () => {
    const line = await Line.to(broker.ws);
    const path = `/browser-page.html?broker=${encodeURIComponent(`ws://127.0.0.1:${line.port}/mqtt`)}`;
    site.pages.set(path, html);
    const other = await mqttJs({ port: broker.tcp, level: 5 });
    await other.subscribe(['greenhouse/#', 'pages/#'], 1);
    const tab = await browser.tab();
    await tab.open(`${site.origin}${path}`);
    const state = `document.getElementById('state').textContent`;
    const shows = (text: string) => tab.until(`document.getElementById('messages').innerText.includes(${JSON.stringify(text)})`);
    const say = async (text: string) => {
      await tab.value(`document.getElementById('text').value = ${JSON.stringify(text)}`);
      await tab.value(`document.querySelector('#form button').click()`);
    };
    await tab.until(`${state} === 'there'`);
    await other.until('the page says that it is here', () => other.payloads.includes('here'));
    await say('from the page');
    await other.until('the page has published', () => other.payloads.includes('from the page'));
    await other.publish('greenhouse/1', 'from elsewhere', { qos: 1 });
    await shows('greenhouse/page: from the page');
    await shows('greenhouse/1: from elsewhere');

    line.down();
    await tab.until(`${state} !== 'there'`);
    await say('said meanwhile');
    await other.publish('greenhouse/1', 'sent meanwhile', { qos: 1 });
    line.up();
    await tab.until(`${state} === 'there'`);
    await shows('greenhouse/1: sent meanwhile');
    await other.until('what was said meanwhile arrives', () => other.payloads.includes('said meanwhile'));

    await tab.close();
    await other.until('the page is said to be gone', () => other.payloads.includes('gone'));
    expect(tab.complaints.filter((text) => !/ERR_|WebSocket connection/.test(text))).toEqual([]);
  });
});
