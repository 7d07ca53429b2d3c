// 19. PROXY headers, and headers of HTTP proxies, that are forged, malformed or endless. Deeper: test/network/proxy-protocol.test.ts, and for WebSocket test/network/client-address.test.ts.
// Red when: an address is believed that somebody else than the proxy has said, a header is optional where it is asked for, or one without an end is held.
import { afterEach, describe, expect, test } from 'vitest';
import type { Credentials } from '../../../engine/gate.ts';
import { ONE_SHARD } from '../../broker.ts';
import { connect, hex } from '../../conformance/bytes.ts';
import { useRig } from '../../conformance/rig.ts';
import { Peer } from '../peer.ts';
import { frame, handshake, mqttOf } from '../web-frames.ts';

/** What the broker takes for the address of each client, in order. */
const seen: string[] = [];
const authenticator = {
  authenticate({ peer }: Credentials) {
    seen.push(`${peer.address}:${peer.port}`);
    return { ok: true, username: null } as const;
  },
};
const common = [ONE_SHARD, 'listener.tcp.proxy_protocol=true', 'limits.connect_timeout_ms=1000'];
const trusting = useRig([...common, 'listener.tcp.proxy_trusted=["127.0.0.0/8"]'], { authenticator });
const distrustful = useRig([...common, 'listener.tcp.proxy_trusted=["192.0.2.0/24", "::2"]'], { authenticator });
const header = 'listener.ws.real_address_header=x-forwarded-for';
const web = useRig([ONE_SHARD, header, 'listener.ws.proxy_trusted=["127.0.0.1"]'], { authenticator });
const webOfOthers = useRig([ONE_SHARD, header, 'listener.ws.proxy_trusted=["192.0.2.0/24"]'], { authenticator });
const without = useRig([ONE_SHARD], { authenticator });

const peers: Peer[] = [];
afterEach(() => {
  for (const peer of peers.splice(0)) peer.drop();
  seen.length = 0;
});

const HELLO = connect(5, { clientId: 'c' });
const v1 = (text: string) => Buffer.from(`${text}\r\n`, 'latin1');
const SIGNATURE = '0d 0a 0d 0a 00 0d 0a 51 55 49 54 0a';
const V1 = v1('PROXY TCP4 203.0.113.9 198.51.100.1 4711 1883');
const V2 = hex(`${SIGNATURE} 21 11 00 0c cb 00 71 09 c6 33 64 01 12 67 07 5b`);

async function sent(port: number, ...parts: Buffer[]): Promise<Peer> {
  const peer = await Peer.open(port);
  peers.push(peer);
  void peer.send(Buffer.concat(parts));
  await peer.until('an answer or the end', () => peer.closed || peer.receivedBytes > 0);
  return peer;
}

test('the header of a trusted proxy names the client, in both versions', async () => {
  for (const header of [V1, V2]) expect((await sent(trusting.broker.tcp, header, HELLO)).receivedBytes).toBeGreaterThan(0);
  expect(seen).toEqual(['203.0.113.9:4711', '203.0.113.9:4711']);
});

test('only the first one does: a second, or one behind CONNECT, is no header', async () => {
  for (const parts of [
    [V1, V1, HELLO],
    [V2, V1, HELLO],
    [HELLO, V1],
  ]) {
    const peer = await sent(trusting.broker.tcp, ...parts);
    await peer.until('it is closed', () => peer.closed);
    expect(peer.receivedBytes).toBe(0);
  }
  expect(seen).toEqual([]);
});

test('from an address that is not trusted nothing is believed, and nothing served', async () => {
  for (const header of [V1, V2, Buffer.alloc(0)])
    expect((await sent(distrustful.broker.tcp, header, HELLO)).receivedBytes).toBe(0);
  expect(seen).toEqual([]);
});

test('where no header is asked for, one is not MQTT', async () => {
  for (const header of [V1, V2]) expect((await sent(without.broker.tcp, header, HELLO)).receivedBytes).toBe(0);
  expect(seen).toEqual([]);
});

describe('a header that is none ends the connection before MQTT', () => {
  test.each<[string, Buffer]>([
    ['no header', Buffer.alloc(0)],
    ['a name in place of an address', v1('PROXY TCP4 localhost 198.51.100.1 1 2')],
    ['an address of the other family', v1('PROXY TCP4 ::1 ::1 1 2')],
    ['a port of 65,536', v1('PROXY TCP4 203.0.113.9 198.51.100.1 65536 2')],
    ['a line without an end', Buffer.from(`PROXY TCP4 ${'1'.repeat(200)}`)],
    ['a length that is shorter than its addresses', hex(`${SIGNATURE} 21 11 00 04 cb 00 71 09`)],
    ['a length of 65,535', hex(`${SIGNATURE} 21 11 ff ff cb 00 71 09`)],
    ['a local socket as the origin', hex(`${SIGNATURE} 21 31 00 d8 ${'41'.repeat(216)}`)],
  ])('%s', async (_what, header) => {
    const peer = await sent(trusting.broker.tcp, header, HELLO);
    await peer.until('it is closed', () => peer.closed);
    // An origin that is no address may be passed over; what is never done is to make one of it.
    for (const origin of seen) expect(origin).toMatch(/^127\.0\.0\.1:/);
    if (seen.length === 0) expect(peer.receivedBytes).toBe(0);
  });
});

test('a header that never ends is cut in time, and what it says is not counted for MQTT', async () => {
  const peer = await Peer.open(trusting.broker.tcp);
  peers.push(peer);
  let sentBytes = 0;
  const timer = setInterval(() => void peer.send(V1.subarray(sentBytes, ++sentBytes)), 100);
  await peer.until('it is cut', () => peer.closed).finally(() => clearInterval(timer));
  expect(sentBytes).toBeLessThan(V1.length);
  expect(seen).toEqual([]);
});

describe('over WebSocket the header of a trusted HTTP proxy names the client', () => {
  /** The status of a handshake with these lines of X-Forwarded-For, and MQTT where it was accepted. */
  async function came(port: number, ...lines: readonly string[]): Promise<string> {
    const request = handshake().toString('latin1').slice(0, -'\r\n'.length);
    const named = lines.map((line) => `X-Forwarded-For: ${line}\r\n`).join('');
    const peer = await sent(port, Buffer.from(`${request}${named}\r\n`, 'latin1'));
    const status = peer.received.toString('latin1').split(' ')[1]!;
    if (status === '101') {
      void peer.send(frame(HELLO));
      await peer.until('CONNACK', () => mqttOf(peer.received).length > 0);
    }
    return status;
  }

  test('its last line does, whatever the client wrote before', async () => {
    expect(await came(web.broker.ws, '6.6.6.6, 127.0.0.1', '203.0.113.9')).toBe('101');
    expect(seen).toEqual(['203.0.113.9:0']);
  });

  test('one that is absent or no address names nobody, and nobody is served', async () => {
    for (const lines of [[], ['203.0.113.9, localhost'], ['203.0.113.9', '']])
      expect(await came(web.broker.ws, ...lines)).toBe('400');
    expect(seen).toEqual([]);
  });

  test('one from anybody else is not looked at', async () => {
    expect(await came(webOfOthers.broker.ws, '203.0.113.9')).toBe('101');
    expect(seen).toEqual(['127.0.0.1:0']);
  });
});
