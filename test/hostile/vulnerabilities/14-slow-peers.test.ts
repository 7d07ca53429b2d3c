// 14. Slow handshakes, slow readers and upgrades that come drop by drop. Deeper: ../stalled-connect.test.ts, ../slow-reader.test.ts, ../websocket.test.ts, test/network/.
// Red when: bytes that trickle in put off a timeout, a handshake has none, or one reader that does not read holds up the others or the memory.
import { connect as connectSocket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createBroker } from '../../../engine/lethe.ts';
import { configOf } from '../../broker.ts';
import { connect, publish, subscribe } from '../../conformance/bytes.ts';
import { delivered, subscribed, useRig } from '../../conformance/rig.ts';
import { temporaryCertificates } from '../../network/temporary.ts';
import { temporaryFile } from '../../security/temporary.ts';
import { Peer } from '../peer.ts';
import { frame, handshake, openWeb } from '../web-frames.ts';
import { Witness } from '../witness.ts';

const DRIP_MS = 20;
const rig = useRig([
  'limits.connect_timeout_ms=400',
  'limits.outbox_high_bytes=524288',
  'limits.outbox_max_bytes=1048576',
  'limits.backpressure_ms=50',
]);
const peers: Peer[] = [];
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterEach(() => {
  for (const peer of peers.splice(0)) peer.drop();
});
afterAll(() => witness.drop());

/** Sends a byte now and then until the broker has enough of it; how many went. */
async function drip(peer: Peer, bytes: Buffer): Promise<number> {
  peers.push(peer);
  let sent = 0;
  const timer = setInterval(() => void peer.send(bytes.subarray(sent, ++sent)), DRIP_MS);
  await peer.until('it is cut', () => peer.closed).finally(() => clearInterval(timer));
  return sent;
}

describe('drop by drop', () => {
  const packet = connect(5, { clientId: 'drip', will: { topic: 't', payload: Buffer.alloc(20_000) } });

  test('a CONNECT over TCP is cut at its timeout', async () => {
    const sent = await drip(await Peer.open(rig.broker.tcp), packet);
    expect(sent).toBeGreaterThan(1);
    await witness.isServed();
  });

  test('a CONNECT over WebSocket, in frames of one byte, too', async () => {
    const peer = await openWeb(rig.broker.ws);
    peers.push(peer);
    let sent = 0;
    const timer = setInterval(() => void peer.send(frame(packet.subarray(sent, ++sent))), DRIP_MS);
    await peer.until('it is cut', () => peer.closed).finally(() => clearInterval(timer));
    expect(sent).toBeGreaterThan(1);
  });

  test('an upgrade to WebSocket is cut, and so is one that has begun and says nothing more', async () => {
    const head = handshake({ 'X-Pad': 'a'.repeat(4_000) });
    const silent = await Peer.open(rig.broker.ws);
    peers.push(silent);
    void silent.send(head.subarray(0, 60));
    const dripping = await Peer.open(rig.broker.ws);
    await dripping.send(head.subarray(0, 60));
    expect(await drip(dripping, head.subarray(60))).toBeLessThan(head.length - 60);
    await silent.until('it is cut', () => silent.closed);
    await witness.isServed();
  });

  test('a TLS handshake is cut at the same timeout', async () => {
    const certificates = temporaryCertificates();
    const { serverCert, serverKey } = certificates.files;
    const listener = [
      '[[listener]]',
      'name = "tls"',
      'transport = "tls"',
      `cert_file = "${serverCert}"`,
      `key_file = "${serverKey}"`,
    ];
    const file = temporaryFile(['[limits]', 'connect_timeout_ms = 400', ...listener].join('\n'));
    const broker = await createBroker({ config: configOf(file) });
    const hello = Buffer.concat([Buffer.from('16030100ff010000fb0303', 'hex'), Buffer.alloc(240)]);
    for (const bytes of [hello.subarray(0, 200), Buffer.alloc(0)]) {
      const peer = await Peer.open(broker.tls);
      if (bytes.length > 0) await drip(peer, bytes);
      else {
        peers.push(peer);
        await peer.until('it is cut', () => peer.closed);
      }
    }
    await broker.stop();
    certificates.remove();
  });
});

describe.each(['tcp', 'ws'] as const)('a reader over %s that does not read', (transport) => {
  test('costs the others nothing and the broker no more than its limits', async () => {
    const hello = Buffer.concat([connect(5, { clientId: `mute-${transport}` }), subscribe(5, { filters: [['flow', 0]] })]);
    const mute = transport === 'tcp' ? await Peer.open(rig.broker.tcp) : await openWeb(rig.broker.ws);
    peers.push(mute);
    void mute.send(transport === 'tcp' ? hello : frame(hello));
    await mute.until('SUBACK', () => mute.received.includes(Buffer.from([0x90, 4, 0, 1, 0, 0])));
    mute.stopReading();
    const healthy = await rig.connect(5);
    await subscribed(healthy, { filters: [['flow', 0]] });
    const publisher = await rig.connect(5);
    const before = process.memoryUsage.rss();
    const payload = Buffer.alloc(16_000, 'x');
    for (let round = 0; round < 100; round++) {
      for (let at = 0; at < 20; at++) publisher.send(publish(5, { topic: 'flow', payload }));
      for (let at = 0; at < 20; at++) expect((await delivered(healthy, 20_000)).payload.length).toBe(16_000);
    }
    await witness.isServed();
    // 32 MB were for it. What it did not take from the kernel is at most a few MB; this process is also the clients.
    expect(process.memoryUsage.rss() - before).toBeLessThan(96 * 1_048_576);
  });
});

test('a crowd that opens and says nothing takes no place from those who talk', async () => {
  const crowd = Array.from({ length: 300 }, () => connectSocket(rig.broker.tcp, '127.0.0.1').on('error', () => {}));
  const before = rig.broker.counts().connections;
  for (let times = 0; times < 5; times++) await witness.isServed();
  await expect.poll(() => rig.broker.counts().connections <= before, { timeout: 10_000 }).toBe(true);
  for (const socket of crowd) socket.destroy();
});
