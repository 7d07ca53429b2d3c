// Messages for a session that is on its way to this shard. The roster names the next host before the session's last host gives it away, so messages come here before the
// session does; those that went to the last host come with it. What came here waits in order and goes in once the session is here: nothing is lost, nothing comes
// twice, and each publisher's messages keep their order.
//
// QoS 0 does not wait: the session has no connection now.
import type { MessageView } from '../../protocol/publish.ts';
import { type MessageHandle, NO_MESSAGE } from '../memory/messages.ts';
import { Letter } from '../peers/letter.ts';
import { NO_TICKET, Refusal } from '../peers/tickets.ts';
import type { Connection } from '../sessions/connection.ts';
import { SubscriptionOption, type Target } from '../sessions/target.ts';
import { fanOut } from './fan-out.ts';
import { sendNotice } from './notice.ts';
import { refuseTicket } from './refused.ts';
import { ticketFor } from './remote.ts';
import type { Shard } from './shard.ts';
import { transferTo } from './transfer.ts';

/** A message whose acknowledgement waits for receivers that are not here yet. */
export interface Later {
  /** Shard that sent it, or -1: a client of this one did, and `number` is its ticket. */
  readonly from: number;
  readonly number: number;
  /** Receivers that are not here yet. */
  waiting: number;
  refusal: Refusal;
  /** Its transfer there (transfer.ts); -1 for none. */
  readonly transfer: number;
}

/** A message that waits for a session. */
interface Held {
  readonly message: MessageHandle;
  readonly target: Target;
  /** Null: nobody waits for an answer. */
  readonly later: Later | null;
}

/** What waits for one session. */
export type HeldList = Held[];

/** Keeps the message under way for a session that is on its way here; drops it when the session has ended. */
export function holdForArrival(shard: Shard, publisher: Connection | null, view: MessageView, target: Target): void {
  const peers = shard.peers!;
  const qos = Math.min(view.qos, target.options & SubscriptionOption.QOS_MASK);
  if (qos === 0 || peers.roster.owner(target.subscriber) !== peers.index) return;
  fanOut.matched++;
  if (fanOut.message === NO_MESSAGE) fanOut.message = shard.messages.add(view);
  shard.messages.retain(fanOut.message);
  const isFirst = fanOut.later === null;
  const later = laterOf(shard, publisher, view, target);
  if (later !== null) later.waiting++;
  if (later !== null && later.from < 0 && !isFirst) transferTo(shard, publisher, view, peers.index, [target]);
  const held = shard.held.get(target.subscriber);
  const own = { message: fanOut.message, target, later };
  if (held === undefined) shard.held.set(target.subscriber, [own]);
  else held.push(own);
}

/** Settles what has become durable of the messages that waited. */
export function settleLaters(shard: Shard): boolean {
  const { laters } = shard;
  const { durable } = shard.store;
  let any = false;
  while (laters.length > 0 && laters[0]!.sequence <= durable) {
    const { from, number, refusal } = laters.shift()!.later;
    any = true;
    if (from >= 0) {
      if (refusal !== Refusal.NONE) sendNotice(shard, from, Letter.REFUSED, 0, refusal, number);
      sendNotice(shard, from, Letter.SETTLED, 0, 0, number);
    } else {
      refuseTicket(shard, number, refusal);
      shard.peers!.tickets.done(number);
    }
  }
  return any;
}

/** Whether a refusal came from the store: one who knows no negative answer must not be told that all went well then. */
export function refusalOf(shard: Shard): Refusal {
  return fanOut.stored < 0 || shard.store.isRefusing ? Refusal.STORE : Refusal.QUEUE;
}

function laterOf(shard: Shard, publisher: Connection | null, view: MessageView, target: Target): Later | null {
  if (fanOut.later !== null || view.qos === 0) return fanOut.later;
  const { source } = shard;
  const peers = shard.peers!;
  if (source === null) {
    const ticket = ticketFor(shard, publisher, view);
    if (ticket === NO_TICKET) return null;
    peers.tickets.hold(ticket);
    // One number for all receivers of this shard that the message waits for.
    const transfer = transferTo(shard, publisher, view, peers.index, [target]);
    fanOut.later = { from: -1, number: ticket, waiting: 0, refusal: Refusal.NONE, transfer };
  } else if (source.number !== 0) {
    sendNotice(shard, source.shard, Letter.LATER, 0, 0, source.number);
    const { shard: from, number, transfer } = source;
    fanOut.later = { from, number, waiting: 0, refusal: Refusal.NONE, transfer };
  }
  return fanOut.later;
}
