// HOT: no allocation, closures, strings, try or async per message.
// The QoS 1 and 2 deliveries of one session as a log with cursors, in the order in which they are owed:
//
//     base            sent              end = base + count
//      |  in flight    |   queued        |
//
// A position is a count from the session's first delivery on; base only grows. The packet identifier of a delivery
// is its position modulo 65,535, plus one, so it needs no table, is unique while fewer than 65,535 positions are open, and is the
// same again after a restart. An entry that is finished out of order stays as DONE until everything before it is finished.
//
// Columns (ring of `capacity`, a power of two), by offset from base:
//   message  Int32  handle in the message slab, -1 when none is kept (a session that cannot come back needs no copy)
//   bits     Uint8  QoS (0-1) | retain (2) | state (3-4) | sent before (5) | gone from the store (6)
//   target   the route's target that it was made for: subscription identifiers and shared group
import { type MessageHandle, NO_MESSAGE } from '../memory/messages.ts';
import type { Target } from './target.ts';

export const DeliveryState = { QUEUED: 0, AWAIT_ACK: 1, AWAIT_COMP: 2, DONE: 3 } as const;
export type DeliveryState = (typeof DeliveryState)[keyof typeof DeliveryState];

const QOS_MASK = 3;
const RETAIN_BIT = 4;
const STATE_SHIFT = 3;
const STATE_MASK = 3 << STATE_SHIFT;
const SENT_BIT = 32;
const GONE_BIT = 64;

const PACKET_IDENTIFIERS = 65_535;
/** Widest run of positions that can be open at a time; half of the identifiers, so that none is ever ambiguous. */
const SPAN_MAX = 32_768;
const CAPACITY_MIN = 16;

/** What can be sent with QoS and retain in one small number: the form in which a store keeps it. */
export function deliveryBits(qos: number, retain: number): number {
  return qos | (retain << 2);
}

export class Deliveries {
  /** Position of the oldest delivery that is not finished. */
  base = 0;
  /** Entries between base and the end. */
  count = 0;
  /** Entries between base and the first that was not sent on this connection. */
  sent = 0;
  /** Sent and not finished: what the Receive Maximum bounds (MQTT 5.0 §4.9). */
  inflight = 0;
  #basePacketId = 0;
  #head = 0;
  #capacity = 0;
  #message: Int32Array = NO_INTS;
  #bits: Uint8Array = NO_BITS;
  #target: (Target | null)[] = [];

