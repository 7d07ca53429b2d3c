// HOT: no allocation, closures, strings, try or async per message (but for bursts, which are used again).
// One publisher. In a closed loop it is never more than a window of messages ahead of what its audiences have received and the broker
// has acknowledged; in an open loop each message has a time at which it is due, and is sent then, or as soon after as the connection lets it,
// and carries that time. What was not acknowledged is sent again on the next connection.
import { Frame, type Framer } from '../../protocol/framer.ts';
import { PacketType } from '../../protocol/packet.ts';
import type { PublisherSeat } from '../plan/roster.ts';
import { Acknowledger, PUBREL } from './acknowledger.ts';
import { Burst } from './burst.ts';
import type { Joined, Role } from './client.ts';
import { nowUs, sinceUs } from './clock.ts';
import type { Ground } from './ground.ts';
import { Inflight, Stage } from './inflight.ts';
import { HEADER_BYTES, streamWord, writeHeader } from './message.ts';
import type { Schedule } from './schedule.ts';
import { DUP, type StreamPacket } from './stream.ts';
import type { Wire } from './stream-wire.ts';

const BURST_MESSAGES_MAX = 2_048;
const BURST_BYTES_MAX = 262_144;
/** Bytes of one connection that the kernel has not taken. */
const UNSENT_BYTES_MAX = 2_097_152;
const BURSTS_MIN = 2;
/** Below this window every message is worth a write; above it small writes would measure the load. */
const SMALL_WINDOW = 256;
const LEAST_SHARE = 16;
const REFUSED = 0x80;

