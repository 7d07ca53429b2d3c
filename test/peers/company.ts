// Several shards in one thread over one fabric, each with a clock, a store and a transport of its own that a test drives step by step: what happens
// between them, and in which order, follows from the calls and the seed alone.
import { Counters } from '../../engine/counters.ts';
import type { Rights } from '../../engine/gate.ts';
import { silentLog } from '../../engine/log.ts';
import { type MemoryListener, memoryListener } from '../../engine/network/memory.ts';
import type { MemoryPeer } from '../../engine/network/memory-link.ts';
import { allocateFabric, type Fabric } from '../../engine/peers/fabric.ts';
import { Peers } from '../../engine/peers/peers.ts';
import { onControl } from '../../engine/routing/administer.ts';
import { exchange, poll } from '../../engine/routing/arrive.ts';
import { Shard } from '../../engine/routing/shard.ts';
import { acceptLink } from '../../engine/routing/sink.ts';
import { storeListener } from '../../engine/routing/stored.ts';
import type { Limits } from '../../protocol/limits.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { allocateRing } from '../../storage/ring.ts';
import type { Store } from '../../storage/store.ts';
import { SeededRandom } from '../seeded-random.ts';
import { roomy } from '../sessions/shard.ts';
import { LaggingStore } from '../storage/lagging-store.ts';
import { VirtualClock } from '../virtual-clock.ts';

export interface CompanyOptions {
  readonly count?: number;
  readonly seed?: number;
  /** Bytes of each ring; the real size where it is not given. */
  readonly ringBytes?: number;
  readonly limits?: Partial<Limits>;
  readonly store?: 'memory' | 'lagging';
  readonly rights?: Rights;
  /** Bytes of a direction of a link. */
  readonly kernelBytes?: number;
}

export interface Member {
  readonly shard: Shard;
  readonly clock: VirtualClock;
  readonly store: Store;
  readonly listener: MemoryListener;
}

const ROUNDS_MAX = 100_000;
const IDLE_ROUNDS_MAX = 10;
/** What is done in a round of one shard. */
const DOINGS = ['sockets', 'turn', 'poll'] as const;

export class Company {
  readonly members: readonly Member[];
  readonly fabric: Fabric;

  constructor(options: CompanyOptions = {}) {
    const { count = 3, seed = 1, ringBytes, store = 'memory' } = options;
    const limits: Limits = { ...roomy, ...options.limits };
    const fabric = allocateFabric(count, limits.sessionsMax, limits.connectionsMax);
    this.fabric =
      ringBytes === undefined ? fabric : { ...fabric, rings: fabric.rings.map((ring) => ring && allocateRing(ringBytes)) };
    const members: Member[] = [];
    for (let index = 0; index < count; index++) {
      const clock = new VirtualClock();
      const own = store === 'memory' ? new MemoryStore() : new LaggingStore();
      const shard = new Shard({
        limits,
        offers: {
          maximumQos: 2,
          retainAvailable: true,
          wildcardSubscriptions: true,
          sharedSubscriptions: true,
          takeover: 'same_user',
          responseInformation: '',
          serverReference: '',
          v3ExpiryS: 600,
        },
        clock,
        random: new SeededRandom(seed + index),
        log: silentLog,
        counters: new Counters(),
        store: own,
        authenticator: { authenticate: ({ username }) => ({ ok: true, username }) },
        exchanges: null,
        rights: options.rights ?? null,
        peers: new Peers(this.fabric, index, clock),
        ...(index === 0 ? {} : { trie: members[0]!.shard.trie.memory }),
      });
      own.listener = storeListener(shard);
      own.expire(clock.wallMs());
      shard.ownControl.handle = (control) => onControl(shard, control);
      shard.turn.after = () => exchange(shard);
      shard.nextStored = index + 1;
      const listener = memoryListener((link) => acceptLink(shard, link), {
        clock,
        drive: 'steps',
        ...(options.kernelBytes === undefined ? {} : { kernelBytes: options.kernelBytes }),
      });
      members.push({ shard, clock, store: own, listener });
    }
    this.members = members;
  }

