// PUBACK, PUBREC, PUBREL and PUBCOMP in both directions.
import fc from 'fast-check';
import type { Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { ACK_BYTES_MAX, AckView, decodeAck, writeAck } from '../../protocol/ack.ts';
import { fault, Level, PacketType, Reason } from '../../protocol/packet.ts';
import { generate, headOf, levels, oracleParse, packetId, packetOf, some, text, userProperties } from './oracle.ts';

const MALFORMED = fault(Reason.MALFORMED_PACKET);
const types = { puback: PacketType.PUBACK, pubrec: PacketType.PUBREC, pubrel: PacketType.PUBREL, pubcomp: PacketType.PUBCOMP };
const names = Object.keys(types) as (keyof typeof types)[];
const received = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const released = [0x00, 0x92];
const reasonsOf = (name: keyof typeof types) => (name === 'puback' || name === 'pubrec' ? received : released);

function decode(bytes: Uint8Array, level: Level, out = new AckView()): number {
  const { header, bodyFrom } = headOf(bytes);
  return decodeAck(bytes, header, bodyFrom, bytes.length, level, 8, out);
}

describe('acknowledgements', () => {
  test('decode what mqtt-packet encodes', () => {
    const packets = fc.constantFrom(...names).chain((cmd) =>
      fc.record({
        cmd: fc.constant(cmd),
        messageId: packetId,
        reasonCode: fc.constantFrom(...reasonsOf(cmd)),
        properties: some({ reasonString: text(), userProperties }),
      }),
    );
    fc.assert(
      fc.property(packets, fc.constantFrom(...levels), (packet, level) => {
        const out = new AckView();
        expect(decode(generate(packet as unknown as Packet, level), level, out)).toBe(0);
        expect(out).toEqual({ packetId: packet.messageId, reason: level === Level.V5 ? packet.reasonCode : 0 });
      }),
    );
  });

  test('written ones are read by mqtt-packet, and repeat the identifier [MQTT-2.2.1-5]', () => {
    for (const level of levels) {
      for (const name of names) {
        for (const reason of reasonsOf(name)) {
          const out = new Uint8Array(ACK_BYTES_MAX + 2);
          const bytes = writeAck(out, 1, types[name], 0xabcd, reason as Reason, level);
          const carried = level === Level.V5 ? reason : 0;
          expect(bytes).toBe(carried === 0 ? 4 : 5);
          expect([...out.subarray(1 + bytes)].every((byte) => byte === 0)).toBe(true);
          const [packet] = oracleParse(out.subarray(1, 1 + bytes), level)!;
          expect(packet).toMatchObject({ cmd: name, messageId: 0xabcd, ...(level === Level.V5 ? { reasonCode: carried } : {}) });
        }
      }
    }
  });

  test('reason codes are those of the packet [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]', () => {
    for (const name of names) {
      for (let reason = 0; reason < 256; reason++) {
        const bytes = packetOf((types[name] << 4) | (name === 'pubrel' ? 2 : 0), [0, 1, reason]);
        expect(decode(bytes, Level.V5)).toBe(reasonsOf(name).includes(reason) ? 0 : fault(Reason.PROTOCOL_ERROR));
      }
    }
  });

  test('flags are those of the packet; MQTT 3.1 lets PUBREL have DUP [MQTT-2.1.3-1] [MQTT-3.6.1-1]', () => {
    for (const level of levels) {
      for (const name of names) {
        for (let flags = 0; flags < 16; flags++) {
          const right = name === 'pubrel' ? 2 : 0;
          const isAllowed = flags === right || (level === Level.V31 && name === 'pubrel' && flags === 10);
          expect(decode(packetOf((types[name] << 4) | flags, [0, 1]), level)).toBe(isAllowed ? 0 : MALFORMED);
        }
      }
    }
  });

  test.each([
    ['no body', Level.V311, []],
    ['half an identifier', Level.V311, [1]],
    ['identifier 0', Level.V311, [0, 0]],
    ['more than an identifier on MQTT 3', Level.V311, [0, 1, 0]],
    ['bytes behind the properties', Level.V5, [0, 1, 0, 0, 0]],
    ['properties that do not end', Level.V5, [0, 1, 0, 5, 0x1f]],
  ])('%s is malformed', (_what, level, body) => {
    expect(decode(packetOf(0x40, body), level)).toBe(MALFORMED);
  });
});
