// HOT: no allocation, closures, strings, try or async per message.
// One subscriber: judges every message that comes by what its payload says of itself, acknowledges it, and tells the publishers how far
// it is. Messages that were sent together
// cost one entry in the tally, and messages of one publisher that came together one in the progress table.
import { readU16 } from '../../protocol/bytes.ts';
import { Frame, type Framer } from '../../protocol/framer.ts';
import { PacketType } from '../../protocol/packet.ts';
import type { SubscriberSeat } from '../plan/roster.ts';
import { Acknowledger, PUBACK, PUBCOMP, PUBREC } from './acknowledger.ts';
import type { Joined, Role } from './client.ts';
import { nowUs, sinceUs } from './clock.ts';
import type { Ground } from './ground.ts';
import { Arrival, type Ledger } from './ledger.ts';
import { HEADER_BYTES, isHeader, readNumber, readSent, readWord, streamOf } from './message.ts';
import type { Places } from './places.ts';

const QOS_1 = 1;
const RETAIN_BIT = 0x01;
const NO_VIEW: DataView = new DataView(new ArrayBuffer(0));
/** Packet identifiers in bits. */
const IDENTIFIER_WORDS = 2_048;

export class Subscriber implements Role {
  readonly seat: SubscriberSeat;
  /** Its own messages that came whole, duplicates included. */
  received = 0;
  /** Came though they had come before. */
  duplicated = 0;
  /** Likewise, but as QoS 1 allows: it or the publisher had lost a connection. */
  redelivered = 0;
  /** Came after one that was sent later on their stream. */
  outOfOrder = 0;
  /** Not what was sent: payload, or the topic for this payload. */
  corrupt = 0;
  /** Whole messages of this run that its filter does not match. */
  misdelivered = 0;
  /** Not of this run, or retained from before the subscription. */
  foreign = 0;
  /** Sessions that the broker had forgotten when the subscriber came back. */
  sessionsLost = 0;
  readonly ledger: Ledger;
  readonly #ground: Ground;
  readonly #places: Places;
  /** What any member of its shared subscription on this thread has received; null: it is no member. */
  readonly #share: Ledger | null;
  readonly #hasProperties: boolean;
  #acknowledger: Acknowledger | null = null;
  #connections = 0;
  /** QoS 2: packet identifiers that PUBREC was sent for and that are not released. */
  #unreleased: Uint32Array | null = null;
  #buffer: Uint8Array | null = null;
  #view = NO_VIEW;
  /** The stream of the message before, and where it stands. */
  #word = -1;
  #place = -1;
  #publisher = -1;
  /** Deliveries that the publisher's progress table does not know of yet. */
  #slot = -1;
  #advance = 0;
  /** Messages that were sent together. */
  #sentUs = 0;
  #count = 0;

  constructor(ground: Ground, seat: SubscriberSeat, places: Places, ledger: Ledger, share: Ledger | null) {
    this.seat = seat;
    this.ledger = ledger;
    this.#ground = ground;
    this.#places = places;
    this.#share = share;
    this.#hasProperties = ground.plan.broker.level === 5;
  }

  joined({ wire, resumed }: Joined): void {
    this.#acknowledger = new Acknowledger(wire);
    if (this.#connections++ > 0 && !resumed) {
      this.sessionsLost++;
      this.#unreleased?.fill(0);
    }
  }

  left(): void {
    this.#acknowledger = null;
    this.#ground.interrupt();
  }

  work(framer: Framer, cold: (framer: Framer) => void): number {
    const now = nowUs();
    let said = framer.next();
    for (; said === Frame.PACKET; said = framer.next()) {
      const type = framer.header >> 4;
      if (type === PacketType.PUBLISH) this.#publish(framer, now);
      else if (type === PacketType.PUBREL) this.#pubrel(framer);
      else cold(framer);
    }
    this.#settleLatency(now);
    this.#acknowledger?.flush();
    this.#settleAdvance();
    return said;
  }

  #publish(framer: Framer, now: number): void {
    const { buffer, header, bodyFrom, bodyTo } = framer;
    if (buffer !== this.#buffer) {
      this.#buffer = buffer;
      this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    }
    const topicFrom = bodyFrom + 2;
    const topicTo = topicFrom + readU16(buffer, bodyFrom);
    const qos = (header >> 1) & 3;
    let payloadAt = topicTo;
    let isAgain = false;
    if (qos > 0) {
      const packetId = readU16(buffer, payloadAt);
      payloadAt += 2;
      if (qos === QOS_1) this.#acknowledger?.add(PUBACK, packetId);
      else isAgain = this.#pubrec(packetId);
    }
    if (this.#hasProperties) payloadAt = behindProperties(buffer, payloadAt);
    this.#ground.totals.received++;
    this.#ground.totals.receivedBytes += bodyTo - payloadAt;
    // Sent again because PUBREC did not arrive: it is answered, and not delivered again [MQTT-4.3.3-10].
    if (isAgain) return;
    if ((header & RETAIN_BIT) !== 0) this.foreign++;
    else this.#account(buffer, topicFrom, topicTo, payloadAt, bodyTo, qos, now);
  }

