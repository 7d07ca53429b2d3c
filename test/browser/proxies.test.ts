// wss with a private authority, straight and through a real nginx and a real HAProxy that run from the files in docs/deploy: who the broker takes the client for, and who cuts an idle connection, when and how.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { createBroker } from '../../engine/lethe.ts';
import { configOf, ONE_SHARD, type RunningBroker } from '../broker.ts';
import { connect, hex } from '../conformance/bytes.ts';
import { type MqttJs, mqttJs } from '../end-to-end/mqttjs.ts';
import { temporaryCertificates } from '../network/temporary.ts';
import { temporaryFile } from '../security/temporary.ts';
import { type Home, homeTrusting } from './authority.ts';
import { Browser, chromium } from './chromium.ts';
import { hasBrowser, type Kind, Lab, useLab } from './lab.ts';
import { type Front, type FrontEnd, startHaproxy, startNginx } from './proxy.ts';

const both: readonly Kind[] = ['MQTT.js', 'Paho'];
const names = ['nginx', 'haproxy'] as const;
const BANNED = '127.0.0.66';
/** How long hasty proxies wait, and a keep alive with which a client lasts there. */
const IDLE_S = 5;
const KEEP_ALIVE_S = 2;

describe.skipIf(!hasBrowser)('proxies', () => {
  const { files, remove } = temporaryCertificates();
  let home: Home | null = null;
  const rig = useLab('proxies', () => {
    home = homeTrusting(files.ca);
    return { home: home.path };
  });
  /** What the broker takes for the address of each client, by its identifier. */
  const addresses = new Map<string, string>();
  const running: FrontEnd[] = [];
  /** As the files say, and with a bound of their own on idle connections. */
  const patient = new Map<string, FrontEnd>();
  const hasty = new Map<string, FrontEnd>();
  let broker: RunningBroker;
  let number = 0;
  const name = (prefix: string) => `${prefix}-${++number}`;
  const urlOf = (port: number) => `wss://127.0.0.1:${port}/mqtt`;

  beforeAll(async () => {
    const file = `
[limits]
banned_networks = ['${BANNED}']
[[listener]]
name = 'behind-nginx'
transport = 'ws'
real_address_header = 'x-forwarded-for'
proxy_trusted = ['127.0.0.1']
[[listener]]
name = 'behind-haproxy'
transport = 'ws'
proxy_protocol = true
proxy_trusted = ['127.0.0.1']
[[listener]]
name = 'wss'
transport = 'wss'
cert_file = '${files.serverCert}'
key_file = '${files.serverKey}'
`;
    broker = await createBroker({
      config: configOf(temporaryFile(file), [ONE_SHARD]),
      authenticator: {
        authenticate({ clientId, peer }) {
          addresses.set(clientId, peer.address);
          return { ok: true, username: null };
        },
      },
    });
    const front = { certificate: files.serverCert, key: files.serverKey };
    const nginx = (idleS?: number) => startNginx(withIdle({ ...front, upstream: broker.ports.get('behind-nginx')! }, idleS));
    const haproxy = (idleS?: number) =>
      startHaproxy(withIdle({ ...front, upstream: broker.ports.get('behind-haproxy')! }, idleS));
    for (const [start, map, idleS] of [
      [nginx, patient, undefined],
      [haproxy, patient, undefined],
      [nginx, hasty, IDLE_S],
      [haproxy, hasty, IDLE_S],
    ] as const) {
      const proxy = await start(idleS);
      running.push(proxy);
      map.set(proxy.name, proxy);
    }
  });
  afterAll(async () => {
    await broker?.stop();
    await Promise.all(running.map((proxy) => proxy.stop()));
    home?.remove();
    remove();
  });

  const withIdle = (front: Front, idleS: number | undefined): Front => (idleS === undefined ? front : { ...front, idleS });

  /** A client of node's, from an address of its own, with headers as it likes. */
  function from(localAddress: string, port: number, headers: Record<string, string> = {}): Promise<MqttJs> {
    const ca = readFileSync(files.ca);
    return mqttJs({ port, transport: 'wss', clientId: name('node'), level: 5, wsOptions: { ca, localAddress, headers } });
  }

  describe('a private authority', () => {
    test.each(both)('%s connects by wss, in a browser whose user trusts it', async (kind) => {
      const { lab } = rig;
      const client = name('secure');
      await lab.connect(kind, client, { url: urlOf(broker.wss), level: 4 });
      await lab.call('subscribe', client, client, 1);
      await lab.call('publishPattern', client, client, 1_000_000, 3, 1);
      expect((await lab.until(client, 'client.messages.length === 1')).messages).toMatchObject([
        { bytes: 1_000_000, intact: true },
      ]);
      await lab.call('end', client);
    });

    test('in one whose user does not, nobody connects, and the console says why', async () => {
      const stranger = await Browser.start(chromium!);
      try {
        const lab = new Lab(await stranger.tab());
        await lab.tab.open(`${rig.site.origin}/`);
        const { opened, close } = await lab.socket('refused', urlOf(broker.wss), ['mqtt']);
        expect({ opened, code: close?.code }).toEqual({ opened: false, code: 1006 });
        await expect.poll(() => lab.tab.complaints.join()).toContain('ERR_CERT_AUTHORITY_INVALID');
        rig.saw(`${close?.code}, ERR_CERT_AUTHORITY_INVALID`);
      } finally {
        await stranger.close();
      }
    });
  });

  describe.each(names)('%s', (proxy) => {
    test.each(both)('%s connects through it with 1 MB both ways', async (kind) => {
      const { lab } = rig;
      const client = name('proxied');
      await lab.connect(kind, client, { url: urlOf(patient.get(proxy)!.port), level: 4 });
      await lab.call('subscribe', client, client, 2);
      await lab.call('publishPattern', client, client, 1_000_000, 5, 2);
      expect((await lab.until(client, 'client.messages.length === 1')).messages).toMatchObject([
        { bytes: 1_000_000, intact: true },
      ]);
      await lab.call('end', client);
    });

    test('names the client, whatever the client says of itself', async () => {
      const { port } = patient.get(proxy)!;
      for (const [local, headers] of [
        ['127.0.0.7', {}],
        ['127.0.0.8', { 'X-Forwarded-For': '6.6.6.6' }],
        ['127.0.0.9', { 'X-Forwarded-For': `6.6.6.6, ${BANNED}`, Forwarded: 'for=6.6.6.6', 'X-Real-IP': '6.6.6.6' }],
      ] as const) {
        const client = await from(local, port, headers);
        expect(addresses.get(client.client.options.clientId!)).toBe(local);
        await client.end();
      }
      rig.saw('127.0.0.7, 127.0.0.8 and 127.0.0.9 are told apart');
    });

    test('a banned address is refused behind it', async () => {
      const { port } = patient.get(proxy)!;
      const socket = new WebSocket(urlOf(port), ['mqtt'], { ca: readFileSync(files.ca), localAddress: BANNED });
      socket.on('error', () => {});
      const [, { statusCode }] = (await once(socket, 'unexpected-response')) as [unknown, { statusCode: number }];
      socket.terminate();
      expect(statusCode).toBe(403);
      await (await from('127.0.0.67', port, { 'X-Forwarded-For': BANNED })).end();
    });

    test('close codes and refusals of the broker reach the page', async () => {
      const { lab } = rig;
      const { port } = patient.get(proxy)!;
      const text = name('s');
      await lab.socket(text, urlOf(port), ['mqtt']);
      await lab.call('send', text, 'hello');
      expect((await lab.closed(text)).close).toMatchObject({ code: 1003, wasClean: true });
      const before = lab.tab.complaints.length;
      expect((await lab.socket(name('s'), urlOf(port), [])).opened).toBe(false);
      await expect.poll(() => lab.tab.complaints.slice(before).join()).toContain('response code: 400');
    });
  });

  test('idle: a proxy cuts what is silent for longer than its time, and a keep alive below it holds the connection', async () => {
    const { lab, saw } = rig;
    const cut: (readonly [proxy: string, socket: string])[] = [];
    const held: string[] = [];
    for (const proxy of names) {
      const { port } = hasty.get(proxy)!;
      const silent = name('silent');
      // A keep alive of a minute: no ping before the proxy has lost patience.
      await lab.socket(silent, urlOf(port), ['mqtt']);
      await lab.call('send', silent, [...connect(5, { clientId: silent, keepAliveS: 60 })]);
      cut.push([proxy, silent]);
      const pinging = name('pinging');
      await lab.connect('MQTT.js', pinging, { url: urlOf(port), level: 5, keepalive: KEEP_ALIVE_S });
      held.push(pinging);
    }
    for (const [proxy, silent] of cut) {
      const { close } = await lab.closed(silent);
      expect(close).toMatchObject({ code: 1006, wasClean: false });
      saw(`${proxy}: ${close!.code}`);
    }
    // So many answers take longer than the proxies wait.
    const answers = Math.ceil(IDLE_S / KEEP_ALIVE_S);
    for (const client of held) {
      const { closes, errors } = await lab.until(client, `client.pings >= ${answers} || client.closes > 0`);
      expect({ closes, errors }).toEqual({ closes: 0, errors: [] });
      await lab.call('end', client);
    }
  });

  test('idle: a client that does not ping is told by the broker after one and a half keep alives, through a proxy too', async () => {
    const { lab, saw } = rig;
    const silent = await Promise.all(
      [broker.wss, ...names.map((proxy) => patient.get(proxy)!.port)].map(async (port) => {
        const socket = name('s');
        await lab.socket(socket, urlOf(port), ['mqtt']);
        await lab.call('send', socket, [...connect(5, { clientId: socket, keepAliveS: 1 })]);
        return socket;
      }),
    );
    for (const socket of silent) {
      const { close, bytes } = await lab.closed(socket);
      expect(close).toMatchObject({ code: 1000, wasClean: true });
      // CONNACK, and DISCONNECT with reason 0x8D.
      expect(bytes).toBeGreaterThan(hex('e0 01 8d').length);
      saw(String(close!.code));
    }
  });
});
