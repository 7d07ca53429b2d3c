// HOT: no allocation, closures, strings, try or async per message.
// The queue of one session on its way out: what the window and the outbox allow, in order. The same loop serves
// the ordinary case, a drained receiver, and a resumed session, where what was sent before goes out again first with DUP and its
// old packet identifier [MQTT-4.4.0-1].
import { PacketType, Reason } from '../../protocol/packet.ts';
import { type MessageView, NO_BYTES } from '../../protocol/publish.ts';
import type { DeliverySink } from '../../storage/store.ts';
import { DropReason } from '../counters.ts';
import type { Rights } from '../gate.ts';
import { type MessageHandle, NO_MESSAGE } from '../memory/messages.ts';
import type { Connection } from '../sessions/connection.ts';
import { DeliveryState } from '../sessions/deliveries.ts';
import type { Session } from '../sessions/session.ts';
import { type Target, targetFor } from '../sessions/target.ts';
import { answer } from './answer.ts';
import { isOverMark } from './pressure.ts';
import { sendPublish } from './send.ts';
import type { Shard } from './shard.ts';

/** Deliveries of a stored session that are kept in memory ahead of the window; the rest lies in the store. */
export const LOADED_MAX = 4_096;
/** Fewer than this waiting in memory: more is read from the store. */
const REFILL_BELOW = 2_048;

/** Sends what can be sent now. */
export function pump(shard: Shard, session: Session): void {
  const { deliveries, connection } = session;
  if (connection === null || !connection.isOpen) return;
  while (deliveries.sent < deliveries.count && !isOverMark(shard, connection)) {
    const state = deliveries.state(deliveries.sent);
    if (state === DeliveryState.DONE) {
      deliveries.pass();
    } else if (state === DeliveryState.AWAIT_COMP) {
      // The PUBREC may have come a moment ago on the connection before, and the store may not have made it durable yet.
      const sequence = session.stored === 0 ? 0 : shard.store.sequence;
      answer(shard, connection, PacketType.PUBREL, deliveries.packetId(deliveries.sent), Reason.SUCCESS, sequence);
      deliveries.pass();
    } else if (deliveries.canSend(connection.sendQuota) && mayLeave(session)) {
      sendNext(shard, session, connection);
    } else {
      break;
    }
  }
  if (!session.loaded && !session.reading && deliveries.count - deliveries.sent < REFILL_BELOW) refill(shard, session);
}

/** Whether the next delivery may go out as far as the store is concerned: QoS 2 only when it is durable. */
function mayLeave({ deliveries, stored, durable }: Session): boolean {
  const offset = deliveries.sent;
  return stored === 0 || deliveries.qos(offset) !== 2 || deliveries.base + offset < durable.position;
}

function sendNext(shard: Shard, session: Session, connection: Connection): void {
  const { deliveries } = session;
  const { outbound } = shard;
  const offset = deliveries.sent;
  if (!shard.messages.view(deliveries.message(offset), outbound)) {
    finishDelivery(shard, session, offset);
    return;
  }
  const dup = deliveries.wasSent(offset) ? 1 : 0; // [MQTT-3.3.1-1]
  if (outbound.expiresAtMs !== Infinity && dup === 0 && outbound.expiresAtMs <= shard.clock.keptMs()) {
    shard.counters.dropped[DropReason.EXPIRED]++; // [MQTT-3.3.2-5]
    finishDelivery(shard, session, offset);
    return;
  }
  const target = deliveries.target(offset)!;
  if (shard.rights !== null && !mayReceive(shard, shard.rights, session, target, outbound)) {
    shard.counters.dropped[DropReason.NOT_AUTHORIZED]++;
    finishDelivery(shard, session, offset);
    return;
  }
  deliveries.send();
  const qos = deliveries.qos(offset);
  const packetId = deliveries.packetId(offset);
  if (!sendPublish(shard, connection, outbound, qos, deliveries.retain(offset), dup, packetId, target.subscriptionIds, false)) {
    finishDelivery(shard, session, offset); // [MQTT-3.1.2-25]
  } else if (session.stored === 0 && target.group < 0) {
    releaseQueued(shard, session, deliveries.takeMessage(offset)); // it cannot be needed again
  }
}

