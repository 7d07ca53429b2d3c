// Whose address a WebSocket connection counts for, with hostile peers in the place of proxies. With real proxies: test/browser/proxies.test.ts.
import { afterEach, describe, expect, test } from 'vitest';
import { Admission } from '../../engine/admission.ts';
import { systemClock } from '../../engine/clock.ts';
import { Counters } from '../../engine/counters.ts';
import type { Listener } from '../../engine/link.ts';
import type { Proxied } from '../../engine/network/client-address.ts';
import { listenWebSocket } from '../../engine/network/websocket.ts';
import { Peer } from '../hostile/peer.ts';
import { handshake } from '../hostile/web-frames.ts';
import { Recorder } from './recorder.ts';

const listeners: Listener[] = [];
const peers: Peer[] = [];
/** Addresses of those who were let in. */
const seen: string[] = [];

afterEach(async () => {
  for (const peer of peers.splice(0)) peer.drop();
  for (const listener of listeners.splice(0)) await listener.close();
  seen.length = 0;
});

async function listen(proxied: Proxied, banned: string | null = null): Promise<number> {
  const admission = new Admission(new Counters());
  if (banned !== null) admission.banned = { has: (address) => address === banned };
  const listener = await listenWebSocket({
    name: 'web',
    host: '127.0.0.1',
    port: 0,
    clock: systemClock,
    endTimeoutMs: 5_000,
    origins: null,
    payloadBytesMax: 1_000_000,
    admission,
    proxied,
    accept: (link) => {
      seen.push(link.peer.address);
      return new Recorder(link);
    },
  });
  listeners.push(listener);
  return listener.port;
}

/** Sends it in these pieces, each when the one before is with the kernel; the status of the answer, null for a close without one. */
async function statusOf(port: number, ...pieces: Buffer[]): Promise<number | null> {
  const peer = await Peer.open(port);
  peers.push(peer);
  for (const piece of pieces) await peer.send(piece);
  await peer.until('an answer, or the end', () => peer.closed || peer.received.includes('\r\n\r\n'));
  const [line = ''] = peer.received.toString('latin1').split('\r\n');
  return line === '' ? null : Number(line.split(' ')[1]);
}

describe('a header', () => {
  const by = { header: 'X-Forwarded-For' };
  const from = (...values: string[]) => {
    const lines = values.map((value) => `X-Forwarded-For: ${value}\r\n`).join('');
    const [line, rest] = handshake()
      .toString('latin1')
      .split(/(?<=HTTP\/1.1\r\n)/);
    return Buffer.from(`${line}${lines}${rest}`, 'latin1');
  };

  test('of a trusted proxy names the client; the last of several lines counts', async () => {
    const port = await listen({ trusted: ['127.0.0.1'], by });
    expect(await statusOf(port, from('203.0.113.9'))).toBe(101);
    expect(await statusOf(port, from('6.6.6.6', '203.0.113.10'))).toBe(101);
    expect(await statusOf(port, from('6.6.6.6, 7.7.7.7', '[2001:db8::1]:80', '127.0.0.1'))).toBe(101);
    expect(seen).toEqual(['203.0.113.9', '203.0.113.10', '2001:db8::1']);
  });

  test('of anybody else is passed over', async () => {
    const port = await listen({ trusted: ['192.0.2.0/24', '::2'], by });
    expect(await statusOf(port, from('203.0.113.9'))).toBe(101);
    expect(await statusOf(port, from('nonsense'))).toBe(101);
    expect(await statusOf(port, handshake())).toBe(101);
    expect(seen).toEqual(['127.0.0.1', '127.0.0.1', '127.0.0.1']);
  });

  test('that is absent or malformed is a bad request, and says what is wanted', async () => {
    const port = await listen({ trusted: ['127.0.0.1'], by });
    for (const request of [handshake(), from(''), from('unknown'), from('203.0.113.9', 'localhost')])
      expect(await statusOf(port, request)).toBe(400);
    expect(peers.at(-1)!.received.toString()).toContain('real_address_header');
    expect(seen).toEqual([]);
  });

  test('with 1,000 addresses in it does no harm, and an endless one is refused', async () => {
    const port = await listen({ trusted: ['127.0.0.1'], by });
    const many = Array.from({ length: 1_000 }, () => '198.51.100.7').join(',');
    const status = await statusOf(port, from(`${many},203.0.113.9`));
    // In one piece uWebSockets takes it, in several it is above its bound.
    if (status === 101) expect(seen).toEqual(['203.0.113.9']);
    else expect([null, 431]).toContain(status);
    seen.length = 0;
    const line = Buffer.from(`GET /mqtt HTTP/1.1\r\nX-Forwarded-For: ${'1'.repeat(1_048_576)}`, 'latin1');
    expect([null, 431]).toContain(await statusOf(port, line));
    expect(seen).toEqual([]);
  });

  test('counts for the ban list, and what the client pretends does not', async () => {
    const port = await listen({ trusted: ['127.0.0.1'], by }, '203.0.113.9');
    expect(await statusOf(port, from('6.6.6.6, 203.0.113.9'))).toBe(403);
    expect(await statusOf(port, from('203.0.113.9, 6.6.6.6'))).toBe(101);
    expect(seen).toEqual(['6.6.6.6']);
  });
});

