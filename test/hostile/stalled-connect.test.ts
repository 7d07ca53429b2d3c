// Connections that claim much, send little and stall: what a peer can make the broker hold is what it has sent, and not for long.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connect, hex, type Level, publish, varint } from '../conformance/bytes.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { type Served, serve } from '../end-to-end/served.ts';
import { allClosed, openCrowd, Peer } from './peer.ts';
import { residentMiB, tellsResident } from './resident.ts';
import { Witness } from './witness.ts';

const CROWD = 1_000;
/** The largest remaining length that can be written: 268,435,455. */
const CLAIM = hex('ff ff ff 7f');
/** What a thousand of them may cost: 64 KiB each, some hundred times more than what they send, and 4,000 times less than they claim. */
const GROWTH_MIB_MAX = 64;

let served: Served;
let witness: Witness;
let peers: Peer[] = [];

beforeAll(async () => {
  served = await serve('[limits]\nconnect_timeout_ms = 5000\n');
  witness = await Witness.open(served.port('tcp'));
  await witness.isServed();
});
afterEach(() => {
  for (const peer of peers.splice(0)) peer.drop();
});
afterAll(async () => {
  witness.drop();
  expect(await served.stop()).toEqual({ code: 0, signal: null });
});

/** Opens the crowd, does with each what `attack` says, and returns by how much memory grew meanwhile. */
async function growth(attack: (peer: Peer, index: number) => void): Promise<number> {
  const before = residentMiB(served.ready.pid);
  peers = await openCrowd(served.port('tcp'), CROWD);
  peers.forEach(attack);
  await witness.isServed();
  const during = residentMiB(served.ready.pid);
  await witness.isServed();
  return during - before;
}

describe.skipIf(!tellsResident)('a thousand connections', () => {
  test('that claim 256 MB in their first packet are closed, unanswered', async () => {
    const grown = await growth((peer) => void peer.send(Buffer.concat([hex('10'), CLAIM, Buffer.alloc(200, 0x41)])));
    await allClosed(peers);
    expect(peers.every(({ receivedBytes }) => receivedBytes === 0)).toBe(true);
    expect(grown).toBeLessThan(GROWTH_MIB_MAX);
    await witness.isServed();
  });

  test.each<[string, Level, string]>([
    ['MQTT 5 is told 0x95', 5, 'e0'],
    ['MQTT 3.1.1 is closed', 4, ''],
  ])('that claim 256 MB behind a valid CONNECT: %s', async (_version, level, answer) => {
    const grown = await growth((peer, index) => {
      const hello = connect(level, { clientId: `claim-${level}-${index}` });
      void peer.send(Buffer.concat([hello, hex('30'), CLAIM, Buffer.alloc(200, 0x41)]));
    });
    await allClosed(peers);
    for (const { received } of peers) {
      expect(received.subarray(0, 1).toString('hex')).toBe('20');
      const rest = received.subarray(2 + received[1]!);
      expect(rest.subarray(0, 1).toString('hex')).toBe(answer);
      if (level === 5) expect(rest[2]).toBe(0x95);
    }
    expect(grown).toBeLessThan(GROWTH_MIB_MAX);
    await witness.isServed();
  });

  test('that claim as much as a CONNECT may have, and stall, cost what they sent and are closed in time', async () => {
    const grown = await growth((peer) => void peer.send(Buffer.concat([hex('10'), varint(131_000), Buffer.alloc(200, 0x41)])));
    expect(grown).toBeLessThan(GROWTH_MIB_MAX);
    await allClosed(peers);
    expect(peers.every(({ receivedBytes }) => receivedBytes === 0)).toBe(true);
    await witness.isServed();
  });

  test('that claim the largest PUBLISH, and stall, cost what they sent and end with their keep alive', async () => {
    const claimed = publish(5, { topic: 't', payload: Buffer.alloc(16_000_000) }).subarray(0, 1_000);
    const grown = await growth((peer, index) => {
      void peer.send(Buffer.concat([connect(5, { clientId: `stall-${index}`, keepAliveS: 1 }), claimed]));
    });
    expect(grown).toBeLessThan(GROWTH_MIB_MAX);
    await allClosed(peers);
    for (const { received } of peers) expect(received.subarray(2 + received[1]!)[2], 'keep alive timeout').toBe(0x8d);
    await witness.isServed();
  });

  test('that send nothing are closed at the connect timeout', async () => {
    const grown = await growth(() => {});
    expect(grown).toBeLessThan(GROWTH_MIB_MAX);
    await allClosed(peers);
    expect(peers.every(({ receivedBytes }) => receivedBytes === 0)).toBe(true);
    await witness.isServed();
  });
});

test('a CONNECT that comes one byte at a time is cut at the connect timeout, however busy it looks', async () => {
  const drip = await Peer.open(served.port('tcp'));
  peers.push(drip);
  const packet = connect(5, { clientId: 'drip', will: { topic: 't', payload: Buffer.alloc(60_000) } });
  let sent = 0;
  const timer = setInterval(() => void drip.send(packet.subarray(sent, ++sent)), 2);
  await drip.until('the broker closes the connection', () => drip.closed).finally(() => clearInterval(timer));
  expect(sent).toBeGreaterThan(10);
  expect(sent).toBeLessThan(packet.length);
  expect(drip.receivedBytes).toBe(0);
  await witness.isServed();
});

test('a CONNECT that comes one byte at a time but in time is served', async () => {
  const slow = await RawClient.connect(served.port('tcp'), 5);
  for (const byte of connect(5, { clientId: 'slow' })) slow.send(Buffer.from([byte]));
  await slow.expect('20 .. 00 00 *');
  slow.drop();
});
