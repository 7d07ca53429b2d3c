// Packets that lie about themselves: cut short anywhere, with any byte of any length or flag turned into another. Whatever it is, the
// broker answers or closes with a reason that the standard has for it, and goes on.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PacketType } from '../../protocol/packet.ts';
import {
  auth,
  connect,
  disconnect,
  type Level,
  packet,
  pingreq,
  property,
  puback,
  pubcomp,
  publish,
  pubrec,
  pubrel,
  subscribe,
  unsubscribe,
} from '../conformance/bytes.ts';
import { type Packet, readReason } from '../conformance/decode.ts';
import { useRig } from '../conformance/rig.ts';
import { Peer } from './peer.ts';
import { Witness } from './witness.ts';

const rig = useRig();
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
afterAll(() => witness.drop());

/** Reasons that bytes alone can give to a DISCONNECT of the broker. */
const FAULTS = new Set([0x81, 0x82, 0x90, 0x93, 0x94, 0x95, 0x97]);

const pair = property.userProperty('ab', 'cd');

/** A packet of each type that an open client sends, with every field that it can have. */
function packetsOf(level: Level): readonly (readonly [name: string, bytes: Buffer])[] {
  const properties = (list: readonly Buffer[]) => (level === 5 ? { properties: list } : {});
  const message = [
    property.payloadFormat(1),
    property.messageExpiryS(9),
    property.contentType('t'),
    property.topicAlias(2),
    pair,
  ];
  const answers: [string, Buffer][] = [
    ['PUBACK', puback(1)],
    ['PUBREC', pubrec(1)],
    ['PUBREL', pubrel(1)],
    ['PUBCOMP', pubcomp(1)],
  ];
  const all: [string, Buffer][] = [
    ['PUBLISH QoS 0', publish(level, { topic: 'a/b', payload: 'xy', ...properties(message) })],
    ['PUBLISH QoS 2', publish(level, { topic: 'a/b', payload: 'xy', qos: 2, packetId: 7, ...properties(message.slice(3)) })],
    [
      'SUBSCRIBE',
      subscribe(level, {
        filters: [
          ['m/+', 1],
          ['$share/g/m', 0],
        ],
        ...properties([property.subscriptionIdentifier(300), pair]),
      }),
    ],
    ['UNSUBSCRIBE', unsubscribe(level, 3, ['m/#', 'n'])],
    ...answers,
    ['PINGREQ', pingreq],
    ['DISCONNECT', level === 5 ? disconnect(4, [property.sessionExpiryS(0), pair]) : disconnect()],
  ];
  if (level !== 5) return all;
  const long = answers.map(([name, bytes]): [string, Buffer] => [
    `${name} with properties`,
    packet(bytes[0]!, bytes.subarray(2), Buffer.from([0]), Buffer.from([pair.length]), pair),
  ]);
  return [...all, ...long, ['AUTH', auth(0x18, [property.authenticationMethod('m'), pair])]];
}

/** Sends one packet and PINGREQ on a connection of its own, and judges what comes back until it is answered or closed. */
async function judge(level: Level, bytes: Buffer): Promise<void> {
  const peer = await Peer.open(rig.broker.tcp);
  let end: Packet | null = null;
  try {
    void peer.send(Buffer.concat([connect(level, { clientId: rig.name('mangled') }), bytes, pingreq]));
    await peer.until('it is answered or closed', () => {
      const { packets } = peer;
      end = packets.at(-1) ?? null;
      return peer.closed || packets.some(({ type }) => type === PacketType.PINGRESP);
    });
  } finally {
    peer.drop();
  }
  const last = end as Packet | null;
  const said = bytes.toString('hex');
  if (last?.type === PacketType.PINGRESP) return;
  // What ends without a word ended by the client's own DISCONNECT, or on a level that has no words for it.
  if (level !== 5) expect(last?.type, said).not.toBe(PacketType.DISCONNECT);
  else if (bytes[0]! !== 0xe0) expect(last?.type, said).toBe(PacketType.DISCONNECT);
  if (last?.type === PacketType.DISCONNECT) expect(FAULTS, said).toContain(readReason(last).reason);
}

async function judgeAll(level: Level, variants: readonly Buffer[]): Promise<void> {
  const queue = [...variants];
  const worker = async () => {
    for (let bytes = queue.pop(); bytes !== undefined; bytes = queue.pop()) await judge(level, bytes);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  await witness.isServed();
}

/** The packet with its remaining length right for whatever its body is. */
const withBody = (bytes: Buffer, body: Buffer) => packet(bytes[0]!, body);

describe.each<[string, Level]>([
  ['3.1.1', 4],
  ['5.0', 5],
])('MQTT %s', (_version, level) => {
  test.each(packetsOf(level))('%s cut short behind each of its bytes', async (_name, bytes) => {
    const body = bytes.subarray(2);
    await judgeAll(
      level,
      Array.from({ length: body.length }, (_, at) => withBody(bytes, body.subarray(0, at))),
    );
  });

  test.each(packetsOf(level))('%s with each byte behind the length made 0, 1, 255 and one more', async (_name, bytes) => {
    const variants: Buffer[] = [];
    for (let at = 2; at < bytes.length; at++) {
      for (const value of [0, 1, 0xff, (bytes[at]! + 1) & 0xff]) {
        const copy = Buffer.from(bytes);
        copy[at] = value;
        variants.push(copy);
      }
    }
    await judgeAll(level, variants);
  });

  test('every first byte over a body of zeroes, ones and 255s', async () => {
    const variants: Buffer[] = [];
    for (let firstByte = 0; firstByte < 256; firstByte++) {
      for (const fill of [0, 1, 0xff]) variants.push(packet(firstByte, Buffer.alloc(12, fill)));
    }
    await judgeAll(level, variants);
  });

  test('CONNECT cut short behind each of its bytes, and with each byte turned, is refused or served', async () => {
    const whole = connect(level, {
      clientId: 'lie',
      userName: 'u',
      password: 'p',
      will: { topic: 'w', payload: 'x', properties: [property.willDelayS(1), pair] },
      properties: [property.receiveMaximum(2), pair],
    });
    const variants = Array.from({ length: whole.length - 2 }, (_, at) => withBody(whole, whole.subarray(2, 2 + at)));
    for (let at = 2; at < whole.length; at++) {
      for (const value of [0, 0xff]) {
        const copy = Buffer.from(whole);
        copy[at] = value;
        variants.push(copy);
      }
    }
    for (const bytes of variants) {
      const peer = await Peer.open(rig.broker.tcp);
      void peer.send(Buffer.concat([bytes, pingreq]));
      await peer.until(
        'it is answered or closed',
        () => peer.closed || peer.packets.some(({ type }) => type === PacketType.PINGRESP),
      );
      const [first] = peer.packets;
      if (first !== undefined) expect(first.firstByte).toBe(0x20);
      const refused = first !== undefined && first.body[1] !== 0;
      expect(peer.closed || !refused, `refused and open: ${bytes.toString('hex')}`).toBe(true);
      peer.drop();
    }
    await witness.isServed();
  });
});
