// WebSocket as a way in for nonsense: frames of the wrong kind, of any claimed length, in endless fragments; handshakes that are wrong,
// slow, or come from pages that may not.
import { deflateRawSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connect, hex, pingreq, publish } from '../conformance/bytes.ts';
import { useRig } from '../conformance/rig.ts';
import { type Served, serve } from '../end-to-end/served.ts';
import { allClosed, openCrowd, Peer } from './peer.ts';
import { peakMiB, residentMiB, tellsResident } from './resident.ts';
import { frame, framesOf, handshake, mqttOf, Opcode, openWeb } from './web-frames.ts';
import { Witness } from './witness.ts';

const MiB = 1_048_576;
const PACKET_BYTES_MAX = MiB;
/** A message of WebSocket may have the largest packet and 64 KiB more. */
const MESSAGE_BYTES_MAX = PACKET_BYTES_MAX + 65_536;
const rig = useRig([
  `limits.packet_bytes_max=${PACKET_BYTES_MAX}`,
  'limits.connect_timeout_ms=1000',
  'listener.ws.origins=["https://good.example"]',
]);
const peers: Peer[] = [];
let witness: Witness;

beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterEach(async () => {
  for (const peer of peers.splice(0)) peer.drop();
  await witness.isServed();
});
afterAll(() => witness.drop());

async function upgraded(): Promise<Peer> {
  const peer = await openWeb(rig.broker.ws);
  peers.push(peer);
  return peer;
}

/** An accepted client of MQTT 5. */
async function connected(): Promise<Peer> {
  const peer = await upgraded();
  void peer.send(frame(connect(5, { clientId: rig.name('web') })));
  await peer.until('CONNACK', () => mqttOf(peer.received).length > 4);
  expect([...mqttOf(peer.received).subarray(0, 1), mqttOf(peer.received)[3]]).toEqual([0x20, 0]);
  return peer;
}

/** The close code of the last frame; null when it was cut without one. */
async function closeOf(peer: Peer): Promise<number | null> {
  await peer.until('the broker closes the connection', () => peer.closed);
  const last = framesOf(peer.received).at(-1);
  return last?.opcode === Opcode.CLOSE && last.payload.length >= 2 ? last.payload.readUInt16BE(0) : null;
}

/** What the client was told by MQTT before the end: the reason of a DISCONNECT. */
function disconnectReason(peer: Peer): number | undefined {
  const bytes = mqttOf(peer.received);
  const rest = bytes.subarray(2 + bytes[1]!);
  return rest[0] === 0xe0 ? rest[2] : undefined;
}

