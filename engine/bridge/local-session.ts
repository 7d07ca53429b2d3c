// The session in this broker that keeps what a bridge sends out: an ordinary persistent one, whose client is the broker itself. It is made, and its subscriptions are put right, before the first listener opens, so that
// nothing is missed while the remote broker is away.
import { Frame, Framer } from '../../protocol/framer.ts';
import { PacketType, Reason } from '../../protocol/packet.ts';
import type { BridgeTopic } from '../config/bridge-topics.ts';
import { type BridgeConfig, localClientIdOf, localListenerOf } from '../config/bridges.ts';
import { Gauge } from '../peers/gauges.ts';
import { endSession } from '../routing/lifecycle.ts';
import type { Shard } from '../routing/shard.ts';
import { acceptOwnLink } from '../routing/sink.ts';
import type { Session } from '../sessions/session.ts';
import { SubscriptionOption } from '../sessions/target.ts';
import { Timer } from '../timers.ts';
import { type OwnEnd, OwnLink } from './own-link.ts';
import { connectLocal, DISCONNECT, subscribe, unsubscribe, wishesOf } from './packets.ts';
import type { RelayHost } from './relay.ts';

/** Identifiers that are given out before one comes again: twice as many as can be on their way. */
const PACKET_IDENTIFIERS = 65_535;
/** Farther from the oldest one on its way than any other can be (sessions/deliveries.ts). */
const AWAY_FROM_BASE = 40_000;
const PREPARE_MS_MAX = 30_000;
const SUBSCRIBE_ID = 1;
const UNSUBSCRIBE_ID = 2;

export class LocalSession implements RelayHost {
  readonly clientId: string;
  readonly shard: Shard;
  readonly wishes: readonly { readonly filter: string; readonly qos: 0 | 1 | 2 }[];
  /** Filters of which the remote broker may not have been told what is retained below them: all at the start, because a start before this one may have made them, and those that were made since. */
  readonly untold: Set<string>;
  /** The remote broker has said that its session is new, and identifiers of the one before are still held here. */
  mustForget = false;
  readonly #isKept: boolean;
  readonly #listener: string;

  constructor(shard: Shard, config: BridgeConfig, topics: readonly BridgeTopic[]) {
    this.shard = shard;
    this.clientId = localClientIdOf(config);
    this.#listener = localListenerOf(config);
    this.#isKept = !config.localCleanStart;
    this.wishes = wishesOf(topics, 'out');
    this.untold = new Set(this.wishes.map(({ filter }) => filter));
  }

  /** Null while there is none. */
  get session(): Session | null {
    return this.shard.sessions.find(this.clientId);
  }

  get limits(): Shard['limits'] {
    return this.shard.limits;
  }

  get maximumQos(): number {
    return this.shard.offers.maximumQos;
  }

  get retainAvailable(): boolean {
    return this.shard.offers.retainAvailable;
  }

  /** One full queue among many is for its publisher to know; a store or a broker that is full takes nothing from anybody. */
  isRefusing(): boolean {
    const { store, limits, elsewhere, queuedMessages, queuedBytes } = this.shard;
    return (
      store.isRefusing ||
      queuedMessages + elsewhere[Gauge.QUEUED_MESSAGES]! >= limits.queuedMessagesMax ||
      queuedBytes + elsewhere[Gauge.QUEUED_BYTES]! >= limits.queuedBytesMax
    );
  }

  isNewSession(): boolean {
    const { session } = this;
    return session !== null && session.deliveries.base < PACKET_IDENTIFIERS;
  }

  /** A packet identifier that no message of the session can have now. */
  freePacketId(): number {
    const base = this.session?.deliveries.base ?? 0;
    return ((base + AWAY_FROM_BASE) % PACKET_IDENTIFIERS) + 1;
  }