  /** Adds a delivery at the end, owning one reference of `message`; returns its offset. */
  append(message: MessageHandle, bits: number, target: Target | null): number {
    if (this.count === this.#capacity) this.#grow();
    const slot = (this.#head + this.count) & (this.#capacity - 1);
    this.#message[slot] = message;
    this.#bits[slot] = bits;
    this.#target[slot] = target;
    return this.count++;
  }

  /** Whether the next queued delivery may go out under `quota` in flight. */
  canSend(quota: number): boolean {
    return this.sent < this.count && this.inflight < quota && this.sent < SPAN_MAX;
  }

  /** Whether a delivery that is appended now may go out at once under `quota` in flight: nothing waits before it. */
  canAppendSent(quota: number): boolean {
    return this.sent === this.count && this.inflight < quota && this.sent < SPAN_MAX;
  }

  /** Adds an entry that is finished already: a position that a store no longer holds. */
  skip(): void {
    this.finish(this.append(NO_MESSAGE, 0, null));
  }

  /** Marks the delivery at the `sent` cursor as in flight; returns its offset. */
  send(): number {
    const offset = this.sent++;
    const slot = this.#slot(offset);
    this.#bits[slot] = (this.#bits[slot]! & ~STATE_MASK) | (DeliveryState.AWAIT_ACK << STATE_SHIFT) | SENT_BIT;
    this.inflight++;
    return offset;
  }

  /** Moves the `sent` cursor past an entry that is finished, or that still awaits its PUBCOMP and so counts as in flight. */
  pass(): void {
    if (this.state(this.sent) === DeliveryState.AWAIT_COMP) this.inflight++;
    this.sent++;
  }

  /** Offset of the sent, unfinished delivery with this packet identifier, or -1. */
  find(packetId: number): number {
    let offset = packetId - 1 - this.#basePacketId;
    if (offset < 0) offset += PACKET_IDENTIFIERS;
    return offset < this.sent && this.state(offset) !== DeliveryState.DONE ? offset : -1;
  }

  packetId(offset: number): number {
    const id = this.#basePacketId + offset;
    return (id >= PACKET_IDENTIFIERS ? id - PACKET_IDENTIFIERS : id) + 1;
  }

  message(offset: number): MessageHandle {
    return this.#message[this.#slot(offset)]! as MessageHandle;
  }

  /** Takes the copy out of an entry that will not need it again; the caller owns its release. */
  takeMessage(offset: number): MessageHandle {
    const slot = this.#slot(offset);
    const message = this.#message[slot]! as MessageHandle;
    this.#message[slot] = NO_MESSAGE;
    return message;
  }

  target(offset: number): Target | null {
    return this.#target[this.#slot(offset)]!;
  }

  qos(offset: number): number {
    return this.#bits[this.#slot(offset)]! & QOS_MASK;
  }

  retain(offset: number): number {
    return (this.#bits[this.#slot(offset)]! & RETAIN_BIT) >> 2;
  }

  state(offset: number): DeliveryState {
    return ((this.#bits[this.#slot(offset)]! & STATE_MASK) >> STATE_SHIFT) as DeliveryState;
  }

  /** Whether the delivery went out before, on this connection or an earlier one: its next PUBLISH carries DUP. */
  wasSent(offset: number): boolean {
    return (this.#bits[this.#slot(offset)]! & SENT_BIT) !== 0;
  }

  setSent(offset: number): void {
    const slot = this.#slot(offset);
    this.#bits[slot] = this.#bits[slot]! | SENT_BIT;
  }

  /** Whether the store has let the delivery go of its own accord (it expired there); the copy here goes its way. */
  isGone(offset: number): boolean {
    return (this.#bits[this.#slot(offset)]! & GONE_BIT) !== 0;
  }

  setGone(offset: number): void {
    const slot = this.#slot(offset);
    this.#bits[slot] = this.#bits[slot]! | GONE_BIT;
  }

  /** PUBREC came, or comes from a store: the payload is no longer needed. Returns the message that the entry held. */
  setReceived(offset: number): MessageHandle {
    const slot = this.#slot(offset);
    this.#bits[slot] = (this.#bits[slot]! & ~STATE_MASK) | (DeliveryState.AWAIT_COMP << STATE_SHIFT);
    return this.takeMessage(offset);
  }

  /**
   * Finishes a delivery, sent or not, and moves base past what is finished. The caller has taken `message` and owns its release.
   */
  finish(offset: number): void {
    const slot = this.#slot(offset);
    const state = (this.#bits[slot]! & STATE_MASK) >> STATE_SHIFT;
    if (offset < this.sent && state !== DeliveryState.DONE) this.inflight--;
    this.#bits[slot] = DeliveryState.DONE << STATE_SHIFT;
    this.#message[slot] = NO_MESSAGE;
    this.#target[slot] = null;
    if (offset !== 0) return;
    let passed = 0;
    while (passed < this.count && this.state(passed) === DeliveryState.DONE) passed++;
    this.#head = (this.#head + passed) & (this.#capacity - 1);
    this.base += passed;
    this.#basePacketId = (this.#basePacketId + passed) % PACKET_IDENTIFIERS;
    this.count -= passed;
    this.sent = Math.max(0, this.sent - passed);
  }

  /** Starts a new connection: nothing counts as sent on it yet. */
  rewind(): void {
    this.sent = 0;
    this.inflight = 0;
  }

  /** Empties the log, which the caller has relieved of its messages, and goes on at `position`. */
  reset(position: number): void {
    this.base = position;
    this.#basePacketId = position % PACKET_IDENTIFIERS;
    this.count = 0;
    this.sent = 0;
    this.inflight = 0;
    this.#head = 0;
    this.#capacity = 0;
    this.#message = NO_INTS;
    this.#bits = NO_BITS;
    this.#target = [];
  }

  #slot(offset: number): number {
    return (this.#head + offset) & (this.#capacity - 1);
  }

  #grow(): void {
    const capacity = Math.max(CAPACITY_MIN, this.#capacity * 2);
    const message = new Int32Array(capacity);
    const bits = new Uint8Array(capacity);
    const target: (Target | null)[] = new Array(capacity).fill(null);
    for (let offset = 0; offset < this.count; offset++) {
      const slot = this.#slot(offset);
      message[offset] = this.#message[slot]!;
      bits[offset] = this.#bits[slot]!;
      target[offset] = this.#target[slot]!;
    }
    this.#message = message;
    this.#bits = bits;
    this.#target = target;
    this.#capacity = capacity;
    this.#head = 0;
  }
}

const NO_INTS = new Int32Array(0);
const NO_BITS = new Uint8Array(0);