describe('frames', () => {
  test('a text frame, first or later, is closed with 1003 and not looked at', async () => {
    const first = await upgraded();
    void first.send(frame(connect(4), { opcode: Opcode.TEXT }));
    expect(await closeOf(first)).toBe(1_003);
    expect(mqttOf(first.received)).toHaveLength(0);
    const later = await connected();
    void later.send(frame(Buffer.from('hello'), { opcode: Opcode.TEXT }));
    expect(await closeOf(later)).toBe(1_003);
  });

  test.each([2n ** 63n, 2n ** 64n - 1n, 2n ** 63n - 1n, 2n ** 32n, BigInt(MESSAGE_BYTES_MAX) + 1n])(
    'a frame that claims %i bytes is cut at its header',
    async (claims) => {
      for (const peer of [await upgraded(), await connected()]) {
        void peer.send(frame(Buffer.alloc(100), { claims }));
        expect(await closeOf(peer)).not.toBe(1_000);
      }
    },
  );

  test('fragments that add up to more than a message may have are cut', async () => {
    const peer = await connected();
    void peer.send(frame(Buffer.alloc(60_000), { final: false }));
    for (let sent = 0; sent < 4 * MiB; sent += 60_000) {
      if (await peer.fails(frame(Buffer.alloc(60_000), { opcode: Opcode.CONTINUATION, final: false }))) break;
    }
    await peer.until('it is cut', () => peer.closed);
  });

  test('a hundred thousand empty fragments and empty messages carry nothing and cost nothing', async () => {
    const peer = await connected();
    const before = mqttOf(peer.received).length;
    const empty = frame(Buffer.alloc(0));
    void peer.send(Buffer.alloc(empty.length * 50_000, empty));
    const open = frame(pingreq.subarray(0, 1), { final: false });
    const more = frame(Buffer.alloc(0), { opcode: Opcode.CONTINUATION, final: false });
    void peer.send(
      Buffer.concat([
        open,
        Buffer.alloc(more.length * 50_000, more),
        frame(pingreq.subarray(1), { opcode: Opcode.CONTINUATION }),
      ]),
    );
    await peer.until('PINGRESP', () => mqttOf(peer.received).length === before + 2);
    expect(mqttOf(peer.received).subarray(-2)).toEqual(hex('d0 00'));
  });

  test.each<[string, Buffer]>([
    ['a continuation of nothing', frame(pingreq, { opcode: Opcode.CONTINUATION })],
    ['an unknown opcode', frame(pingreq, { opcode: 3 })],
    ['a reserved bit', Buffer.concat([Buffer.from([0xc2]), frame(pingreq).subarray(1)])],
    ['a fragmented ping', frame(Buffer.alloc(1), { opcode: Opcode.PING, final: false })],
    ['a ping of 126 bytes', frame(Buffer.alloc(126), { opcode: Opcode.PING })],
    ['a text that is not UTF-8', frame(pingreq, { opcode: Opcode.TEXT })],
  ])('%s is cut', async (_name, bytes) => {
    const peer = await connected();
    void peer.send(bytes);
    await peer.until('it is cut', () => peer.closed);
    expect(disconnectReason(peer)).toBeUndefined();
  });

  test('pings of WebSocket are answered, and keep nobody from the connect timeout', async () => {
    const peer = await upgraded();
    let pings = 0;
    const timer = setInterval(() => {
      pings++;
      void peer.send(frame(Buffer.from('hi'), { opcode: Opcode.PING }));
    }, 20);
    await closeOf(peer).finally(() => clearInterval(timer));
    expect(framesOf(peer.received).filter(({ opcode }) => opcode === Opcode.PONG).length).toBeGreaterThan(0);
    expect(pings).toBeGreaterThan(10);
  });

  test('a packet above the maximum is told 0x95, a first one that is too large is not answered', async () => {
    const peer = await connected();
    void peer.send(frame(publish(5, { topic: 'a', payload: Buffer.alloc(PACKET_BYTES_MAX) })));
    await closeOf(peer);
    expect(disconnectReason(peer)).toBe(0x95);
    const stranger = await upgraded();
    void stranger.send(frame(publish(5, { topic: 'a', payload: Buffer.alloc(500_000) })));
    await closeOf(stranger);
    const greedy = await upgraded();
    void greedy.send(
      frame(connect(5, { will: { topic: 'a', payload: Buffer.alloc(60_000), properties: [Buffer.alloc(80_000, 0x26)] } })),
    );
    await closeOf(greedy);
    for (const { received } of [stranger, greedy]) expect(mqttOf(received)).toHaveLength(0);
  });

  test('other packets than CONNECT first, and packets of servers, end as they do over TCP', async () => {
    const stranger = await upgraded();
    void stranger.send(frame(pingreq));
    expect(await closeOf(stranger)).toBe(1_000);
    expect(mqttOf(stranger.received)).toHaveLength(0);
    const liar = await connected();
    void liar.send(frame(hex('d0 00')));
    await closeOf(liar);
    expect(disconnectReason(liar)).toBe(0x82);
  });
});

