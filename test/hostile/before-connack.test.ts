// What clients send behind CONNECT while their password is looked at: it must cost little, keep its order for those who are let in,
// and count for nothing for those who are not.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { systemRandom } from '../../engine/random.ts';
import { hashPassword } from '../../engine/security/password-hash.ts';
import { type RunningBroker, startBroker } from '../broker.ts';
import { connect, hex, pingreq, publish, subscribe } from '../conformance/bytes.ts';
import { readPublish } from '../conformance/decode.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { serve } from '../end-to-end/served.ts';
import { temporaryFile } from '../security/temporary.ts';
import { allClosed, openCrowd, Peer } from './peer.ts';
import { peakMiB, residentMiB, tellsResident } from './resident.ts';

const CROWD = 300;
/** Some milliseconds for each password: most of the crowd waits for its turn. */
const ITERATIONS = 5_000;
const EARLY_BYTES = 60_000;

let passwordFile = '';
let broker: RunningBroker | null = null;
let peers: Peer[] = [];

beforeAll(async () => {
  passwordFile = temporaryFile(
    `alice:${await hashPassword('wonderland', systemRandom, { format: 'mosquitto', iterations: ITERATIONS })}\n`,
  );
  broker = await startBroker([`auth.password_file=${passwordFile}`, 'listener.tcp.anonymous=true']);
});
afterEach(() => {
  for (const peer of peers.splice(0)) peer.drop();
});
afterAll(() => broker?.stop());

const known = { userName: 'alice', password: 'wonderland' } as const;
const unknown = { userName: 'mallory', password: 'guess' } as const;

describe.skipIf(!tellsResident)('three hundred strangers', () => {
  test('with 30,000 packets each behind CONNECT cost about as much as their bytes', async () => {
    const served = await serve(`[auth]\npassword_file = '${passwordFile}'\n`);
    const before = residentMiB(served.ready.pid);
    peers = await openCrowd(served.port('tcp'), CROWD);
    const early = Buffer.alloc(EARLY_BYTES, pingreq);
    peers.forEach((peer, index) => {
      void peer.send(Buffer.concat([connect(5, { clientId: `stranger-${index}`, ...unknown }), early]));
    });
    const peak = await peakMiB(served.ready.pid, allClosed(peers));
    for (const { received } of peers) expect(received.toString('hex')).toBe('2003008600');
    // 18 MB were sent. A buffer grows twofold, and the hashing has its own memory.
    expect(peak - before).toBeLessThan(120);
    expect(await served.stop()).toEqual({ code: 0, signal: null });
  });
});

test('what comes early is handled in its order, once the client is known', async () => {
  const client = await RawClient.connect(broker!.tcp, 5);
  const messages = Array.from({ length: 500 }, (_, index) => publish(5, { topic: 'early', payload: `${index}` }));
  client.send(connect(5, { clientId: 'early', ...known }), subscribe(5, { filters: [['early', 0]] }), ...messages, pingreq);
  await client.expect('20 .. 00 00 *');
  await client.expect('90 04 00 01 00 00');
  for (let index = 0; index < messages.length; index++) {
    expect(readPublish(await client.nextPacket(), 5).payload).toBe(`${index}`);
  }
  await client.expect('d0 00');
  client.drop();
});

test('over TCP more than a first packet may have waits in the kernel, and is served when the client is known', async () => {
  const peer = await Peer.open(broker!.tcp);
  peers.push(peer);
  void peer.send(Buffer.concat([connect(5, { clientId: 'patient', ...known }), Buffer.alloc(1_000_000, pingreq)]));
  await peer.until('every PINGREQ is answered', () => peer.receivedBytes > 1_000_000);
  const { received } = peer;
  const answers = received.subarray(2 + received[1]!);
  expect(answers.equals(Buffer.alloc(1_000_000, hex('d0 00')))).toBe(true);
});

test('over WebSocket, which cannot wait, it ends the connection', async () => {
  const client = new WebSocket(`ws://127.0.0.1:${broker!.ws}/mqtt`, ['mqtt']);
  const received: unknown[] = [];
  client.on('message', (message) => received.push(message));
  await new Promise((resolve) => client.once('open', resolve));
  const closed = new Promise((resolve) => client.once('close', resolve));
  client.send(Buffer.concat([connect(5, { clientId: 'impatient', ...known }), Buffer.alloc(1_000_000, pingreq)]));
  await closed;
  expect(received).toEqual([hex('20 03 00 97 00')]);
});

test('a malformed packet that came early ends the connection after CONNACK', async () => {
  const client = await RawClient.connect(broker!.tcp, 5);
  client.send(connect(5, { clientId: 'broken', ...known }), pingreq, hex('c0 01 00'), pingreq);
  await client.expect('20 .. 00 00 *');
  await client.expect('d0 00');
  await client.expectFault(0x81);
});

test('what a refused client sent early does not happen', async () => {
  const witness = await RawClient.connect(broker!.tcp, 5);
  witness.send(connect(5, { clientId: 'witness' }), subscribe(5, { filters: [['#', 0]] }));
  await witness.expect('20 .. 00 00 *');
  await witness.expect('90 04 00 01 00 00');
  const client = await RawClient.connect(broker!.tcp, 5);
  client.send(connect(5, { clientId: 'refused', ...unknown }), publish(5, { topic: 'a', payload: 'x', retain: true }));
  await client.expect('20 03 00 86 00');
  await client.expectClosed();
  await witness.expectSilence();
  witness.drop();
});