/** Whether the session may still be sent the message. A target is of one topic, so it is judged once, until rights or principal are others. */
function mayReceive(shard: Shard, rights: Rights, session: Session, target: Target, view: MessageView): boolean {
  const { principal } = session;
  if (target.judgedBy === rights && target.judgedFor === principal) return true;
  if (!shard.routes.mayReceive(session.handle, view.topic, view.topicFrom, view.topicTo)) return false;
  target.judgedBy = rights;
  target.judgedFor = principal;
  return true;
}

/** What a queued message counts for: topic name, properties and payload. */
export function queueBytes(view: MessageView): number {
  return view.topicTo - view.topicFrom + view.propertiesTo - view.propertiesFrom + view.payloadTo - view.payloadFrom;
}

/** Books `messages` and `bytes` of a session's queue, up or down. */
export function countQueued(shard: Shard, session: Session, messages: number, bytes: number): void {
  session.queuedMessages += messages;
  session.queuedBytes += bytes;
  shard.queuedMessages += messages;
  shard.queuedBytes += bytes;
}

/** Finishes a delivery wherever it stands: the log, the slab, the store and the counts let go of it. */
export function finishDelivery(shard: Shard, session: Session, offset: number): void {
  const { deliveries } = session;
  if (session.stored !== 0) shard.store.dropDelivery(session.stored, deliveries.base + offset);
  const message = deliveries.message(offset);
  deliveries.finish(offset);
  releaseQueued(shard, session, message);
}

/** Gives the copy of a delivery back and takes it off the books. */
export function releaseQueued(shard: Shard, session: Session, message: MessageHandle): void {
  if (message === NO_MESSAGE) return;
  if (shard.messages.view(message, shard.released)) countQueued(shard, session, -1, -queueBytes(shard.released));
  shard.messages.release(message);
}

/** Reads the next deliveries of a stored session into memory. */
function refill(shard: Shard, session: Session): void {
  // What goes out counts as sent after a crash only if the store knows by then that the client was connected [MQTT-3.3.1-1].
  if (session.joined > shard.store.durable) {
    shard.awaitingDurable.add(session);
    return;
  }
  session.reading = true;
  const { deliveries } = session;
  const from = deliveries.base + deliveries.count;
  shard.store.read(session.stored, from, LOADED_MAX - (deliveries.count - deliveries.sent), new Refill(shard, session));
}

/** Appends what the store gives to the session's log; a session that ended or was unloaded meanwhile takes nothing. */
class Refill implements DeliverySink {
  readonly #shard: Shard;
  readonly #session: Session;
  readonly #connection: Connection | null;

  constructor(shard: Shard, session: Session) {
    this.#shard = shard;
    this.#session = session;
    this.#connection = session.connection;
  }

  delivery(position: number, bits: number, subscriptionIds: Uint8Array, received: boolean, message: MessageView | null): void {
    if (!this.#wanted()) return;
    const { deliveries } = this.#session;
    while (deliveries.base + deliveries.count < position) deliveries.skip();
    const copy = message === null ? NO_MESSAGE : this.#shard.messages.add(message);
    const offset = deliveries.append(copy, bits, storedTarget(this.#session, subscriptionIds));
    if (received) deliveries.setReceived(offset);
    else if (position < this.#session.sentBefore) deliveries.setSent(offset);
  }

  end(next: number): void {
    if (!this.#wanted()) return;
    const session = this.#session;
    const { deliveries } = session;
    const upTo = Math.min(next, session.tail);
    while (deliveries.base + deliveries.count < upTo) deliveries.skip();
    session.reading = false;
    pump(this.#shard, session);
  }

  #wanted(): boolean {
    return this.#connection !== null && this.#session.connection === this.#connection;
  }
}

function storedTarget(session: Session, subscriptionIds: Uint8Array): Target {
  return targetFor(session.handle, 0, subscriptionIds.length === 0 ? NO_BYTES : subscriptionIds.slice());
}
