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
import { Admission } from '../admission.ts';
import type { Clock } from '../clock.ts';
import type { Counters } from '../counters.ts';
import type { Authenticator, ExchangeMethods, LoginGuard, Rights } from '../gate.ts';
import type { Log } from '../log.ts';
import { BlockPool } from '../memory/blocks.ts';
import { FramerPool } from '../memory/framers.ts';
import { type MessageHandle, MessageSlab } from '../memory/messages.ts';
import { Directory } from '../peers/directory.ts';
import { Gauge } from '../peers/gauges.ts';
import type { Peers } from '../peers/peers.ts';
import { allocateTallies, Tallies } from '../peers/tallies.ts';
import type { Random } from '../random.ts';
import type { Connection, Replay } from '../sessions/connection.ts';
import type { QueueOverflow, Session } from '../sessions/session.ts';
import { SessionTable } from '../sessions/table.ts';
import type { Tracer } from '../sessions/tracer.ts';
import { Turn } from '../sessions/turn.ts';
import { TimerWheel } from '../timers.ts';
import { RetainedIndex } from '../topics/retained.ts';
import { SubscriptionTrie, type TrieMemory } from '../topics/trie.ts';
import { Ceilings } from './ceilings.ts';
import type { Claimant } from './claim.ts';
import { OwnControl, sendControl } from './control.ts';
import { Fences } from './fence.ts';
import type { HeldList, Later } from './held.ts';
import type { Departure } from './move.ts';
import { ReplayTurn } from './replay.ts';
import { RouteTable } from './route.ts';
import { PublishRun } from './run.ts';
import { Transfers } from './transfer.ts';

/** What the broker offers, as CONNACK announces it (MQTT 5.0 §3.2.2.3). */
export interface Offers {
  readonly maximumQos: 0 | 1 | 2;
  readonly retainAvailable: boolean;
  readonly wildcardSubscriptions: boolean;
  readonly sharedSubscriptions: boolean;
  /** Who may take over the session of a user. */
  readonly takeover: 'same_user' | 'any_user';
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
  /** Taken for `rights` once a session is found that came with roles or grants of its own. */
  readonly givenRights?: Rights | null;
  /** None where nobody is slowed. */
  readonly guard?: LoginGuard | null;
  /** What happens to a full queue, by the listener that its session came to; refuse where there is none. */
  readonly overflows?: ReadonlyMap<string, QueueOverflow>;
  /** Client identifiers that only the broker's own clients may have, besides those that begin with $bridge/. */
  readonly ownClientIds?: ReadonlySet<string>;
  /** How long things may be kept at most; as long as clients ask where there are none. */
  readonly ceilings?: Ceilings;
  /** Keeps retained messages where that is not to be `store`. */
  readonly retainedStore?: Store;
  /** The other shards; none when this is the only one. */
  readonly peers?: Peers;
  /** The trie that the first shard has made; none when this one makes it. */
  readonly trie?: TrieMemory;
}

/** Where the letter that is being opened comes from. */
export interface Source {
  readonly shard: number;
  /** Number of the publisher there; 0 for none. */
  publisher: number;
  /** Number of the message among those that are to be settled; 0 for none. */
  number: number;
  /** Its transfer there (transfer.ts); -1 for none. */
  transfer: number;
}

export class Shard {
  /** This shard's own: a reload changes them in place. */
  readonly limits: Limits;
  offers: Offers;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly store: Store;
  readonly admission: Admission;
  authenticator: Authenticator;
  exchanges: ExchangeMethods | null;
  rights: Rights | null;
  givenRights: Rights | null;
  guard: LoginGuard | null;
  overflows: ReadonlyMap<string, QueueOverflow>;
  ceilings: Ceilings;
  readonly ownClientIds: ReadonlySet<string>;
  readonly retainedStore: Store;

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
  /** Connections whose client has come in. */
  openConnections = 0;
  /** Connections that are marked slow. */
  slowConnections = 0;
  /** Clients whose messages are traced, by client identifier. */
  readonly tracers = new Map<string, Tracer>();
  /** Topics that are being erased in the whole broker: what a leaving member of a shared group did not finish of them is given to no other. By filter. */
  readonly erasing = new Map<string, (topic: Uint8Array, from: number, to: number) => boolean>();
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

