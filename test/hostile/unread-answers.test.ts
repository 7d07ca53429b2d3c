// Clients that ask without end and never read the answers. Over TCP the broker stops to read from them and goes on, with nothing lost,
// when they do; over WebSocket, which cannot be paused, it ends them. Memory stays where the limits put it.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connect, pingreq, publish, pubrel, subscribe } from '../conformance/bytes.ts';
import { readPublish } from '../conformance/decode.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { type Served, serve } from '../end-to-end/served.ts';
import { Peer } from './peer.ts';
import { peakMiB, residentMiB, tellsResident } from './resident.ts';
import { frame, openWeb } from './web-frames.ts';
import { Witness } from './witness.ts';

const MiB = 1_048_576;
const FLOOD_BYTES = 32 * MiB;
/** The limits allow 2 MiB, and a frame; the rest is what V8 takes while it parses millions of packets. */
const GROWTH_MIB_MAX = 24;

let served: Served;
let witness: Witness;
let figures: RawClient;
const peers: Peer[] = [];

beforeAll(async () => {
  served = await serve(`
    [server]
    stop_timeout_ms = 500
    sys_interval_s = 1
    [limits]
    outbox_high_bytes = 262144
    outbox_max_bytes = 1048576
    packet_bytes_max = 1048576`);
  witness = await Witness.open(served.port('tcp'));
  figures = await RawClient.connect(served.port('tcp'), 4);
  figures.send(connect(4, { clientId: 'figures' }), subscribe(4, { filters: [['$SYS/broker/lethe/pauses', 0]] }));
  await figures.expect('20 02 00 00');
  await figures.expect('90 03 00 01 00');
});
afterEach(() => {
  for (const peer of peers.splice(0)) peer.drop();
});
afterAll(async () => {
  witness.drop();
  figures.drop();
  expect(await served.stop()).toEqual({ code: 0, signal: null });
});

/** How often the broker has stopped to read from a client, by its next figure. */
async function pauses(): Promise<number> {
  return Number(readPublish(await figures.nextPacket(), 4).payload);
}

/** What is asked, and the size of each answer. */
const QUESTIONS: readonly (readonly [name: string, question: Buffer, answerBytes: number])[] = [
  ['PINGREQ', pingreq, 2],
  ['PUBREL of nothing', pubrel(9), 5],
  ['PUBLISH at QoS 1 to nobody', publish(5, { topic: 'nobody', qos: 1 }), 5],
];

/** About a megabyte of the same question. */
function chunkOf(question: Buffer): Buffer {
  return Buffer.alloc(Math.floor((MiB - 64) / question.length) * question.length, question);
}

async function say(peer: Peer, hello: Buffer): Promise<void> {
  peers.push(peer);
  const before = peer.receivedBytes;
  await peer.send(hello);
  await peer.until('CONNACK', () => peer.receivedBytes > before);
  peer.stopReading();
}

describe.skipIf(!tellsResident)('a client that does not read', () => {
  test.each(QUESTIONS)(
    '%s over TCP: it is not heard until it reads, and then every answer is there',
    async (_name, one, answer) => {
      const pausesBefore = await pauses();
      const peer = await Peer.open(served.port('tcp'));
      await say(peer, connect(5, { clientId: 'unread' }));
      const hello = peer.receivedBytes;
      const before = residentMiB(served.ready.pid);
      const chunk = chunkOf(one);
      let asked = 0;
      for (let sent = 0; sent < FLOOD_BYTES; sent += chunk.length) {
        void peer.send(chunk);
        asked += chunk.length / one.length;
      }
      while ((await pauses()) <= pausesBefore) await witness.isServed();
      await witness.isServed();
      expect(residentMiB(served.ready.pid) - before).toBeLessThan(GROWTH_MIB_MAX);
      peer.read();
      await peer.until('every answer is there', () => peer.receivedBytes >= hello + asked * answer);
      expect(peer.receivedBytes).toBe(hello + asked * answer);
      await witness.isServed();
    },
  );

  test('that is not heard any more is still held to its keep alive', async () => {
    const peer = await Peer.open(served.port('tcp'));
    await say(peer, connect(5, { clientId: 'silenced', keepAliveS: 1 }));
    // It is paused and so sees no close: a write waits until the connection is cut, and fails then.
    while (!(await peer.fails(chunkOf(pingreq))));
    await witness.isServed();
  });

  test.each(QUESTIONS)('%s over WebSocket: it is ended', async (_name, one) => {
    const peer = await openWeb(served.port('ws'));
    await say(peer, frame(connect(5, { clientId: 'unread-web' })));
    const before = residentMiB(served.ready.pid);
    const framed = frame(chunkOf(one));
    const flood = async () => {
      // It is paused and so sees no close: what it writes fails in the end.
      for (let sent = 0; sent < 64 * MiB && !(await peer.fails(framed)); sent += framed.length);
    };
    const peak = await peakMiB(served.ready.pid, flood());
    peer.read();
    await peer.until('it is closed', () => peer.closed);
    expect(peak - before).toBeLessThan(GROWTH_MIB_MAX);
    await witness.isServed();
  });
});