describe('handshakes', () => {
  /** Status of the answer; 0 when it was cut without one. */
  async function statusOf(bytes: Buffer): Promise<number> {
    const peer = await Peer.open(rig.broker.ws);
    peers.push(peer);
    void peer.send(bytes);
    await peer.until('there is an answer', () => peer.closed || peer.received.includes('\r\n\r\n'));
    return Number(/^HTTP\/1\.1 (\d+) /.exec(peer.received.toString('latin1'))?.[1] ?? 0);
  }

  test.each<[string, Buffer, number]>([
    ['as it should be', handshake(), 101],
    ['from a page that may', handshake({ Origin: 'https://good.example' }), 101],
    ['from a page that may not', handshake({ Origin: 'https://evil.example' }), 403],
    ['from a page whose name only begins like one that may', handshake({ Origin: 'https://good.example.evil.example' }), 403],
    ['from a sandboxed page', handshake({ Origin: 'null' }), 403],
    ['without a subprotocol', handshake({ 'Sec-WebSocket-Protocol': undefined }), 400],
    ['with another subprotocol', handshake({ 'Sec-WebSocket-Protocol': 'mqtt2, xmqtt' }), 400],
    ['on another path', handshake({}, '/'), 404],
    ['on a longer path', handshake({}, '/mqtt/../mqtt'), 404],
    ['without an upgrade', handshake({ Upgrade: undefined, 'Sec-WebSocket-Key': undefined }), 426],
    ['by POST', Buffer.from(handshake().toString('latin1').replace('GET', 'POST')), 426],
    ['with a header of 100 kB', handshake({ 'X-Pad': 'a'.repeat(100_000) }), 431],
  ])('%s', async (_name, bytes, status) => {
    expect(await statusOf(bytes)).toBe(status);
  });

  test('one that comes byte by byte and has no end is cut', async () => {
    const peer = await Peer.open(rig.broker.ws);
    peers.push(peer);
    const head = handshake({ 'X-Pad': 'a'.repeat(4_000) });
    void peer.send(head.subarray(0, 60));
    let sent = 60;
    // uWebSockets counts 10 s from the first byte, in steps of 4 s, and asks nobody else.
    const timer = setInterval(() => void peer.send(head.subarray(sent, ++sent)), 100);
    await peer.until('it is cut', () => peer.closed).finally(() => clearInterval(timer));
    expect(sent).toBeLessThan(head.length);
  });
});

describe.skipIf(!tellsResident)('memory', () => {
  let served: Served;
  beforeAll(async () => {
    served = await serve('[limits]\nconnect_timeout_ms = 1000\n');
  });
  afterAll(async () => {
    expect(await served.stop()).toEqual({ code: 0, signal: null });
  });

  test('a thousand that claim 16 MB in a frame and stall cost what they sent, and are closed in time', async () => {
    const before = residentMiB(served.ready.pid);
    const crowd = await openCrowd(served.port('ws'), 1_000);
    peers.push(...crowd);
    for (const peer of crowd) void peer.send(handshake());
    await Promise.all(crowd.map((peer) => peer.until('101', () => peer.received.includes('\r\n\r\n'))));
    for (const peer of crowd) void peer.send(frame(Buffer.alloc(1_000), { claims: 16n * 1_048_576n }));
    const peak = await peakMiB(served.ready.pid, allClosed(crowd));
    expect(peak - before).toBeLessThan(64);
  });

  test('a bomb of compressed data is not even unpacked: compression is not offered', async () => {
    const peer = await Peer.open(served.port('ws'));
    peers.push(peer);
    void peer.send(handshake({ 'Sec-WebSocket-Extensions': 'permessage-deflate' }));
    await peer.until('101', () => peer.received.includes('\r\n\r\n'));
    expect(peer.received.toString('latin1').toLowerCase()).not.toContain('permessage-deflate');
    const bomb = deflateRawSync(Buffer.alloc(4 * MiB));
    void peer.send(Buffer.concat([Buffer.from([0xc2]), frame(bomb).subarray(1)]));
    await peer.until('it is cut', () => peer.closed);
  });

  test('where it is offered, a bomb is cut at the size of a message', async () => {
    const compressed = await serve(
      `[limits]\npacket_bytes_max = ${PACKET_BYTES_MAX}\n[[listener]]\nname = 'ws'\ntransport = 'ws'\ncompression = true\n`,
    );
    const peer = await Peer.open(compressed.port('ws'));
    peers.push(peer);
    void peer.send(handshake({ 'Sec-WebSocket-Extensions': 'permessage-deflate' }));
    await peer.until('101', () => peer.received.includes('\r\n\r\n'));
    expect(peer.received.toString('latin1').toLowerCase()).toContain('permessage-deflate');
    const before = residentMiB(compressed.ready.pid);
    const bomb = deflateRawSync(Buffer.alloc(256 * MiB));
    expect(bomb.length).toBeLessThan(MiB);
    void peer.send(Buffer.concat([Buffer.from([0xc2]), frame(bomb).subarray(1)]));
    const peak = await peakMiB(
      compressed.ready.pid,
      peer.until('it is cut', () => peer.closed),
    );
    expect(peak - before).toBeLessThan(32);
    expect(await compressed.stop()).toEqual({ code: 0, signal: null });
  });
});
