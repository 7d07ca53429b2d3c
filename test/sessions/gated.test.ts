// Answers that wait for the store: a queue, against an array.
import fc from 'fast-check';
import { test } from 'vitest';
import { GatedAnswers } from '../../engine/sessions/gated.ts';
import { PacketType, Reason } from '../../protocol/packet.ts';
import { agree, check } from '../check.ts';

const types = [PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP] as const;
const reasons = [
  Reason.SUCCESS,
  Reason.NO_MATCHING_SUBSCRIBERS,
  Reason.QUOTA_EXCEEDED,
  Reason.PACKET_IDENTIFIER_NOT_FOUND,
] as const;

interface Answer {
  readonly sequence: number;
  readonly type: PacketType;
  readonly packetId: number;
  readonly reason: Reason;
  readonly packet: Uint8Array | null;
}

/** Whether the client may send another QoS 1 or 2 message for it. */
function ends({ type, reason, packet }: Answer): boolean {
  if (packet !== null) return false;
  if (type === PacketType.PUBREC) return reason >= Reason.UNSPECIFIED;
  return type === PacketType.PUBACK || (type === PacketType.PUBCOMP && reason === Reason.SUCCESS);
}

test('keeps every answer, in order, and counts those that end an exchange', () => {
  const answer = fc.record({
    sequence: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
    type: fc.constantFrom(...types),
    packetId: fc.integer({ min: 1, max: 65_535 }),
    reason: fc.constantFrom(...reasons),
    packet: fc.option(fc.uint8Array({ minLength: 3, maxLength: 9 }), { freq: 3 }),
  });
  return check(
    fc.property(
      fc.array(fc.oneof({ weight: 3, arbitrary: answer }, { weight: 2, arbitrary: fc.constant(null) }), {
        maxLength: 300,
        size: 'max',
      }),
      (steps) => {
        const gated = new GatedAnswers();
        const naive: Answer[] = [];
        for (const step of steps) {
          if (step === null) {
            if (naive.length === 0) continue;
            naive.shift();
            gated.shift();
          } else {
            naive.push(step);
            if (step.packet === null) gated.push(step.sequence, step.type, step.packetId, step.reason);
            else gated.pushPacket(step.sequence, step.packet);
          }
          agree([gated.count, gated.endings], [naive.length, naive.filter(ends).length]);
          const [oldest] = naive;
          if (oldest === undefined) continue;
          agree([gated.sequence, gated.packet], [oldest.sequence, oldest.packet]);
          if (oldest.packet !== null) continue;
          agree([gated.type, gated.packetId, gated.reason], [oldest.type, oldest.packetId, oldest.reason]);
        }
      },
    ),
    200,
  );
});