  // What follows is for a broker of several shards.
  readonly peers: Peers | null;
  /** Which shard hosts which session; kept by the first shard. */
  readonly directory: Directory | null;
  /** What limits have to count besides this shard's own: the row of gauges.ts. */
  readonly elsewhere: Float64Array;
  /** Numbers of stored sessions are given in steps, so that no two shards give the same. */
  readonly storedStep: number;
  /** Set while a letter is being opened. */
  source: Source | null = null;
  readonly sources: readonly Source[];
  readonly settledCounts: Int32Array;
  /** Connections that have published to other shards, by number. */
  /** QoS 2 on its way to other shards; null where nothing would outlive a crash anyway. */
  readonly transfers: Transfers | null;
  readonly publishers = new Map<number, Connection>();
  nextPublisher = 0;
  /** Publishers that are not read from until letters have found room. */
  readonly waitingForPeers = new Set<Connection>();
  /** Clients that wait for their session, by request. */
  readonly claimants = new Map<number, Claimant>();
  nextClaim = 1;
  readonly ownControl = new OwnControl(this);
  readonly fences = new Fences();
  departures: Departure[] = [];
  /** Sessions of which not everything has come yet. */
  readonly moving = new Map<number, Session>();
  /** Messages that wait for a session, by its handle, and their acknowledgements. */
  readonly held = new Map<number, HeldList>();
  readonly laters: { readonly later: Later; readonly sequence: number }[] = [];
  /** Tickets of messages that another shard settles later, by shard * 2^32 + number. */
  readonly lateTickets = new Map<number, number>();
  fencedReplays: { readonly connection: Connection; readonly replay: Replay }[] = [];
  isFencingReplays = false;
  readonly arrivedRun = new PublishRun();
  readonly arrived = new MessageView();
  /** What was copied out of a ring, for the letter that is being opened. */
  arrivedBytes = new Uint8Array(0);

