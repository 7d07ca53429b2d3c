// Whatever comes first and is no CONNECT: other packets, other protocols, noise. It is closed without a word, and at once: nothing
// here waits for the connect timeout, which is an hour.
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { check } from '../check.ts';
import { connect, hex } from '../conformance/bytes.ts';
import { useRig } from '../conformance/rig.ts';
import { Peer } from './peer.ts';
import { Witness } from './witness.ts';

const rig = useRig(['limits.connect_timeout_ms=3600000']);

let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterAll(() => witness.drop());

/** Sends the bytes on a connection of its own; returns what came back before the broker closed it. */
async function answerTo(port: number, bytes: Buffer): Promise<Buffer> {
  const peer = await Peer.open(port);
  void peer.send(bytes);
  await peer.until('the broker closes the connection', () => peer.closed);
  return peer.received;
}

/** One packet of each type but CONNECT, well-formed on MQTT 5, and type 0. */
const PACKETS: readonly (readonly [type: string, bytes: string])[] = [
  ['reserved 0', '00 00'],
  ['CONNACK', '20 03 00 00 00'],
  ['PUBLISH', '30 04 00 01 61 00'],
  ['PUBACK', '40 02 00 01'],
  ['PUBREC', '50 02 00 01'],
  ['PUBREL', '62 02 00 01'],
  ['PUBCOMP', '70 02 00 01'],
  ['SUBSCRIBE', '82 07 00 01 00 00 01 61 00'],
  ['SUBACK', '90 04 00 01 00 00'],
  ['UNSUBSCRIBE', 'a2 06 00 01 00 00 01 61'],
  ['UNSUBACK', 'b0 04 00 01 00 00'],
  ['PINGREQ', 'c0 00'],
  ['PINGRESP', 'd0 00'],
  ['DISCONNECT', 'e0 00'],
  ['AUTH', 'f0 00'],
];

describe('on the MQTT port', () => {
  test.each(PACKETS)('%s first', async (_type, bytes) => {
    expect(await answerTo(rig.broker.tcp, hex(bytes))).toHaveLength(0);
    // What follows it is not looked at, a CONNECT neither.
    expect(await answerTo(rig.broker.tcp, Buffer.concat([hex(bytes), connect(5)]))).toHaveLength(0);
    // Its first byte is enough.
    expect(await answerTo(rig.broker.tcp, hex(bytes).subarray(0, 1))).toHaveLength(0);
  });

  test.each([
    ['HTTP', 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['a WebSocket handshake', 'GET /mqtt HTTP/1.1\r\nUpgrade: websocket\r\n\r\n'],
    ['SSH', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['SMTP', 'EHLO localhost\r\n'],
    ['a PROXY header that is not asked for', 'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n'],
  ])('%s', async (_protocol, text) => {
    expect(await answerTo(rig.broker.tcp, Buffer.from(text))).toHaveLength(0);
  });

  test('a TLS handshake', async () => {
    const error = await new Promise<Error>((resolve) => {
      connectTls({ port: rig.broker.tcp, host: '127.0.0.1', rejectUnauthorized: false }, () =>
        resolve(new Error('it was accepted')),
      ).once('error', resolve);
    });
    expect(error.message).toMatch(/disconnected|ECONNRESET/);
  });

  test('every CONNECT with a wrong flag in its first byte', async () => {
    const packet = connect(4, { clientId: 'flags' });
    for (let flags = 1; flags < 16; flags++) {
      packet[0] = 0x10 | flags;
      expect(await answerTo(rig.broker.tcp, packet)).toHaveLength(0);
    }
  });

  test('noise is never let in', async () => {
    const noise = fc.uint8Array({ minLength: 2, maxLength: 300 });
    await check(
      fc.asyncProperty(noise, async (bytes) => {
        // The length is made to fit: noise that is no CONNECT yet would rightly be waited for.
        const isConnect = bytes[0]! >>> 4 === 1;
        const sent = isConnect
          ? Buffer.concat([Buffer.from([bytes[0]!, Math.min(127, bytes.length)]), bytes])
          : Buffer.from(bytes);
        const answer = await answerTo(rig.broker.tcp, sent);
        const isRefusal = answer[0] === 0x20 && answer[3]! !== 0;
        expect(answer.length === 0 || isRefusal).toBe(true);
      }),
      200,
    );
  });
});

describe('on the WebSocket port', () => {
  test.each([
    ['MQTT 3.1.1', connect(4, { clientId: 'plain' })],
    ['MQTT 5', connect(5, { clientId: 'plain' })],
    ['a TLS handshake', hex('16 03 01 00 ff 01 00 00 fb 03 03')],
    ['noise', Buffer.alloc(2_000, 0xa5)],
  ])('%s is told that it is HTTP, and closed', async (_protocol, bytes) => {
    expect((await answerTo(rig.broker.ws, bytes)).toString('latin1')).toMatch(/^HTTP\/1\.1 [45]\d\d /);
  });
});

test('others were served all the while', () => witness.isServed());