  connect(shard: number): MemoryPeer {
    return this.members[shard]!.listener.connect();
  }

  /** One doing of one shard. */
  step(random: SeededRandom): void {
    const member = this.members[random.below(this.members.length)]!;
    doOne(member, DOINGS[random.below(DOINGS.length)]!);
    if (random.below(4) === 0 && member.store instanceof LaggingStore) member.store.commit();
  }

  /** All that can be done, until there is nothing; stores become durable. */
  settle(): void {
    let idle = 0;
    for (let rounds = 0; idle < IDLE_ROUNDS_MAX; rounds++) {
      limit(rounds);
      if (this.#round(this.members)) idle = 0;
      else if (!this.members.some(({ shard }) => shard.peers!.hasWork)) return;
      else idle++; // what was moved out of a spill is no work for the one who moved it
    }
    throw new Error('a shard sees work and does not do it');
  }

  /** The same, while the other shards do nothing. */
  settleAlone(...indices: number[]): void {
    const members = indices.map((index) => this.members[index]!);
    for (let rounds = 0; this.#round(members); rounds++) limit(rounds);
  }

  #round(members: readonly Member[]): boolean {
    let worked = false;
    for (const member of members) {
      for (const doing of DOINGS) if (doOne(member, doing)) worked = true;
      if (member.store instanceof LaggingStore && member.store.commit()) worked = true;
    }
    return worked;
  }

  advance(ms: number): void {
    for (const { clock, store } of this.members) {
      while (clock.endTurn());
      clock.advance(ms);
      store.expire(clock.wallMs());
    }
  }

  /** What the shards still hold, by name; everything is 0 when all sessions have ended. */
  books(): Record<string, number> {
    const sum = (figure: (shard: Shard, store: Store) => number) =>
      this.members.reduce((total, { shard, store }) => total + figure(shard, store), 0);
    return {
      connections: sum(({ connections }) => connections.size),
      sessions: sum(({ sessions }) => sessions.count),
      directory: this.members[0]!.shard.directory!.count,
      subscriptions: this.members[0]!.shard.trie.subscriptions,
      sharedSubscriptions: sum(({ sharedSubscriptions }) => sharedSubscriptions),
      storedSessions: sum(({ storedSessions }) => storedSessions.size),
      queuedMessages: sum(({ queuedMessages }) => queuedMessages),
      queuedBytes: sum(({ queuedBytes }) => queuedBytes),
      sessionBytes: sum(({ sessionBytes }) => sessionBytes),
      held: sum(({ held }) => held.size),
      laters: sum(({ laters }) => laters.length),
      lateTickets: sum(({ lateTickets }) => lateTickets.size),
      tickets: sum(({ peers }) => peers!.tickets.open),
      claimants: sum(({ claimants }) => claimants.size),
      departures: sum(({ departures }) => departures.length),
      moving: sum(({ moving }) => moving.size),
      fences: sum(({ fences }) => fences.open.size),
      publishers: sum(({ publishers }) => publishers.size),
      waitingForPeers: sum(({ waitingForPeers }) => waitingForPeers.size),
      gated: sum(({ gated }) => gated.size),
      spilled: sum(({ peers }) => peers!.senders.reduce((bytes, sender) => bytes + (sender?.spilledBytes ?? 0), 0)),
      slab: sum(({ messages, retained }) => messages.count - retained.count),
      storedMessages: sum((_, store) => store.held().messages),
      storedSessionRecords: sum((_, store) => store.held().sessions),
    };
  }
}

function limit(rounds: number): void {
  if (rounds > ROUNDS_MAX) throw new Error('the rounds do not end');
}

function doOne({ listener, clock, shard }: Member, doing: (typeof DOINGS)[number]): boolean {
  if (doing === 'sockets') return listener.step();
  return doing === 'turn' ? clock.endTurn() : poll(shard);
}