  #account(
    buffer: Uint8Array,
    topicFrom: number,
    topicTo: number,
    payloadAt: number,
    payloadTo: number,
    qos: number,
    now: number,
  ): void {
    const view = this.#view;
    const bytes = payloadTo - payloadAt;
    const word = isHeader(view, payloadAt, bytes) ? readWord(view, payloadAt) : -1;
    const places = this.#places;
    if (!places.knows(word)) {
      // Only a closed run knows that nobody else publishes to its topics.
      if (word < 0 && places.isClosed) this.corrupt++;
      else this.foreign++;
      return;
    }
    const isWhole =
      places.fits(word, bytes, buffer, topicFrom, topicTo) &&
      this.#ground.pattern.holds(buffer, view, payloadAt + HEADER_BYTES, payloadTo, streamOf(word));
    if (!isWhole) {
      this.corrupt++;
      return;
    }
    const number = readNumber(view, payloadAt);
    if (word !== this.#word) this.#turnTo(word, number);
    if (this.#place < 0) {
      this.misdelivered++;
      return;
    }
    this.received++;
    const sentUs = readSent(view, payloadAt);
    if (sentUs !== this.#sentUs) {
      this.#settleLatency(now);
      this.#sentUs = sentUs;
    }
    this.#count++;
    this.#arrive(number, qos);
  }

  #arrive(number: number, qos: number): void {
    const place = this.#place;
    const share = this.#share;
    const arrival = (share ?? this.ledger).arrive(place, number);
    const isNew = arrival !== Arrival.DUPLICATE;
    if (share === null) {
      if (arrival === Arrival.LATE) this.outOfOrder++;
    } else if (this.ledger.isBehind(place, number) && isNew && !this.#ground.wasInterrupted) this.outOfOrder++;
    if (isNew) {
      this.#advance++;
      return;
    }
    const publisher = this.#publisher;
    const mayRepeat = this.#connections > 1 || (publisher >= 0 && this.#ground.interrupted[publisher] === 1);
    if (qos === QOS_1 && mayRepeat) this.redelivered++;
    else this.duplicated++;
  }

  /** Another stream's message has come. */
  #turnTo(word: number, number: number): void {
    const places = this.#places;
    this.#word = word;
    this.#place = places.place(word, this.ledger, number);
    const slot = this.#place < 0 ? -1 : places.slot(this.#place);
    if (slot !== this.#slot) this.#settleAdvance();
    this.#slot = slot;
    this.#publisher = places.publisher(word);
  }

  #settleAdvance(): void {
    const advance = this.#advance;
    if (advance === 0) return;
    this.#advance = 0;
    this.#ground.totals.distinct += advance;
    if (this.#slot < 0) return;
    Atomics.add(this.#ground.progress, this.#slot, advance);
    this.#ground.wake(this.#publisher);
  }

  #settleLatency(now: number): void {
    if (this.#count > 0) this.#ground.deliveries.record(sinceUs(this.#sentUs, now), this.#count);
    this.#count = 0;
  }

  /** Answers with PUBREC; whether this identifier was answered before. */
  #pubrec(packetId: number): boolean {
    this.#unreleased ??= new Uint32Array(IDENTIFIER_WORDS);
    this.#acknowledger?.add(PUBREC, packetId);
    const bit = 1 << (packetId & 31);
    const isAgain = (this.#unreleased[packetId >> 5]! & bit) !== 0;
    this.#unreleased[packetId >> 5]! |= bit;
    return isAgain;
  }

  #pubrel(framer: Framer): void {
    if (framer.bodyTo - framer.bodyFrom < 2) return;
    const packetId = readU16(framer.buffer, framer.bodyFrom);
    if (this.#unreleased !== null) this.#unreleased[packetId >> 5]! &= ~(1 << (packetId & 31));
    this.#acknowledger?.add(PUBCOMP, packetId);
  }
}

/** Offset behind the properties of MQTT 5 (§2.2.2): their length takes up to four bytes. */
function behindProperties(buffer: Uint8Array, from: number): number {
  let at = from;
  let length = buffer[at++]!;
  if (length >= 128) {
    length &= 127;
    for (let shift = 7; shift <= 21; shift += 7) {
      const byte = buffer[at++]!;
      length |= (byte & 127) << shift;
      if (byte < 128) break;
    }
  }
  return at + length;
}