describe('the PROXY protocol', () => {
  const SIGNATURE = '0d0a0d0a000d0a515549540a';
  const header = (rest: string) => Buffer.from(`${SIGNATURE}${rest}`, 'hex');
  /** `family` 4: 203.0.113.`last`. */
  const v4 = (last: number) => header(`2111000ccb0071${last.toString(16).padStart(2, '0')}c63364011267075b`);
  /** From a UNIX socket of this path or name, as much of it as uWebSockets reads: a whole one is waited for in vain. */
  const unix = (path: string) => header(`21310024${Buffer.from(path.padEnd(36, '\0'), 'latin1').toString('hex')}`);
  const v6 = header(`21210024${'20010db8000000000000000000000001'.repeat(2)}12670050`);
  const page = Buffer.from('GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n');

  test('names the client, of either family and however it is cut', async () => {
    const port = await listen({ trusted: ['127.0.0.1'], by: 'proxy_protocol' });
    expect(await statusOf(port, Buffer.concat([v4(9), handshake()]))).toBe(101);
    expect(await statusOf(port, v4(10), handshake())).toBe(101);
    expect(await statusOf(port, v4(11).subarray(0, 7), v4(11).subarray(7), handshake())).toBe(101);
    expect(await statusOf(port, v6, handshake())).toBe(101);
    expect(seen).toEqual(['203.0.113.9', '203.0.113.10', '203.0.113.11', '2001:db8::1']);
    seen.length = 0;
    const addresses = [`${'0'.repeat(31)}1`, `${'0'.repeat(20)}ffffc6336407`, `0064ff9b${'0'.repeat(16)}c6336407`];
    for (const address of addresses)
      expect(await statusOf(port, header(`21210024${address.repeat(2)}12670050`), handshake())).toBe(101);
    expect(seen).toEqual(['::1', '198.51.100.7', '64:ff9b::c633:6407']);
  });

  test('is believed of trusted proxies, who alone are served', async () => {
    const port = await listen({ trusted: ['192.0.2.0/24'], by: 'proxy_protocol' });
    for (const pieces of [[v4(9), handshake()], [handshake()]]) expect(await statusOf(port, ...pieces)).toBe(403);
    expect(seen).toEqual([]);
  });

  test('must be there, and name somebody', async () => {
    const port = await listen({ trusted: ['127.0.0.1'], by: 'proxy_protocol' });
    const v1 = Buffer.from('PROXY TCP4 203.0.113.9 198.51.100.1 4711 1883\r\n');
    for (const [pieces, status] of [
      [[handshake()], 400],
      [[header('20000000'), handshake()], 400],
      [[header('21000000'), handshake()], 400],
      [[unix('/run/client.sock'), handshake()], 400],
      [[unix('\0abstract name of it'), handshake()], 400],
      [[unix(''), handshake()], 400],
      [[Buffer.concat([v1, handshake()])], 505],
    ] as const)
      expect(await statusOf(port, ...pieces)).toBe(status);
    expect(seen).toEqual([]);
  });

  test("the client's own header behind the proxy's names nobody, wherever it stands", async () => {
    const port = await listen({ trusted: ['127.0.0.1'], by: 'proxy_protocol' });
    const forged = v4(66);
    const forgeries = [
      [v4(9), forged, handshake()],
      [Buffer.concat([v4(9), forged, handshake()])],
      // Behind a request that is refused, in the same piece and in the next one.
      [Buffer.concat([v4(9), page, forged, handshake()])],
      [Buffer.concat([v4(9), page]), Buffer.concat([forged, handshake()])],
    ];
    for (const pieces of forgeries) {
      const peer = await Peer.open(port);
      peers.push(peer);
      // A piece may find the connection closed.
      for (const piece of pieces) await peer.send(piece);
      // Whoever comes later is served later.
      expect(await statusOf(port, v4(9), handshake())).toBe(101);
      expect(peer.received.toString('latin1')).not.toContain('HTTP/1.1 101');
    }
    expect(seen).toEqual(forgeries.map(() => '203.0.113.9'));
  });

  test('counts for the ban list', async () => {
    const port = await listen({ trusted: ['127.0.0.1'], by: 'proxy_protocol' }, '203.0.113.9');
    expect(await statusOf(port, v4(9), handshake())).toBe(403);
    expect(await statusOf(port, v4(10), handshake())).toBe(101);
  });
});

test('a connection makes one request: a second one in the same piece is not answered', async () => {
  const port = await listen({ trusted: ['192.0.2.1'], by: { header: 'x-real-ip' } });
  const page = Buffer.from('GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n');
  expect(await statusOf(port, page)).toBe(404);
  expect(await statusOf(port, Buffer.concat([page, handshake()]))).not.toBe(101);
  expect(seen).toEqual([]);
});

test.each(['everybody', '10.0.0.0/40'])('a list of proxies with "%s" in it is refused', async (entry) => {
  await expect(listen({ trusted: [entry], by: 'proxy_protocol' })).rejects.toThrow(
    `listener "web": proxy_trusted: "${entry}" is no address or network`,
  );
});
