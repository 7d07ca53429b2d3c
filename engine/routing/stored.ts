// What the store tells the engine of its own accord: the watermark moved, something was let go, something is wrong.
import type { StoreListener } from '../../storage/store.ts';
import type { Connection } from '../sessions/connection.ts';
import type { Duty } from '../sessions/turn.ts';
import { tellOthers } from './control.ts';
import { onGone } from './gone.ts';
import { resumeIfFree } from './pressure.ts';
import { pump } from './queue.ts';
import { releaseGated } from './release.ts';
import { retainedGone } from './retain.ts';
import type { Shard } from './shard.ts';

export function storeListener(shard: Shard): StoreListener {
  const duty = new StoreDuty(shard);
  return {
    taken() {
      shard.turn.add(duty);
    },
    durable() {
      releaseGated(shard);
      if (shard.awaitingDurable.size > 0) sendDurable(shard);
      // What was taken from other shards may be settled now, and sessions may be ready to go.
      if (shard.peers !== null) shard.turn.ask();
      if (shard.waitingForStore.size > 0 && !shard.store.isBehind) resumePublishers(shard);
    },
    gone(stored, position, bytes, reason) {
      if (onGone(shard, stored, position, bytes, reason) || shard.peers === null) return;
      tellOthers(shard, { kind: 'gone', stored, position, bytes, reason });
    },
    retainedGone(number) {
      retainedGone(shard, number);
    },
    trouble(message) {
      shard.log.warn(message);
    },
  };
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
