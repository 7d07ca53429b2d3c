// DISCONNECT, AUTH and the prebuilt answers against mqtt-packet and the reason code tables of the standard.
import { describe, expect, test } from 'vitest';
import { disconnectAnswer, PINGRESP } from '../../protocol/answers.ts';
import { decodeAuth, decodeDisconnect, encodeAuth, encodeDisconnect } from '../../protocol/disconnect.ts';
import { defaultLimits } from '../../protocol/limits.ts';
import { fault, Level, Reason } from '../../protocol/packet.ts';
import { generate, headOf, oracleParse, packetOf } from './oracle.ts';

const MALFORMED = fault(Reason.MALFORMED_PACKET);
const PROTOCOL_ERROR = fault(Reason.PROTOCOL_ERROR);
const fromClient = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];

function decode<T>(decoder: (...args: Parameters<typeof decodeDisconnect>) => T, bytes: Uint8Array, level: Level = Level.V5): T {
  const { header, bodyFrom } = headOf(bytes);
  return decoder(bytes, header, bodyFrom, bytes.length, level, defaultLimits);
}

describe('DISCONNECT', () => {
  test('takes the reason codes of clients only [MQTT-3.14.2-1]', () => {
    for (let reason = 0; reason < 256; reason++) {
      const expected = fromClient.includes(reason) ? { reason, sessionExpiryS: -1 } : PROTOCOL_ERROR;
      expect(decode(decodeDisconnect, packetOf(0xe0, [reason]))).toEqual(expected);
      expect(decode(decodeDisconnect, packetOf(0xe0, [reason, 0]))).toEqual(expected);
    }
  });

  test('without a body is a normal one, at every level', () => {
    for (const level of Object.values(Level)) {
      expect(decode(decodeDisconnect, packetOf(0xe0, []), level)).toEqual({ reason: 0, sessionExpiryS: -1 });
    }
    expect(decode(decodeDisconnect, packetOf(0xe0, [0]), Level.V311)).toBe(MALFORMED);
  });

  test('brings a session expiry as mqtt-packet encodes it', () => {
    const properties = { sessionExpiryInterval: 4_000_000_000 };
    const bytes = generate({ cmd: 'disconnect', reasonCode: 4, properties }, Level.V5);
    expect(decode(decodeDisconnect, bytes)).toEqual({ reason: 4, sessionExpiryS: 4_000_000_000 });
  });

  test.each([
    ['flags [MQTT-3.14.1-1]', packetOf(0xe1, [])],
    ['bytes behind the properties', packetOf(0xe0, [0, 0, 0])],
    ['properties of another packet', packetOf(0xe0, [0, 2, 0x01, 0])],
  ])('%s make it malformed', (_what, bytes) => {
    expect(decode(decodeDisconnect, bytes)).toBe(MALFORMED);
  });

  test('is written with a reason code that it knows, which mqtt-packet reads [MQTT-3.14.2-1] [MQTT-3.14.2-2]', () => {
    for (const reason of Object.values(Reason)) {
      if (reason > Reason.SUCCESS && reason < Reason.UNSPECIFIED) continue;
      const [prebuilt] = oracleParse(disconnectAnswer(reason), Level.V5)!;
      const [encoded] = oracleParse(encodeDisconnect({ reason, reasonString: 'why', serverReference: 'there' }), Level.V5)!;
      expect(encoded).toMatchObject({ cmd: 'disconnect', properties: { reasonString: 'why', serverReference: 'there' } });
      expect((prebuilt as { reasonCode: number }).reasonCode).toBe((encoded as { reasonCode: number }).reasonCode);
    }
    expect(disconnectAnswer(Reason.SESSION_TAKEN_OVER)[2]).toBe(0x8e);
    expect(disconnectAnswer(Reason.BAD_USER_NAME_OR_PASSWORD)[2]).toBe(Reason.NOT_AUTHORIZED);
  });
});

describe('AUTH', () => {
  test('goes both ways with mqtt-packet', () => {
    const properties = { authenticationMethod: 'SCRAM', authenticationData: Buffer.from([0, 255]) };
    const bytes = generate({ cmd: 'auth', reasonCode: 0x18, properties }, Level.V5);
    expect(decode(decodeAuth, bytes)).toEqual({ reason: 0x18, method: 'SCRAM', data: Uint8Array.of(0, 255) });
    const sent = encodeAuth({ reason: Reason.CONTINUE_AUTHENTICATION, method: 'SCRAM', data: Uint8Array.of(0, 255) });
    expect(Buffer.from(sent).equals(bytes)).toBe(true);
    expect([...encodeAuth({ reason: Reason.SUCCESS, method: null, data: null })]).toEqual([0xf0, 2, 0, 0]);
  });

  test('without data', () => {
    expect(decode(decodeAuth, packetOf(0xf0, [0x19, 4, 0x15, 0, 1, 97]))).toEqual({ reason: 0x19, method: 'a', data: null });
  });

  test.each([
    ['flags [MQTT-3.15.1-1]', packetOf(0xf1, [0x19, 0]), MALFORMED],
    ['no body, which is Success', packetOf(0xf0, []), PROTOCOL_ERROR],
    ['Success, which only a server may say [MQTT-3.15.2-1]', packetOf(0xf0, [0, 4, 0x15, 0, 1, 97]), PROTOCOL_ERROR],
    ['no method', packetOf(0xf0, [0x19, 0]), PROTOCOL_ERROR],
    ['data without a method', packetOf(0xf0, [0x19, 4, 0x16, 0, 1, 97]), PROTOCOL_ERROR],
    ['a reason code alone', packetOf(0xf0, [0x19]), MALFORMED],
  ])('is refused with %s', (_what, bytes, expected) => {
    expect(decode(decodeAuth, bytes)).toBe(expected);
  });

  test('is no packet of MQTT 3', () => {
    expect(decode(decodeAuth, packetOf(0xf0, [0x19, 0]), Level.V311)).toBe(PROTOCOL_ERROR);
  });
});

test('PINGRESP is two bytes', () => {
  expect([...PINGRESP]).toEqual([0xd0, 0]);
});
