// QoS 2 from one shard to others, across a crash. The publisher's shard makes the packet identifier durable, other shards make the message durable for their receivers, each by a ring of its
// own: a kill between the two would lose the message, because the publisher that sends it again is told that it is here (MQTT 5.0 §4.3.3). So the shard keeps the message too, in one commit with
// the identifier, as a *transfer*: until the others have it. Each of them *marks* the transfer in one commit with what it stored. A start finds what was on its way, and gives it to those who have
// no mark (resume.ts). It costs one more write of the message in the same commit, and its erasure with the next.
//
// For the store transfers are a session's queue, and marks another one's packet identifiers (its inbound set): sessions with names that no client can have, one of each kind for a shard, made when they are first
// needed. The identifiers of a delivery hold the parts: what goes to which shard, and for whom.
import { Packr } from 'msgpackr/pack';
import type { MessageView } from '../../protocol/publish.ts';
import type { Connection } from '../sessions/connection.ts';
import { deliveryBits } from '../sessions/deliveries.ts';
import { SESSION_NEVER_EXPIRES, Session, type SessionHandle } from '../sessions/session.ts';
import { SubscriptionOption, type Target } from '../sessions/target.ts';
import { fanOut } from './fan-out.ts';
import { packSession } from './record.ts';
import type { Shard } from './shard.ts';

const packr = new Packr({ useRecords: false, mapsAsObjects: true, variableMapSize: true });

/** What one shard gets of a transfer: for a session by its number in the store, or, by 0, the retained message of the topic. */
export type TransferPart = readonly [shard: number, stored: number, bits: number, subscriptionIds: Uint8Array];
type TransferRecord = readonly [number: number, parts: readonly TransferPart[]];

/** The transfers of one shard to the others, and its marks of theirs. */
export class Transfers {
  /** Session in the store whose queue they are; 0 until the first. */
  stored = 0;
  /** Number of the next one. */
  next = 1;
  /** Position of the next one that is kept, in the queue. */
  tail = 0;
  /** Those with numbers below are over, durably. */
  floor = 0;
  /** Those that are not settled, in order, with their tickets. */
  readonly open: { readonly number: number; readonly position: number; readonly ticket: number }[] = [];
  /** Those that were dropped by an intent that may not be durable. */
  readonly dropped: { readonly number: number; readonly sequence: number }[] = [];
  readonly marks: readonly Marks[];

  constructor(shards: number) {
    this.marks = Array.from({ length: shards }, () => new Marks());
  }

  /** Sessions that are none: made for the store's sake. */
  get sessions(): number {
    let sessions = this.stored === 0 ? 0 : 1;
    for (const { stored } of this.marks) if (stored !== 0) sessions++;
    return sessions;
  }
}

/** The transfers of one other shard that this one has. */
class Marks {
  /** Session in the store whose identifiers they are; 0 until the first. */
  stored = 0;
  readonly kept: number[] = [];
}

/** Whether the message under way is one that must not be lost between two shards: of QoS 2, from a client whose identifiers are stored. */
function isTransferred(shard: Shard, publisher: Connection | null, view: MessageView): boolean {
  return (
    shard.transfers !== null &&
    view.qos === 2 &&
    publisher !== null &&
    publisher.session !== null &&
    publisher.session.stored !== 0
  );
}

/** What a shard is to serve of the message under way: the number of its transfer, or -1 where none of the receivers would outlive a crash. */
export function transferTo(
  shard: Shard,
  publisher: Connection | null,
  view: MessageView,
  to: number,
  targets: readonly Target[],
): number {
  if (!isTransferred(shard, publisher, view)) return -1;
  let any = false;
  for (let i = 0; i < targets.length; i++) {
    const { options, subscriber, subscriptionIds } = targets[i]!;
    const qos = Math.min(view.qos, options & SubscriptionOption.QOS_MASK);
    const stored = qos === 0 ? 0 : shard.peers!.roster.stored(subscriber);
    if (stored === 0) continue;
    const retain = (options & SubscriptionOption.RETAIN_AS_PUBLISHED) === 0 ? 0 : view.retain;
    addPart(shard, [to, stored, deliveryBits(qos, retain), subscriptionIds]);
    any = true;
  }
  return any ? fanOut.transfer : -1;
}

/** The first shard is to keep the message under way as its topic's retained one: the number of its transfer, or -1. */
export function transferRetained(shard: Shard, publisher: Connection | null, view: MessageView): number {
  if (!isTransferred(shard, publisher, view)) return -1;
  addPart(shard, [0, 0, deliveryBits(view.qos, 1), NO_BYTES]);
  return fanOut.transfer;
}

