// MQTT.js and Eclipse Paho in a real Chromium, from a page of another origin than the broker's: what a browser client does all day, and what it sees when it is refused.
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { RunningBroker } from '../broker.ts';
import { startBroker } from '../broker.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { Opcode } from '../hostile/web-frames.ts';
import { hasBrowser, type Kind, type Lab, useLab } from './lab.ts';
import { Wire } from './wire.ts';

const MEGABYTE = 1_000_000;
const PACKET_BYTES_MAX = 2 * MEGABYTE;

/** Each client with the levels that it speaks. */
const speakers: readonly (readonly [kind: Kind, level: 3 | 4 | 5])[] = [
  ['MQTT.js', 4],
  ['MQTT.js', 5],
  ['Paho', 3],
  ['Paho', 4],
];
const both: readonly Kind[] = ['MQTT.js', 'Paho'];

describe.skipIf(!hasBrowser)('browsers', () => {
  const rig = useLab('clients');
  let broker: RunningBroker;
  const wires: Wire[] = [];
  let names = 0;
  const name = (prefix: string) => `${prefix}-${++names}`;
  const urlOf = (port: number) => `ws://127.0.0.1:${port}/mqtt`;

  beforeAll(async () => {
    broker = await startBroker([
      `listener.ws.origins=${JSON.stringify([rig.site.origin])}`,
      'limits.connect_timeout_ms=2000',
      `limits.packet_bytes_max=${PACKET_BYTES_MAX}`,
    ]);
  });
  afterEach(() => {
    for (const wire of wires.splice(0)) wire.close();
  });
  afterAll(() => broker?.stop());

  async function wireTo(port: number, bytes: 'kept' | 'passed' = 'passed'): Promise<Wire> {
    const wire = await Wire.open(port, bytes);
    wires.push(wire);
    return wire;
  }

  /** A client that subscribes to all below a topic of its own, and that topic. */
  async function listener(lab: Lab, kind: Kind, level: 3 | 4 | 5, qos: number): Promise<{ client: string; topic: string }> {
    const client = name('listener');
    await lab.connect(kind, client, { url: urlOf(broker.ws), level });
    await lab.call('subscribe', client, `${client}/#`, qos);
    return { client, topic: client };
  }

  test.each(speakers)('%s at level %i connects from another origin, and has QoS 0, 1 and 2 both ways', async (kind, level) => {
    const { lab, saw } = rig;
    const { client, topic } = await listener(lab, kind, level, 2);
    for (const qos of [0, 1, 2]) await lab.call('publish', client, `${topic}/${qos}`, `hello ${qos}`, qos);
    const { messages } = await lab.until(client, 'client.messages.length >= 3');
    expect(messages.map(({ topic, text, qos, retained, duplicate }) => ({ topic, text, qos, retained, duplicate }))).toEqual(
      [0, 1, 2].map((qos) => ({ topic: `${topic}/${qos}`, text: `hello ${qos}`, qos, retained: false, duplicate: false })),
    );
    await lab.call('end', client);
    expect((await lab.until(client, 'client.closes === 1')).errors).toEqual([]);
    saw(`${messages.length} messages`);
  });

  test.each(both)('%s gets the retained message when it subscribes, and none once it was taken back', async (kind) => {
    const { lab } = rig;
    const { client, topic } = await listener(lab, kind, 4, 1);
    await lab.call('publish', client, `${topic}/kept`, 'kept', 1, true);
    const late = name('late');
    await lab.connect(kind, late, { url: urlOf(broker.ws), level: 4 });
    await lab.call('subscribe', late, `${topic}/kept`, 1);
    const { messages } = await lab.until(late, 'client.messages.length >= 1');
    expect(messages).toMatchObject([{ text: 'kept', retained: true, qos: 1 }]);
    await lab.call('publish', client, `${topic}/kept`, '', 1, true);
    const later = name('later');
    await lab.connect(kind, later, { url: urlOf(broker.ws), level: 4 });
    await lab.call('subscribe', later, `${topic}/#`, 1);
    await lab.call('publish', client, `${topic}/mark`, 'mark', 1);
    expect((await lab.until(later, 'client.messages.length >= 1')).messages).toMatchObject([{ text: 'mark' }]);
  });

  test.each(both)('the will of %s goes out when its tab is closed', async (kind) => {
    const { lab, saw } = rig;
    const { client, topic } = await listener(lab, kind, 4, 1);
    const other = await rig.open();
    const mortal = name('mortal');
    const will = { topic: `${topic}/will`, payload: 'its tab was closed', qos: 1, retain: false };
    await other.connect(kind, mortal, { url: urlOf(broker.ws), level: 4, will });
    await other.tab.close();
    const { messages } = await lab.until(client, 'client.messages.length >= 1');
    expect(messages).toMatchObject([{ topic: `${topic}/will`, text: 'its tab was closed', qos: 1 }]);
    saw(messages[0]!.text);
  });

  test.each(both)('%s resumes its session when the network was cut, and nothing is lost', async (kind) => {
    const { lab, saw } = rig;
    const wire = await wireTo(broker.ws);
    const client = name('resumed');
    const level = kind === 'MQTT.js' ? 5 : 4;
    await lab.connect(kind, client, { url: urlOf(wire.port), level, clean: false, reconnect: true, expiryS: 600 });
    await lab.call('subscribe', client, `${client}/#`, 1);
    const { client: steady } = await listener(lab, kind, 4, 1);
    await lab.call('publish', steady, `${client}/0`, 'before', 1);
    await lab.until(client, 'client.messages.length === 1');
    wire.cut();
    await lab.until(client, 'client.closes >= 1');
    for (let at = 1; at <= 20; at++) await lab.call('publish', steady, `${client}/${at}`, `meanwhile ${at}`, 1);
    wire.mend();
    const { messages, connects } = await lab.until(client, 'client.messages.length >= 21');
    expect(messages.slice(1).map(({ text }) => text)).toEqual(Array.from({ length: 20 }, (_, at) => `meanwhile ${at + 1}`));
    if (kind === 'MQTT.js') expect(connects.at(-1)).toBe(true);
    saw(`${connects.length} connections, ${messages.length} messages`);
    await lab.call('end', client);
  });

  test.each(both)('1 MB from %s comes whole, over the many frames that Chromium and the client make of it', async (kind) => {
    const { lab, saw } = rig;
    const wire = await wireTo(broker.ws, 'kept');
    const client = name('large');
    await lab.connect(kind, client, { url: urlOf(wire.port), level: 4 });
    await lab.call('subscribe', client, `${client}/#`, 1);
    for (const seed of [7, 8]) await lab.call('publishPattern', client, `${client}/large`, MEGABYTE, seed, 1);
    const { messages } = await lab.until(client, 'client.messages.length >= 2');
    expect(messages.map(({ bytes, intact }) => ({ bytes, intact }))).toEqual([
      { bytes: MEGABYTE, intact: true },
      { bytes: MEGABYTE, intact: true },
    ]);
    const sent = wire.sentFrames().filter(({ opcode }) => opcode === Opcode.BINARY || opcode === Opcode.CONTINUATION);
    const received = wire.receivedFrames().filter(({ opcode }) => opcode === Opcode.BINARY || opcode === Opcode.CONTINUATION);
    const sum = (frames: typeof sent) => frames.reduce((total, { bytes }) => total + bytes, 0);
    // Two messages with their topic, and some packets of a few bytes.
    for (const frames of [sent, received]) {
      expect(sum(frames)).toBeGreaterThan(2 * MEGABYTE);
      expect(sum(frames)).toBeLessThan(2 * MEGABYTE + 1_000);
    }
    const fragments = sent.filter(({ final }) => !final).length;
    saw(
      `${sent.length} frames sent, ${fragments} of them not the last of their message, the largest ${Math.max(...sent.map(({ bytes }) => bytes))} bytes; ${received.length} received`,
    );
    expect(fragments).toBeGreaterThan(2);
  });

  test.each<[page: string, url: string, count: number]>([
    ['docs/BROWSERS.md', 'wss://mqtt.example.org/mqtt', 2],
    ['README.md', 'ws://127.0.0.1:8083/mqtt', 1],
  ])('the pages in %s do what they say', async (page, url, count) => {
    const text = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8');
    const snippets = [...text.matchAll(/```html\n(.*?)```/gs)].map(([, html]) => html!);
    expect(snippets).toHaveLength(count);
    const publisher = await mqttJs({ port: broker.tcp, level: 5 });
    await publisher.publish('greenhouse/8', 'of before', { qos: 1, retain: true });
    for (const [at, html] of snippets.entries()) {
      expect(html).toContain(url);
      const path = `/page-${rig.site.pages.size}`;
      rig.site.pages.set(path, `<!doctype html><body>${html.replace(url, urlOf(broker.ws))}`);
      const { tab } = await rig.open();
      await tab.open(`${rig.site.origin}${path}`);
      // Where a page shows nothing, it says it on the console.
      const shown = async () => `${await tab.value('document.body.innerText')} ${tab.complaints.join()}`;
      await expect.poll(shown, { timeout: 10_000 }).toContain('of before');
      await publisher.publish('greenhouse/9', `live ${at}`, { qos: 1 });
      await expect.poll(shown, { timeout: 10_000 }).toContain(`live ${at}`);
      await tab.close();
    }
    await publisher.end();
  });

  describe('what a page sees when it is refused', () => {
    test('an origin that is not listed: no connection, and 403 on the console', async () => {
      const { lab, saw } = rig;
      const elsewhere = await rig.open();
      await elsewhere.tab.open(`${rig.site.origin.replace('localhost', '127.0.0.1')}/`);
      expect(await elsewhere.socket('refused', urlOf(broker.ws), ['mqtt'])).toMatchObject({
        opened: false,
        close: { code: 1006, wasClean: false },
      });
      await expect.poll(() => elsewhere.tab.complaints.join()).toContain('Unexpected response code: 403');
      for (const kind of both) {
        const refused = name('refused');
        await elsewhere.call('open', kind, refused, { url: urlOf(broker.ws), level: 4 });
        const { connects, errors } = await elsewhere.until(refused, 'client.closes >= 1');
        expect(connects).toEqual([]);
        saw(`${kind}: ${errors.join(', ') || 'a close'}`);
      }
      expect((await lab.socket('allowed', urlOf(broker.ws), ['mqtt'])).opened).toBe(true);
      await elsewhere.tab.close();
    });

    test.each<[what: string, subprotocols: readonly string[], answer: RegExp]>([
      ['none', [], /Unexpected response code: 400/],
      ['another one', ['chat'], /Unexpected response code: 400/],
      ['one in capitals', ['MQTT'], /Unexpected response code: 400/],
    ])('no subprotocol of MQTT: %s [MQTT-6.0.0-3]', async (_what, subprotocols, answer) => {
      const { lab, saw } = rig;
      const before = lab.tab.complaints.length;
      const { opened, close } = await lab.socket(name('s'), urlOf(broker.ws), subprotocols);
      expect({ opened, code: close?.code }).toEqual({ opened: false, code: 1006 });
      await expect.poll(() => lab.tab.complaints.slice(before).join()).toMatch(answer);
      saw(String(close?.code));
    });

    test.each<[offered: readonly string[], selected: string]>([
      [['mqtt'], 'mqtt'],
      [['mqttv3.1'], 'mqttv3.1'],
      [['chat', 'mqtt'], 'mqtt'],
    ])('of the subprotocols %j it selects %s', async (offered, selected) => {
      expect(await rig.lab.socket(name('s'), urlOf(broker.ws), offered)).toMatchObject({ opened: true, protocol: selected });
    });

    test('another path: 404', async () => {
      const { lab } = rig;
      const before = lab.tab.complaints.length;
      for (const path of ['/', '/mqtt/', '/ws']) {
        const { opened } = await lab.socket(name('s'), `ws://127.0.0.1:${broker.ws}${path}`, ['mqtt']);
        expect(opened).toBe(false);
      }
      await expect
        .poll(
          () =>
            lab.tab.complaints
              .slice(before)
              .join()
              .match(/response code: 404/g)?.length,
        )
        .toBe(3);
    });

    test('a text frame: close code 1003 with a reason [MQTT-6.0.0-1]', async () => {
      const { lab, saw } = rig;
      const socket = name('s');
      await lab.socket(socket, urlOf(broker.ws), ['mqtt']);
      await lab.call('send', socket, 'hello');
      const { close } = await lab.closed(socket);
      expect(close).toEqual({ code: 1003, reason: 'MQTT needs binary frames', wasClean: true });
      saw(`${close!.code} ${close!.reason}`);
    });

    test('a message of WebSocket that is larger than any packet: cut, close code 1006', async () => {
      const { lab, saw } = rig;
      const socket = name('s');
      await lab.socket(socket, urlOf(broker.ws), ['mqtt']);
      await lab.call('sendPattern', socket, 2 * PACKET_BYTES_MAX);
      const { close } = await lab.closed(socket);
      expect(close).toEqual({ code: 1006, reason: '', wasClean: false });
      saw(String(close!.code));
    });

    test('a packet that is too large: MQTT.js at level 5 is told (0x95)', async () => {
      const { lab, saw } = rig;
      const client = name('huge');
      await lab.connect('MQTT.js', client, { url: urlOf(broker.ws), level: 5 });
      await lab.tab.value(`void lab.publishPattern('${client}', 'x', ${PACKET_BYTES_MAX + 10_000}, 1, 1).catch(() => {})`);
      const { errors } = await lab.until(client, 'client.closes > 0');
      expect(errors).toContain(`DISCONNECT ${0x95}`);
      saw(errors.join(', '));
    });

    test('bytes that are no MQTT, and silence where CONNECT is due: close code 1000', async () => {
      const { lab, saw } = rig;
      const wrong = name('s');
      const silent = name('s');
      await lab.socket(silent, urlOf(broker.ws), ['mqtt']);
      await lab.socket(wrong, urlOf(broker.ws), ['mqtt']);
      await lab.call('send', wrong, [0xf0, 0xff, 0xff, 0xff, 0xff]);
      for (const [what, socket] of [
        ['no MQTT', wrong],
        ['silence', silent],
      ] as const) {
        const { close } = await lab.closed(socket);
        expect(close).toMatchObject({ code: 1000, wasClean: true });
        saw(`${what}: ${close!.code}`);
      }
    });
  });
});
