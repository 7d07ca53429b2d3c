// 15. Compression bombs, and pages of other origins. Deeper: ../websocket.test.ts, test/network/websocket.test.ts, test/conformance/13-websocket.test.ts.
// Red when: compression is on without being asked for, a message is unpacked beyond the largest size, or the Origin is compared by its beginning or not at all.
import { deflateRawSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { connect } from '../../conformance/bytes.ts';
import { useRig } from '../../conformance/rig.ts';
import { Peer } from '../peer.ts';
import { frame, framesOf, handshake, mqttOf, Opcode } from '../web-frames.ts';

const MiB = 1_048_576;
const plain = useRig();
const packed = useRig([`limits.packet_bytes_max=${MiB}`, 'listener.ws.compression=true']);
const choosy = useRig(['listener.ws.origins=["https://good.example"]']);
const peers: Peer[] = [];
afterEach(() => {
  for (const peer of peers.splice(0)) peer.drop();
});

async function greeted(port: number, headers: Readonly<Record<string, string>>, path = '/mqtt'): Promise<Peer> {
  const peer = await Peer.open(port);
  peers.push(peer);
  void peer.send(handshake(headers, path));
  await peer.until('there is an answer', () => peer.closed || peer.received.includes('\r\n\r\n'));
  return peer;
}

const DEFLATE = { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits; server_max_window_bits=15' };
const isCompressed = (peer: Peer) => peer.received.toString('latin1').toLowerCase().includes('permessage-deflate');
/** A frame with the bit of compression. */
const compressedFrame = (bytes: Buffer) => Buffer.concat([Buffer.from([0xc0 | Opcode.BINARY]), frame(bytes).subarray(1)]);

describe('a bomb', () => {
  test('is not unpacked where compression is not on, which is the default', async () => {
    const peer = await greeted(plain.broker.ws, DEFLATE);
    expect(isCompressed(peer)).toBe(false);
    void peer.send(compressedFrame(deflateRawSync(Buffer.alloc(4 * MiB))));
    await peer.until('it is cut', () => peer.closed);
    expect(mqttOf(peer.received)).toHaveLength(0);
  });

  test('of 256 MiB in 256 KiB is cut at the size of a message, before it is unpacked', async () => {
    const bomb = deflateRawSync(Buffer.alloc(256 * MiB));
    expect(bomb.length).toBeLessThan(MiB);
    const peer = await greeted(packed.broker.ws, DEFLATE);
    expect(isCompressed(peer)).toBe(true);
    const before = process.memoryUsage.rss();
    void peer.send(compressedFrame(bomb));
    await peer.until('it is cut', () => peer.closed);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * MiB);
    expect(mqttOf(peer.received)).toHaveLength(0);
  });

  test('a frame that is honest passes, so that compression works at all', async () => {
    const peer = await greeted(packed.broker.ws, DEFLATE);
    // Without the four bytes that end a flush (RFC 7692 §7.2.1).
    const hello = connect(5, { clientId: 'honest', will: { topic: 't', payload: Buffer.alloc(50_000) } });
    const { Z_SYNC_FLUSH } = (await import('node:zlib')).constants;
    const bytes = deflateRawSync(hello, { finishFlush: Z_SYNC_FLUSH });
    void peer.send(compressedFrame(bytes.subarray(0, -4)));
    await peer.until('CONNACK', () => framesOf(peer.received).length > 0);
  });
});

describe('origins', () => {
  test.each<[string, Record<string, string>, number]>([
    ['none, which is no browser', {}, 101],
    ['the one that may', { Origin: 'https://good.example' }, 101],
    ['its name in capitals', { Origin: 'HTTPS://GOOD.EXAMPLE' }, 101],
    ['another', { Origin: 'https://evil.example' }, 403],
    ['one that begins like it', { Origin: 'https://good.example.evil.example' }, 403],
    ['one that ends like it', { Origin: 'https://evil-good.example' }, 403],
    ['without TLS', { Origin: 'http://good.example' }, 403],
    ['another port', { Origin: 'https://good.example:8443' }, 403],
    ['a sandbox', { Origin: 'null' }, 403],
    ['two of them', { Origin: 'https://good.example, https://evil.example' }, 403],
  ])('%s', async (_what, headers, status) => {
    const peer = await greeted(choosy.broker.ws, headers);
    expect(peer.received.toString('latin1').slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
  });
});