export class Publisher implements Role {
  readonly seat: PublisherSeat;
  sent = 0;
  /** QoS 1 and 2: acknowledged to the end, and refused by the broker. */
  acknowledged = 0;
  refused = 0;
  /** Of each of its streams. */
  readonly sentOf: Float64Array;
  readonly refusedOf: Float64Array;
  /** How often what it waited for did not come. */
  stalls = 0;
  readonly inflight: Inflight | null;
  readonly #ground: Ground;
  readonly #packets: readonly StreamPacket[];
  readonly #limit: number;
  readonly #window: number;
  /** Least room for a write. */
  #least = 1;
  readonly #burstSlots: number;
  readonly #burstBytes: number;
  readonly #burstsMax: number;
  #schedule: Schedule | null = null;
  #running = false;
  #wire: Wire | null = null;
  #acknowledger: Acknowledger | null = null;
  #receiveMaximum = 0;
  /** Bursts that no write holds, all of the connection's, and how many there are. */
  #free: Burst[] = [];
  #bursts = 0;
  /** Messages that the kernel has taken. */
  #flushed = 0;
  /** Messages that are no longer waited for. */
  #forgiven = 0;
  #stuckAhead = -1;
  #stuckSent = -1;
  /** Where the next message goes. */
  #place = 0;
  /** The audience that was furthest behind. */
  #laggard = 0;
  #isPumpAsked = false;
  readonly #pumpAsked = () => {
    this.#isPumpAsked = false;
    this.pump();
  };
  /** Acknowledgements of messages that were sent together. */
  #runUs = 0;
  #run = 0;

  /** @param limit most messages; infinity: no end */
  constructor(ground: Ground, seat: PublisherSeat, packets: readonly StreamPacket[], limit: number) {
    const { qos, window, payloadBytes } = seat.group;
    this.seat = seat;
    this.#ground = ground;
    this.#packets = packets;
    this.#limit = limit;
    this.#window = window;
    this.sentOf = new Float64Array(packets.length);
    this.refusedOf = new Float64Array(packets.length);
    this.inflight = qos === 0 ? null : new Inflight(window);
    this.#burstBytes = packets.reduce((most, { bytes }) => Math.max(most, bytes.length), payloadBytes);
    const slots = Math.min(BURST_MESSAGES_MAX, window, Math.max(1, Math.floor(BURST_BYTES_MAX / this.#burstBytes)));
    // A whole number of rounds, so that a slot keeps its stream.
    this.#burstSlots = slots < packets.length ? slots : slots - (slots % packets.length);
    this.#burstsMax = Math.max(BURSTS_MIN, Math.floor(UNSENT_BYTES_MAX / (this.#burstBytes * this.#burstSlots)));
  }

  /** Everything that it may send is sent. */
  get isSpent(): boolean {
    return this.sent >= this.#limit;
  }

  start(schedule: Schedule | null): void {
    this.#schedule = schedule;
    this.#running = true;
    this.pump();
  }

  stop(): void {
    this.#running = false;
  }

  joined({ wire, resumed, receiveMaximum }: Joined): void {
    this.#wire = wire;
    this.#acknowledger = new Acknowledger(wire);
    this.#receiveMaximum = receiveMaximum;
    const window = this.inflight === null ? this.#window : Math.min(this.#window, receiveMaximum);
    this.#least = window < SMALL_WINDOW ? 1 : Math.floor(window / LEAST_SHARE);
    this.#free = [];
    this.#bursts = 0;
    this.#flushed = this.sent;
    if (this.inflight !== null && this.inflight.count > 0) this.#sendAgain(this.inflight, resumed);
    this.pump();
  }

  left(): void {
    this.#wire = null;
    this.#acknowledger = null;
    this.#ground.interrupted[this.seat.index] = 1;
    this.#ground.interrupt();
  }

  /** Writes what may be written now. */
  pump(): void {
    const wire = this.#wire;
    if (!this.#running || wire === null) return;
    const least = this.#schedule === null ? this.#least : 1;
    // What the kernel takes at once could go on for ever, and nothing would be read meanwhile.
    for (let sends = 0; sends < this.#burstsMax; sends++) {
      const room = this.#room();
      if (room <= 0 || room < Math.min(least, this.#limit - this.sent)) return;
      const burst = this.#freeBurst(wire);
      if (burst === null) return;
      this.#fill(burst, Math.min(room, burst.slots));
      if (wire.send(burst.block, burst.end, burst.sent)) {
        this.#flushed += burst.count;
        this.#free.push(burst);
      }
    }
    this.#pumpSoon();
  }

  #pumpSoon(): void {
    if (this.#isPumpAsked) return;
    this.#isPumpAsked = true;
    setImmediate(this.#pumpAsked);
  }

  /** To be called once a second: lets it send on when nothing has moved since the last time, since what it waits for is lost. */
  forgive(): void {
    if (!this.#running || this.#wire === null || this.#schedule !== null) return;
    const ahead = this.#ahead(0);
    const isStuck = ahead > this.#window - this.#least && ahead === this.#stuckAhead && this.sent === this.#stuckSent;
    this.#stuckAhead = ahead;
    this.#stuckSent = this.sent;
    if (!isStuck) return;
    this.#forgiven += ahead;
    this.stalls++;
    this.pump();
  }

  work(framer: Framer, cold: (framer: Framer) => void): number {
    const now = nowUs();
    let said = framer.next();
    for (; said === Frame.PACKET; said = framer.next()) {
      const type = framer.header >> 4;
      if (type === PacketType.PUBACK || type === PacketType.PUBREC || type === PacketType.PUBCOMP)
        this.#acknowledge(framer, type, now);
      else cold(framer);
    }
    this.#settleRun(now);
    this.#acknowledger?.flush();
    this.pump();
    return said;
  }

  /** Messages that may be sent now. */
  #room(): number {
    const left = this.#limit - this.sent;
    const { inflight } = this;
    const unacknowledged =
      inflight === null ? left : Math.min(this.#window, this.#receiveMaximum, inflight.ids - 1) - inflight.count;
    const schedule = this.#schedule;
    if (schedule !== null) return Math.min(left, unacknowledged, schedule.due(nowUs()) - this.sent);
    return Math.min(left, unacknowledged, this.#window - this.#ahead(this.#window - this.#least + 1));
  }

  /** Messages that it is ahead of the audience that is furthest behind. Finds any that is behind by `enough` good enough. */
  #ahead(enough: number): number {
    const { audiences } = this.seat;
    if (audiences.length === 0) return this.inflight === null ? this.sent - this.#flushed : 0;
    if (enough > 0) {
      const known = this.#aheadOf(this.#laggard) - this.#forgiven;
      if (known >= enough) return known;
    }
    let most = 0;
    for (let i = 0; i < audiences.length; i++) {
      const ahead = this.#aheadOf(i);
      if (ahead <= most) continue;
      most = ahead;
      this.#laggard = i;
    }
    // What came after all, or was jumped over, need not be forgiven any more.
    this.#forgiven = Math.min(this.#forgiven, most);
    return most - this.#forgiven;
  }

  #aheadOf(audience: number): number {
    const { slots, reach } = this.seat.audiences[audience]!;
    const { progress } = this.#ground;
    let received = 0;
    for (let i = 0; i < slots.length; i++) received += Atomics.load(progress, slots[i]!);
    const topics = reach.length - 1;
    const rounds = Math.floor(this.sent / topics);
    const owed = rounds * reach[topics]! + reach[this.sent - rounds * topics]!;
    return (owed - received) | 0;
  }

  #fill(burst: Burst, count: number): void {
    const { inflight, sentOf } = this;
    const { firstStream } = this.seat;
    const packets = this.#packets;
    const { run } = this.#ground.plan;
    const schedule = this.#schedule;
    const now = nowUs();
    burst.begin();
    for (let i = 0; i < count; i++) {
      const place = this.#place;
      this.#place = place + 1 === packets.length ? 0 : place + 1;
      const number = sentOf[place]!++;
      const sentUs = schedule === null ? now : schedule.dueAt(this.sent + i);
      const packetId = inflight === null ? 0 : inflight.take(place, number, sentUs);
      burst.add(place, packets[place]!, streamWord(run, firstStream + place), number, sentUs, packetId);
    }
    this.sent += count;
    this.#ground.totals.sent += count;
  }

  #freeBurst(wire: Wire): Burst | null {
    const burst = this.#free.pop();
    if (burst !== undefined) return burst;
    if (this.#bursts === this.#burstsMax) return null;
    this.#bursts++;
    return new Burst(this.#burstSlots, this.#burstBytes, wire.headroom, (sent) => {
      // Those of a connection that is gone are not used again.
      if (wire !== this.#wire) return;
      this.#flushed += sent.count;
      this.#free.push(sent);
      this.pump();
    });
  }

  #acknowledge(framer: Framer, type: number, now: number): void {
    const { buffer, bodyFrom, bodyTo } = framer;
    const inflight = this.inflight;
    if (inflight === null || bodyTo - bodyFrom < 2) return;
    const packetId = (buffer[bodyFrom]! << 8) | buffer[bodyFrom + 1]!;
    const stage = inflight.stage(packetId);
    const isRefused = bodyTo - bodyFrom > 2 && buffer[bodyFrom + 2]! >= REFUSED && type !== PacketType.PUBCOMP;
    if (type === PacketType.PUBREC && !isRefused) {
      // Also where it is none of ours: the broker waits for it [MQTT-4.3.3-4].
      if (stage === Stage.SENT) inflight.release(packetId);
      this.#acknowledger?.add(PUBREL, packetId);
      return;
    }
    if (stage === Stage.FREE) return;
    if (isRefused) {
      this.refused++;
      this.refusedOf[inflight.place(packetId)]!++;
    } else {
      this.acknowledged++;
      this.#ground.totals.acknowledged++;
      const sentUs = inflight.sentUs(packetId);
      if (sentUs !== this.#runUs) this.#settleRun(now);
      this.#runUs = sentUs;
      this.#run++;
    }
    inflight.free(packetId);
  }

  #settleRun(now: number): void {
    if (this.#run > 0) this.#ground.acknowledgements.record(sinceUs(this.#runUs, now), this.#run);
    this.#run = 0;
  }

  /** What was on its way when the connection was lost [MQTT-4.4.0-1]; as new where the broker has forgotten the session. */
  #sendAgain(inflight: Inflight, resumed: boolean): void {
    for (let step = 0; step < inflight.ids; step++) {
      const packetId = inflight.oldest(step);
      if (packetId === 0) continue;
      if (inflight.stage(packetId) === Stage.SENT) this.#resend(inflight, packetId, resumed);
      else this.#acknowledger!.add(PUBREL, packetId);
    }
    this.#acknowledger!.flush();
  }

  #resend(inflight: Inflight, packetId: number, resumed: boolean): void {
    const wire = this.#wire!;
    // In order with the acknowledgements.
    this.#acknowledger!.flush();
    const place = inflight.place(packetId);
    const { bytes, payloadAt, packetIdAt } = this.#packets[place]!;
    const block = Buffer.alloc(wire.headroom + bytes.length);
    const at = wire.headroom;
    bytes.copy(block, at);
    if (resumed) block[at] = block[at]! | DUP;
    block.writeUInt16BE(packetId, at + packetIdAt);
    const view = new DataView(block.buffer, block.byteOffset, block.length);
    const word = streamWord(this.#ground.plan.run, this.seat.firstStream + place);
    const { payloadBytes } = this.seat.group;
    writeHeader(view, at + payloadAt, word, inflight.number(packetId), inflight.sentUs(packetId), payloadBytes);
    wire.send(block, block.length, () => {});
  }
}

/** Payloads have at least a header. */
export const PAYLOAD_BYTES_MIN = HEADER_BYTES;