function addPart(shard: Shard, part: TransferPart): void {
  if (fanOut.transfer < 0) fanOut.transfer = shard.transfers!.next++;
  fanOut.parts.push(part);
}

/** Keeps the message under way until the other shards have it; in the same turn its identifier is stored. */
export function keepTransfer(shard: Shard, view: MessageView): void {
  const { store } = shard;
  const transfers = shard.transfers!;
  if (fanOut.stored === 0) fanOut.stored = store.putMessage(view);
  if (fanOut.stored < 0) return;
  if (transfers.stored === 0) transfers.stored = makeSession(shard, `${TRANSFERS}${shard.peers!.index}`);
  const { transfer: number, ticket, parts } = fanOut;
  const position = transfers.tail++;
  const record: TransferRecord = [number, parts];
  store.addDelivery(transfers.stored, position, fanOut.stored, deliveryBits(view.qos, view.retain), packr.pack(record));
  transfers.open.push({ number, position, ticket });
}

/** Lets go of the transfers that the others have. */
export function endTransfers(shard: Shard): void {
  const { open, dropped, stored } = shard.transfers!;
  const { store } = shard;
  const { tickets } = shard.peers!;
  while (open.length > 0 && tickets.isSettled(open[0]!.ticket)) {
    const { number, position } = open.shift()!;
    store.dropDelivery(stored, position);
    dropped.push({ number, sequence: store.sequence });
  }
  while (dropped.length > 0 && dropped[0]!.sequence <= store.written) shard.transfers!.floor = dropped.shift()!.number + 1;
}

/**
 * Marks a transfer of another shard, or of this one, right behind what it has brought into the store: for one session, or by 0 for all that it names. One that waits for a session is marked
 * for the others meanwhile.
 */
export function markTransfer(shard: Shard, from: number, transfer: number, stored: number): void {
  if (shard.transfers === null) return;
  const marks = shard.transfers.marks[from]!;
  if (marks.stored === 0) marks.stored = makeSession(shard, `${MARKS}${from} ${shard.peers!.index}`);
  // A mark that is durable says that the transfer was: else its publisher would send the message again, as one that nobody knows.
  if (from !== shard.peers!.index) shard.store.dependsOn(from);
  const mark = markOf(transfer, stored);
  shard.store.addInbound(marks.stored, mark);
  marks.kept.push(mark);
}

/** The transfers below are over, durably: their marks are not needed any more. */
export function unmarkTransfers(shard: Shard, from: number, floor: number): void {
  if (shard.transfers === null) return;
  const { kept, stored } = shard.transfers.marks[from]!;
  while (kept.length > 0 && kept[0]! < markOf(floor, 0)) shard.store.dropInbound(stored, kept.shift()!);
}

/** A mark as a number: the transfer's, and what can be told of the session's. */
export function markOf(transfer: number, stored: number): number {
  return transfer * MARK_SESSIONS + (stored % MARK_SESSIONS);
}

/** With it transfers may count to 2^29 until the next start. */
const MARK_SESSIONS = 2 ** 24;

/** Whether a stored session is one of these, and which: a client's identifier has no U+0000 (MQTT 5.0 §1.5.4). */
export function hiddenSession(clientId: string): HiddenSession | null {
  if (clientId.startsWith(TRANSFERS)) return { kind: 'transfers', from: Number(clientId.slice(TRANSFERS.length)), to: -1 };
  if (!clientId.startsWith(MARKS)) return null;
  const [from, to] = clientId.slice(MARKS.length).split(' ').map(Number);
  return { kind: 'marks', from: from!, to: to! };
}

export interface HiddenSession {
  readonly kind: 'transfers' | 'marks';
  readonly from: number;
  readonly to: number;
}

/** What the identifiers of a transfer's delivery hold. */
export function unpackTransfer(bytes: Uint8Array): TransferRecord {
  return packr.unpack(bytes) as TransferRecord;
}

function makeSession(shard: Shard, name: string): number {
  const number = shard.nextStored;
  shard.nextStored += shard.storedStep;
  const session = new Session(0 as SessionHandle, name);
  session.expiryS = SESSION_NEVER_EXPIRES;
  shard.store.putSession(number, packSession(session), false);
  return number;
}

const TRANSFERS = '\u0000transfers ';
const MARKS = '\u0000marks ';
const NO_BYTES = new Uint8Array(0);