  #turnsToLearn = 0;
  #users: Tallies | null = null;
  #connects: Tallies | null = null;

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
    this.limits = { ...parts.limits };
    this.offers = parts.offers;
    this.clock = parts.clock;
    this.random = parts.random;
    this.log = parts.log;
    this.counters = parts.counters;
    this.store = parts.store;
    this.admission = new Admission(parts.counters);
    this.authenticator = parts.authenticator;
    this.exchanges = parts.exchanges;
    this.rights = parts.rights;
    this.givenRights = parts.givenRights ?? null;
    this.guard = parts.guard ?? null;
    this.overflows = parts.overflows ?? new Map();
    this.ceilings = parts.ceilings ?? new Ceilings();
    this.ownClientIds = parts.ownClientIds ?? new Set();
    this.retainedStore = parts.retainedStore ?? parts.store;
    this.turn = new Turn(parts.clock);
    this.timers = new TimerWheel(parts.clock);
    this.sessions = new SessionTable(parts.limits.sessionsMax);
    this.peers = parts.peers ?? null;
    const { peers, limits } = this;
    this.trie =
      parts.trie !== undefined
        ? SubscriptionTrie.attach(parts.trie, peers!.index)
        : new SubscriptionTrie({
            nodesMax: limits.trieNodesMax,
            subscriptionsMax: limits.trieSubscriptionsMax,
            participantsMax: peers === null ? 1 : peers.count,
            seed: drawSeed(parts.random), // so that nobody can prepare filters that collide
          });
    this.routes = new RouteTable(this.trie, this.sessions, limits, parts.rights, peers);
    this.elsewhere = peers === null ? new Float64Array(64) : peers.gauges.elsewhere;
    this.transfers = peers !== null && this.store.isShared ? new Transfers(peers.count) : null;
    this.storedStep = peers === null ? 1 : peers.count;
    this.settledCounts = new Int32Array(peers === null ? 0 : peers.count);
    this.sources = Array.from(this.settledCounts, (_, shard) => ({ shard, publisher: 0, number: 0, transfer: -1 }));
    this.directory =
      peers !== null && peers.index === 0
        ? new Directory(limits.sessionsMax, peers.roster, (to, control) => sendControl(this, to, control))
        : null;
    this.retained = new RetainedIndex(parts.limits.retainedMessagesMax, undefined, drawSeed(parts.random));
    this.replayTurn = new ReplayTurn(this);
  }

  /** Connections of each user, in all shards. Memory for them is there once a limit has needed it. */
  get users(): Tallies {
    const { peers, limits, random } = this;
    if (peers !== null) return peers.users;
    this.#users ??= new Tallies(allocateTallies(limits.connectionsMax, random));
    return this.#users;
  }

  /** Connections of each client in a minute, in all shards. */
  get connects(): Tallies {
    const { peers, limits, random } = this;
    if (peers !== null) return peers.connects;
    this.#connects ??= new Tallies(allocateTallies(limits.sessionsMax, random));
    return this.#connects;
  }

  /** From now on everybody is asked for their rights, also where the configuration has none. */
  judgeAll(): void {
    if (this.rights !== null) return;
    this.rights = this.givenRights;
    this.routes.rights = this.rights;
    this.trie.bump();
  }

  /** Shows the other shards what limits and figures of the whole need, and learns theirs when it is time to. */
  showGauges(): void {
    const { gauges } = this.peers!;
    const { own } = gauges;
    own[Gauge.CONNECTED] = this.openConnections;
    if (!this.store.isShared) {
      const { messages, messageBytes } = this.store.held();
      own[Gauge.STORED_MESSAGES] = messages;
      own[Gauge.STORED_BYTES] = messageBytes;
    }
    own[Gauge.CONNECTIONS] = this.connections.size;
    own[Gauge.SESSIONS] = this.sessions.count;
    own[Gauge.QUEUED_MESSAGES] = this.queuedMessages;
    own[Gauge.QUEUED_BYTES] = this.queuedBytes;
    own[Gauge.SESSION_BYTES] = this.sessionBytes;
    own[Gauge.SHARED_SUBSCRIPTIONS] = this.sharedSubscriptions;
    own[Gauge.CACHE_HITS] = this.routes.cache.hits;
    own[Gauge.CACHE_MISSES] = this.routes.cache.misses;
    if (--this.#turnsToLearn <= 0) this.learnGauges();
  }

  /**
   * Learns what the other shards have shown. Each of their rows is in the cache of another core, so far below the limits it is done once in a while: in so many turns, and by a
   * timer (shards/host.ts). No more often do they learn of the counters, which no limit rests on.
   */
  learnGauges(): void {
    const { gauges } = this.peers!;
    this.counters.copyTo(gauges.own, Gauge.COUNTERS);
    gauges.gather();
    this.#turnsToLearn = this.#isNearLimit() ? 1 : TURNS_TO_LEARN;
  }

  /** Whether one of the totals is so high, or its limit so low, that a turn could make the difference. */
  #isNearLimit(): boolean {
    const { limits, elsewhere } = this;
    return (
      isNear(this.connections.size + elsewhere[Gauge.CONNECTIONS]!, limits.connectionsMax) ||
      isNear(this.queuedMessages + elsewhere[Gauge.QUEUED_MESSAGES]!, limits.queuedMessagesMax) ||
      isNear(this.queuedBytes + elsewhere[Gauge.QUEUED_BYTES]!, limits.queuedBytesMax) ||
      isNear(this.sessionBytes + elsewhere[Gauge.SESSION_BYTES]!, limits.sessionBytesMax)
    );
  }
}

const TURNS_TO_LEARN = 64;
/** A limit below this is always near. */
const LIMIT_LOW = 4_096;

function isNear(total: number, limit: number): boolean {
  return total > limit * 0.75 || limit < LIMIT_LOW;
}

function drawSeed(random: Random): number {
  return Buffer.from(random.bytes(4)).readInt32LE(0);
}
