// One topic of one publisher: the packet that carries its messages, encoded once, and where things stand in it.
import mqttPacket from 'mqtt-packet';
import type { QoS } from '../plan/plan.ts';
import { HEADER_BYTES, type Pattern } from './message.ts';

export interface StreamPacket {
  /** PUBLISH with the pattern behind an empty header. */
  readonly bytes: Buffer;
  /** Offset of the packet identifier, -1 at QoS 0. */
  readonly packetIdAt: number;
  readonly payloadAt: number;
}

export interface StreamShape {
  readonly topic: string;
  readonly stream: number;
  readonly level: 3 | 4 | 5;
  readonly qos: QoS;
  readonly retain: boolean;
  readonly payloadBytes: number;
}

export function streamPacket({ topic, stream, level, qos, retain, payloadBytes }: StreamShape, pattern: Pattern): StreamPacket {
  const payload = Buffer.alloc(payloadBytes);
  pattern.fill(payload, HEADER_BYTES, payloadBytes, stream);
  const bytes = mqttPacket.generate(
    { cmd: 'publish', topic, payload, qos, retain, dup: false, ...(qos === 0 ? {} : { messageId: 1 }) },
    { protocolVersion: level },
  );
  const payloadAt = bytes.length - payloadBytes;
  const propertyBytes = level === 5 ? 1 : 0;
  return { bytes, payloadAt, packetIdAt: qos === 0 ? -1 : payloadAt - propertyBytes - 2 };
}

/** Bit of byte 1 that says that a PUBLISH may have been sent before. */
export const DUP = 0x08;
