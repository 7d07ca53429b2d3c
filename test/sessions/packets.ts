// Packets by mqtt-packet, in both directions: the broker's own codec is not asked what it said or heard.
import mqttPacket, { type Packet } from 'mqtt-packet';
import type { Level } from '../../protocol/packet.ts';

/** Gives every whole packet of a stream of bytes, however it is cut. */
export function packetReader(level: Level, take: (packet: Packet) => void): (chunk: Uint8Array) => void {
  const parser = mqttPacket.parser({ protocolVersion: level });
  parser.on('packet', take);
  parser.on('error', (error) => {
    throw error;
  });
  return (chunk) => {
    parser.parse(Buffer.from(chunk));
  };
}

export function bytesOfPacket(packet: Packet, level: Level): Uint8Array {
  return mqttPacket.generate(packet, { protocolVersion: level });
}