  /** Makes the session, and subscribes to what the configuration says, no more and no less. @throws Error when the broker does not get that far */
  async prepare(): Promise<void> {
    const { shard } = this;
    const { session } = this;
    // One of a client that had this identifier before it was the bridge's is not its own, nor is anything that it holds.
    if (session !== null && (session.principal.isBroker !== true || !this.#isKept)) endSession(shard, session);
    if (!this.#isKept) return;
    const { missing, surplus } = this.#differences();
    if (this.session !== null && missing.length === 0 && surplus.length === 0) return;
    for (const { filter } of missing) this.untold.add(filter);
    const packets: Uint8Array[] = [];
    // What is retained is asked for once the remote broker is there to be told.
    const wishes = missing.map((wish) => ({ ...wish, retainHandling: 2 }) as const);
    if (wishes.length > 0) packets.push(subscribe(5, SUBSCRIBE_ID, wishes));
    if (surplus.length > 0) packets.push(unsubscribe(UNSUBSCRIBE_ID, surplus));
    await new Preparation(shard, this.#listener, connectLocal(this.clientId, false, 1), packets).done;
  }

  /** Filters that the session lacks, or has with other options, and those that it should not have any more. */
  #differences(): { missing: { filter: string; qos: 0 | 1 | 2 }[]; surplus: string[] } {
    const { shard, session, wishes } = this;
    const held = new Map<string, number>();
    for (const { filter, options } of session?.subscriptions.values() ?? []) held.set(Buffer.from(filter).toString(), options);
    const optionsFor = (qos: number) =>
      Math.min(qos, shard.offers.maximumQos) | SubscriptionOption.NO_LOCAL | SubscriptionOption.RETAIN_AS_PUBLISHED;
    const missing = wishes.filter(({ filter, qos }) => held.get(filter) !== optionsFor(qos));
    const wanted = new Set(wishes.map(({ filter }) => filter));
    return { missing, surplus: [...held.keys()].filter((filter) => !wanted.has(filter)) };
  }
}

/** A short connection of a bridge's local side: CONNECT, some packets of which each has one answer, DISCONNECT. Messages that come meanwhile stay the session's. */
class Preparation implements OwnEnd {
  readonly done: Promise<void>;
  readonly #shard: Shard;
  readonly #link: OwnLink;
  readonly #framer: Framer;
  readonly #packets: readonly Uint8Array[];
  readonly #timer: Timer;
  #answers = 0;
  #settle: (problem: string | null) => void = () => {};

  constructor(shard: Shard, listener: string, connect: Uint8Array, packets: readonly Uint8Array[]) {
    this.#shard = shard;
    this.#packets = packets;
    this.#link = new OwnLink(this, shard.clock, listener);
    this.#framer = new Framer(Number.MAX_SAFE_INTEGER);
    this.#timer = new Timer(() => {
      this.#settle('the session of a bridge was not made in time');
      this.#link.cut();
    });
    this.done = new Promise((resolve, reject) => {
      this.#settle = (problem) => {
        shard.timers.cancel(this.#timer);
        if (problem === null) resolve();
        else reject(new Error(problem));
      };
    });
    const sink = acceptOwnLink(shard, this.#link);
    if (sink === null) {
      this.#settle('the session of a bridge was not made: the broker is stopping');
      return;
    }
    shard.timers.set(this.#timer, PREPARE_MS_MAX);
    this.#link.attach(sink);
    this.#link.deliver(connect, connect.length);
  }

  isFull(): boolean {
    return false;
  }

  takeLocal(chunk: Uint8Array): void {
    const framer = this.#framer;
    framer.feed(chunk, 0, chunk.length);
    while (framer.next() === Frame.PACKET) this.#take(framer);
  }

  pauseLocal(): void {}

  resumeLocal(): void {}

  localClosed(): void {
    const isWhole = this.#answers === this.#packets.length + 1;
    this.#settle(isWhole ? null : 'the session of a bridge was not made: the broker refused it');
  }

  #take({ buffer, header, bodyFrom, bodyTo }: Framer): void {
    const type = header >>> 4;
    if (type === PacketType.PUBLISH || type === PacketType.PUBREL) return;
    if (type === PacketType.CONNACK && buffer[bodyFrom + 1] !== Reason.SUCCESS) return;
    const isRefused =
      type === PacketType.SUBACK && buffer.subarray(bodyFrom + 3, bodyTo).some((code) => code >= Reason.UNSPECIFIED);
    if (isRefused) this.#shard.log.warn('a bridge cannot have all of its subscriptions: limits of this broker are reached');
    const next = this.#packets[this.#answers++] ?? DISCONNECT;
    this.#shard.clock.endOfTurn(() => this.#link.deliver(next, next.length));
  }
}
