// mqtt-packet as the second opinion: what it makes of bytes, and valid packets of every kind that it generates.
import fc from 'fast-check';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { Level } from '../../protocol/packet.ts';

export const levels: readonly Level[] = [Level.V31, Level.V311, Level.V5];

/** The packets in `bytes`, or null when mqtt-packet finds an error or an unfinished packet. */
export function oracleParse(bytes: Uint8Array, level: Level): Packet[] | null {
  const parser = mqttPacket.parser({ protocolVersion: level });
  const packets: Packet[] = [];
  let failed = false;
  parser.on('packet', (packet) => packets.push(packet));
  parser.on('error', () => {
    failed = true;
  });
  try {
    return parser.parse(Buffer.from(bytes)) === 0 && !failed ? packets : null;
  } catch {
    return null;
  }
}

export function generate(packet: Packet, level: Level): Uint8Array {
  return Uint8Array.from(mqttPacket.generate(packet, { protocolVersion: level }));
}

/** The fixed header of the one packet in `bytes`: byte 1 and the offset of the body. */
export function headOf(bytes: Uint8Array): { header: number; bodyFrom: number } {
  let bodyFrom = 2;
  while (bytes[bodyFrom - 1]! >= 128) bodyFrom++;
  return { header: bytes[0]!, bodyFrom };
}

/** One packet from its first byte and its body. */
export function packetOf(header: number, body: Uint8Array | readonly number[]): Uint8Array {
  const length: number[] = [];
  let rest = body.length;
  do {
    length.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>>= 7;
  } while (rest > 0);
  return Uint8Array.from([header, ...length, ...body]);
}

/** Strings that MQTT allows: no U+0000, no lone surrogate. */
export const text = (minLength = 0): fc.Arbitrary<string> =>
  fc.string({ unit: 'binary', minLength, maxLength: 12 }).filter((value) => !value.includes('\0'));
export const binary = fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes));
export const u16 = fc.nat(0xffff);
export const packetId = fc.integer({ min: 1, max: 0xffff });
export const u32 = fc.nat(0xffff_ffff);
export const topicName = text(1).map((value) => value.replaceAll(/[+#]/g, '-'));
/** Never empty: mqtt-packet writes a broken packet for an empty record. */
export const userProperties = fc.dictionary(text(1), text(), { minKeys: 1, maxKeys: 3, noNullPrototype: true });

/** A record in which every key may be missing. */
export function some<T extends object>(shape: { [K in keyof T]-?: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> {
  return fc.record(shape, { requiredKeys: [] }) as unknown as fc.Arbitrary<Partial<T>>;
}

/** Well-formed packets that a client may send at `level`, with few restrictions beyond the format. */
export function anyPacket(level: Level): fc.Arbitrary<Packet> {
  const properties = level === Level.V5 ? some({ userProperties }) : fc.constant({});
  const reasonCode = fc.constant(0);
  const acknowledgement = fc.record({
    cmd: fc.constantFrom('puback', 'pubrec', 'pubrel', 'pubcomp'),
    messageId: packetId,
    reasonCode,
    properties,
  });
  const publish = fc.record({
    cmd: fc.constant('publish'),
    topic: topicName,
    payload: fc.oneof(binary, fc.constant(Buffer.alloc(200, 7))),
    qos: fc.constantFrom(0, 1, 2),
    dup: fc.constant(false),
    retain: fc.boolean(),
    messageId: packetId,
    properties,
  });
  const subscribe = fc.record({
    cmd: fc.constant('subscribe'),
    messageId: packetId,
    subscriptions: fc.array(fc.record({ topic: topicName, qos: fc.constantFrom(0, 1, 2) }), { minLength: 1, maxLength: 3 }),
    properties,
  });
  const bare = fc.record({ cmd: fc.constantFrom('pingreq', 'disconnect'), reasonCode });
  return fc.oneof(publish, acknowledgement, subscribe, bare) as fc.Arbitrary<Packet>;
}
