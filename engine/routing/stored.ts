// What the store tells the engine of its own accord: the watermark moved, something was let go, something is wrong.
import { GoneReason as Gone, type GoneReason, type StoreListener } from '../../storage/store.ts';
import { DropReason } from '../counters.ts';
import type { Connection } from '../sessions/connection.ts';
import { DeliveryState } from '../sessions/deliveries.ts';
import type { Session } from '../sessions/session.ts';
import type { Duty } from '../sessions/turn.ts';
import { releaseGated } from './answer.ts';
import { resumeIfFree } from './pressure.ts';
import { countQueued, pump } from './queue.ts';
import { retainedGone } from './retain.ts';
import type { Shard } from './shard.ts';

const REASONS: Readonly<Record<GoneReason, DropReason>> = {
  [Gone.EXPIRED]: DropReason.EXPIRED,
  [Gone.TRIMMED]: DropReason.QUEUE_FULL,
  [Gone.DAMAGED]: DropReason.DAMAGED,
};

export function storeListener(shard: Shard): StoreListener {
  const duty = new StoreDuty(shard);
  return {
    taken() {
      shard.turn.add(duty);
    },
    durable() {
      releaseGated(shard);
      if (shard.awaitingDurable.size > 0) sendDurable(shard);
      if (shard.waitingForStore.size > 0 && !shard.store.isBehind) resumePublishers(shard);
    },
    gone(stored, position, bytes, reason) {
      const session = shard.storedSessions.get(stored);
      if (session === undefined) return;
      shard.counters.dropped[REASONS[reason]]++;
      deliveryGone(shard, session, position, bytes);
    },
    retainedGone(number) {
      retainedGone(shard, number);
    },
    trouble(message) {
      shard.log.warn(message);
    },
  };
}

/** A delivery that is loaded here goes its way and is taken off the books when it is done; any other one is taken off now. */
function deliveryGone(shard: Shard, session: Session, position: number, bytes: number): void {
  const { deliveries } = session;
  const offset = position - deliveries.base;
  if (offset < 0) return;
  if (offset >= deliveries.count) countQueued(shard, session, -1, -bytes);
  else if (deliveries.state(offset) !== DeliveryState.DONE) deliveries.setGone(offset);
}

/** What waited for the watermark goes out. */
function sendDurable(shard: Shard): void {
  const { durable } = shard.store;
  for (const session of shard.awaitingDurable) {
    const moved = session.durable.moved(durable);
    const isJoining = session.joined > durable;
    if (!session.durable.isWaiting && !isJoining) shard.awaitingDurable.delete(session);
    if (moved || !isJoining) pump(shard, session);
  }
}

/** The store is far behind: this publisher is not read from until it has caught up. */
export function holdForStore(shard: Shard, publisher: Connection): void {
  if (shard.waitingForStore.has(publisher) || !publisher.link.pause()) return;
  shard.counters.pauses++;
  shard.waitingForStore.add(publisher);
}

function resumePublishers(shard: Shard): void {
  for (const publisher of shard.waitingForStore) {
    shard.waitingForStore.delete(publisher);
    if (publisher.isOpen) resumeIfFree(shard, publisher);
  }
}

/** Passes intents on at the end of a turn, and once a turn only. */
class StoreDuty implements Duty {
  due = false;
  readonly #shard: Shard;

  constructor(shard: Shard) {
    this.#shard = shard;
  }

  endTurn(): void {
    this.#shard.store.flush();
  }
}
