// Packets as clients write them, and what a broker without a network offers.
import mqttPacket, { type Packet } from 'mqtt-packet';
import type { Offers } from '../../engine/routing/shard.ts';

const PAYLOAD = Buffer.alloc(32, 1);
export const ACK_BYTES = 4;

export const OFFERS: Offers = {
  maximumQos: 2,
  retainAvailable: true,
  wildcardSubscriptions: true,
  sharedSubscriptions: true,
  takeover: 'same_user',
  responseInformation: '',
  serverReference: '',
  v3ExpiryS: 0,
};

export function encode(packet: Packet): Uint8Array {
  return Uint8Array.from(mqttPacket.generate(packet));
}

/** Messages as a client writes them, one behind the other. */
export function published(topic: string, qos: 0 | 1 | 2, count: number): Uint8Array {
  const packets = Array.from({ length: count }, (_, at) => {
    const packetId = qos === 0 ? {} : { messageId: 1 + at };
    return mqttPacket.generate({ cmd: 'publish', topic, payload: PAYLOAD, qos, retain: false, dup: false, ...packetId });
  });
  return Uint8Array.from(Buffer.concat(packets));
}

export function acks(firstByte: number, ids: Uint16Array): Uint8Array {
  return writeAcks(new Uint8Array(ids.length * ACK_BYTES), firstByte, ids);
}

export function writeAcks(out: Uint8Array, firstByte: number, ids: Uint16Array): Uint8Array {
  for (let at = 0; at < ids.length; at++) {
    const to = at * ACK_BYTES;
    out[to] = firstByte;
    out[to + 1] = 2;
    out[to + 2] = ids[at]! >> 8;
    out[to + 3] = ids[at]! & 0xff;
  }
  return out;
}
