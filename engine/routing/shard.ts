// A shard owns its connections and sessions outright: everything that the handlers of a packet need, in one place. Handlers
// are free functions that take the shard first. The order of the end of a turn is the durability argument:
//
//   1. what was parsed in the turn has become intents of the store, in order;
//   2. answers whose intents are durable are written (`releaseGated`), the rest wait for the watermark;
//   3. outboxes go to their links, one write each.
//
// So no acknowledgement can reach the kernel before the intents behind it are durable.

import { AckView } from '../../protocol/ack.ts';
import type { Limits } from '../../protocol/limits.ts';
import { Properties } from '../../protocol/properties.ts';
import { MessageView, PublishHop } from '../../protocol/publish.ts';
import type { Store } from '../../storage/store.ts';
import type { Clock } from '../clock.ts';
import type { Counters } from '../counters.ts';
import type { Authenticator, ExchangeMethods, Rights } from '../gate.ts';
import type { Log } from '../log.ts';
import { BlockPool } from '../memory/blocks.ts';
import { FramerPool } from '../memory/framers.ts';
import { type MessageHandle, MessageSlab } from '../memory/messages.ts';
import type { Random } from '../random.ts';
import type { Connection } from '../sessions/connection.ts';
import type { QueueOverflow, Session } from '../sessions/session.ts';
import { SessionTable } from '../sessions/table.ts';
import { Turn } from '../sessions/turn.ts';
import { TimerWheel } from '../timers.ts';
import { RetainedIndex } from '../topics/retained.ts';
import { SubscriptionTrie } from '../topics/trie.ts';
import { ReplayTurn } from './replay.ts';
import { RouteTable } from './route.ts';
import { PublishRun } from './run.ts';

/** What the broker offers, as CONNACK announces it (MQTT 5.0 §3.2.2.3). */
export interface Offers {
  readonly maximumQos: 0 | 1 | 2;
  readonly retainAvailable: boolean;
  readonly wildcardSubscriptions: boolean;
  readonly sharedSubscriptions: boolean;
  /** Prefix of the Response Information; empty for none. */
  readonly responseInformation: string;
  /** Server Reference sent when the broker stops; empty for none. */
  readonly serverReference: string;
  /** Session expiry in seconds of MQTT 3 sessions that are not clean. */
  readonly v3ExpiryS: number;
}

/** The seams and settings that a shard is built from. */
export interface ShardParts {
  readonly limits: Limits;
  readonly offers: Offers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly store: Store;
  readonly authenticator: Authenticator;
  readonly exchanges: ExchangeMethods | null;
  /** Null: everything is allowed. */
  readonly rights: Rights | null;
  /** What happens to a full queue, by the listener that its session came to; refuse where there is none. */
  readonly overflows?: ReadonlyMap<string, QueueOverflow>;
}

export class Shard {
  readonly limits: Limits;
  readonly offers: Offers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly store: Store;
  readonly authenticator: Authenticator;
  readonly exchanges: ExchangeMethods | null;
  readonly rights: Rights | null;
  readonly overflows: ReadonlyMap<string, QueueOverflow>;

  readonly blocks = new BlockPool();
  readonly framers = new FramerPool(this.blocks);
  readonly messages = new MessageSlab();
  readonly turn: Turn;
  readonly timers: TimerWheel;
  readonly sessions: SessionTable;
  readonly trie: SubscriptionTrie;
  readonly routes: RouteTable;
  readonly retained: RetainedIndex;
  readonly replayTurn: ReplayTurn;
  readonly connections = new Set<Connection>();
  /** Connections with answers that wait for the store. */
  readonly gated = new Set<Connection>();
  /** Sessions with messages that wait for the watermark. */
  readonly awaitingDurable = new Set<Session>();
  stopping = false;
  nextStored = 1;
  /** Sessions that the store keeps, by their number there. */
  readonly storedSessions = new Map<number, Session>();
  nextRetained = 1;
  /** Retained messages that the store keeps, by their number there. */
  readonly retainedByNumber = new Map<number, MessageHandle>();
  /** Publishers that are not read from until the store has caught up. */
  readonly waitingForStore = new Set<Connection>();
  sharedSubscriptions = 0;
  /** Bytes of topic filters and wills. */
  sessionBytes = 0;
  queuedMessages = 0;
  queuedBytes = 0;
  retainedBytes = 0;

  // Scratch of the packet under way; nothing keeps a reference to it.
  readonly inbound = new MessageView();
  readonly outbound = new MessageView();
  readonly released = new MessageView();
  readonly replayed = new MessageView();
  readonly hop = new PublishHop();
  readonly properties = new Properties();
  readonly ack = new AckView();
  readonly run = new PublishRun();
  propertyScratch = new Uint8Array(65_536);

  constructor(parts: ShardParts) {
    this.limits = parts.limits;
    this.offers = parts.offers;
    this.clock = parts.clock;
    this.random = parts.random;
    this.log = parts.log;
    this.counters = parts.counters;
    this.store = parts.store;
    this.authenticator = parts.authenticator;
    this.exchanges = parts.exchanges;
    this.rights = parts.rights;
    this.overflows = parts.overflows ?? new Map();
    this.turn = new Turn(parts.clock);
    this.timers = new TimerWheel(parts.clock);
    this.sessions = new SessionTable(parts.limits.sessionsMax);
    this.trie = new SubscriptionTrie({
      nodesMax: parts.limits.trieNodesMax,
      subscriptionsMax: parts.limits.trieSubscriptionsMax,
      seed: drawSeed(parts.random), // so that nobody can prepare filters that collide
    });
    this.routes = new RouteTable(this.trie, this.sessions, parts.limits, parts.rights);
    this.retained = new RetainedIndex(parts.limits.retainedMessagesMax, undefined, drawSeed(parts.random));
    this.replayTurn = new ReplayTurn(this);
  }
}

function drawSeed(random: Random): number {
  return Buffer.from(random.bytes(4)).readInt32LE(0);
}
