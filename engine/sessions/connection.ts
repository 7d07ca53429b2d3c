// One network connection: its link and outbox, what CONNECT agreed on, and why it is held back. State only; routing acts on it.

import type { Framer } from '../../protocol/framer.ts';
import type { Level, Reason } from '../../protocol/packet.ts';
import { NO_BYTES } from '../../protocol/publish.ts';
import type { Link } from '../link.ts';
import type { IntList } from '../memory/int-list.ts';
import type { Timer } from '../timers.ts';
import type { InboundAliases, OutboundAliases } from './aliases.ts';
import type { GatedAnswers } from './gated.ts';
import type { Outbox } from './outbox.ts';
import type { ReadRate } from './read-rate.ts';
import type { Session } from './session.ts';
import type { Tracer } from './tracer.ts';

export const ConnectionState = {
  /** Nothing but CONNECT is allowed. */
  AWAIT_CONNECT: 0,
  /** CONNECT is being judged; what comes meanwhile is kept. */
  AUTHENTICATING: 1,
  OPEN: 2,
  /** The last packet was written, or the link is gone. */
  CLOSED: 3,
  /** CONNECT was found good, and the shard that has the session is asked for it; what comes meanwhile is not looked at. */
  CLAIMING: 4,
} as const;
export type ConnectionState = (typeof ConnectionState)[keyof typeof ConnectionState];

/** Larger than any packet: no Maximum Packet Size was given. */
export const UNLIMITED_BYTES = 0x7fff_ffff;

export class Connection {
  readonly link: Link;
  readonly outbox: Outbox;
  /** With the packet that the last read has left unfinished; null when it left none. */
  framer: Framer | null = null;
  state: ConnectionState = ConnectionState.AWAIT_CONNECT;
  /** The broker's own client, the local side of a bridge: limits that guard against strangers, and what clients are asked for, do not hold for it. */
  isOwn = false;
  level: Level = 4;
  /** A bridge of MQTT 3: its subscriptions have No Local and Retain As Published, as it could not ask for them. */
  isBridge = false;
  session: Session | null = null;
  /** Monotonic ms of the last bytes from the client. */
  lastReceivedMs = 0;
  /** One and a half times the keep alive in ms, 0 for none. */
  silenceMaxMs = 0;
  /** First the connect timeout, then the keep alive. */
  timer: Timer | null = null;
  /** Unacknowledged QoS 1 and 2 towards the client: the smaller of its Receive Maximum and the limit. */
  sendQuota = 0;
  /** The client's Maximum Packet Size. */
  packetBytesMax = UNLIMITED_BYTES;
  aliasesIn: InboundAliases | null = null;
  aliasesOut: OutboundAliases | null = null;
  /** Notes its messages for an operator; null: nobody looks. */
  tracer: Tracer | null = null;
  /** Whether a QoS 0 packet can be copied to it as it came; see `judgePlain`. */
  plain = true;
  /** Request Problem Information (MQTT 5.0 §3.1.2.11.7). */
  wantsProblemInformation = true;
  /** Over its mark for longer than the grace: QoS 0 to it is dropped until it has drained. */
  slow = false;
  /** Publishers that wait for this receiver to drain; null until the first. */
  holding: Set<Connection> | null = null;
  /** Receivers that this publisher waits for; null until the first. */
  heldFor: Set<Connection> | null = null;
  /** Ends the grace; while the receiver is slow, looks whether it takes anything. */
  pressureTimer: Timer | null = null;
  /** What its outbox's `takenBytes` were at the last look; counts while it is slow. */
  takenBytes = -0;
  /** Ends the connection when what let it in has run out; null where that does not. */
  identityTimer: Timer | null = null;
  /** Number by which other shards know it as a publisher; 0 until it has published to one. */
  number = 0;
  /** Receivers of other shards that it waits for. */
  heldElsewhere = 0;
  /** Publishers of other shards that wait for this receiver to drain, as shard << 24 | number; null until the first. */
  holdingElsewhere: Set<number> | null = null;
  /** QoS 1 and 2 publishes of the client whose acknowledgement waits for the store. */
  gated: GatedAnswers | null = null;
  /** Retained messages still to be sent for new subscriptions. */
  replay: Replay | null = null;
  /** Set by enhanced authentication, for re-authentication. */
  authenticationMethod: string | null = null;
  /** An open connection authenticates again, and has not finished. */
  reauthenticating = false;
  /** Takes the client's next AUTH; null while none is asked of it. */
  continueExchange: ((data: Uint8Array | null) => void) | null = null;
  /** Packets that came while CONNECT was being judged, one behind the other in [0, earlyBytes). */
  early: Uint8Array = NO_BYTES;
  earlyBytes = 0;
  /** What came while the session was asked for, or while the client had sent too much in a second, as it came: [0, unreadBytes). It follows `early`. */
  unread: Uint8Array = NO_BYTES;
  unreadBytes = 0;
  /** Why the broker ended the connection, for the log. */
  closeReason: Reason | -1 = -1;
  /** Routes that this client may publish to, or may not: answers of the rights, by the route's number. */
  rights: Map<number, boolean> | null = null;
  /** Ceilings of the listener and the user; Infinity for none. */
  sessionExpiryMaxS = Infinity;
  messageExpiryMaxMs = Infinity;
  /** Monotonic s, whole ones, when the client came in. */
  openedAtS = 0;
  /** From the client. -0 is a double from the start: a number that begins as a small integer and outgrows 2^31 would have the engine's compiled code thrown away in the midst of a run. */
  bytesReceived = -0;
  /** Null where nothing bounds how fast it is read from. */
  rate: ReadRate | null = null;
  /** Number under which its session was claimed last; 0 for none. */
  claim = 0;
  /** Under what the user's connections are counted (peers/tallies.ts); null where they are not. */
  userTally: bigint | null = null;

  constructor(link: Link, outbox: Outbox) {
    this.link = link;
    this.outbox = outbox;
  }

  /** To be called when aliases, Maximum Packet Size or tracer have changed. */
  judgePlain(): void {
    this.plain = this.aliasesOut === null && this.packetBytesMax === UNLIMITED_BYTES && this.tracer === null;
  }

  get isClosed(): boolean {
    return this.state === ConnectionState.CLOSED;
  }

  get isOpen(): boolean {
    return this.state === ConnectionState.OPEN;
  }
}

/** A new subscription that is owed retained messages. */
export interface ReplayedFilter {
  readonly bytes: Uint8Array;
  readonly options: number;
  /** Encoded Subscription Identifier, empty for none. */
  readonly subscriptionIds: Uint8Array;
}

/** Retained messages owed for subscriptions: of the filter under way by handle, of the others not looked up yet. */
export interface Replay {
  /** By the key of the session's subscriptions, oldest first. */
  readonly waiting: Map<string, ReplayedFilter>;
  filter: ReplayedFilter;
  /** Messages of `filter`; those below `next` are done. */
  readonly found: IntList;
  next: number;
  /** Looks at the other shards that must end before it begins. */
  fences: number;
  /** Topics of which a message went out live meanwhile that may be newer than what the replay finds; null until the first. */
  live: Set<string> | null;
}
