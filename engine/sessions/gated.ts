// HOT: no allocation, closures, strings, try or async per message.
// Acknowledgements of one connection that wait for the store: a queue in order of their sequence numbers. An answer leaves when
// the watermark has reached its number, never before: that is what an acknowledgement means.
//
// Each entry is four numbers: sequence, packet type << 16 | packet identifier, reason, and the ticket of what other shards have yet to settle (peers/tickets.ts; 0
// for none). A packet that says more (SUBACK, UNSUBACK) is kept as it is, and its entry has no type.
import { PacketType, Reason } from '../../protocol/packet.ts';

const FIELDS = 4;
const NO_TYPE = 0;

export class GatedAnswers {
  #entries = new Float64Array(16 * FIELDS);
  /** Entries that there is room for, a power of two, less one. */
  #mask = 15;
  #first = 0;
  readonly #packets: Uint8Array[] = [];
  count = 0;
  /** Those that end an exchange of the client's: until they leave, its message counts against our Receive Maximum. */
  endings = 0;

  push(sequence: number, type: PacketType, packetId: number, reason: Reason, ticket = 0): void {
    if (this.count > this.#mask) this.#grow();
    const at = ((this.#first + this.count) & this.#mask) * FIELDS;
    this.#entries[at] = sequence;
    this.#entries[at + 1] = type * 65_536 + packetId;
    this.#entries[at + 2] = reason;
    this.#entries[at + 3] = ticket;
    this.count++;
    if (isEnding(type, reason)) this.endings++;
  }

  /** Keeps a whole packet, which the caller gives away. */
  pushPacket(sequence: number, packet: Uint8Array): void {
    this.push(sequence, NO_TYPE as PacketType, 0, Reason.SUCCESS);
    this.#packets.push(packet);
  }

  /** The oldest answer as a whole packet, null when it is one of numbers. */
  get packet(): Uint8Array | null {
    return (this.type as number) === NO_TYPE ? this.#packets[0]! : null;
  }

  /** Sequence number of the oldest answer; only valid while `count` > 0. */
  get sequence(): number {
    return this.#entries[this.#first * FIELDS]!;
  }

  get type(): PacketType {
    return (this.#entries[this.#first * FIELDS + 1]! >>> 16) as PacketType;
  }

  get packetId(): number {
    return this.#entries[this.#first * FIELDS + 1]! & 0xffff;
  }

  get reason(): Reason {
    return this.#entries[this.#first * FIELDS + 2]! as Reason;
  }

  get ticket(): number {
    return this.#entries[this.#first * FIELDS + 3]!;
  }

  shift(): void {
    if (isEnding(this.type, this.reason)) this.endings--;
    if ((this.type as number) === NO_TYPE) this.#packets.shift();
    this.#first = (this.#first + 1) & this.#mask;
    this.count--;
  }

  #grow(): void {
    const capacity = this.#mask + 1;
    const wide = new Float64Array(capacity * 2 * FIELDS);
    for (let i = 0; i < this.count; i++) {
      const at = ((this.#first + i) & this.#mask) * FIELDS;
      wide.set(this.#entries.subarray(at, at + FIELDS), i * FIELDS);
    }
    this.#entries = wide;
    this.#mask = capacity * 2 - 1;
    this.#first = 0;
  }
}

/** Whether the client may send another message once it has this answer (MQTT 5.0 §4.9). */
function isEnding(type: PacketType, reason: Reason): boolean {
  return (
    type === PacketType.PUBACK ||
    (type === PacketType.PUBCOMP && reason === Reason.SUCCESS) ||
    (type === PacketType.PUBREC && reason >= Reason.UNSPECIFIED)
  );
}
