// One broker and three clients in one thread: the memory transport, a clock that is driven by hand, a store that may lag behind and
// crash. What the broker hears and says passes the model on its way.
import type { Packet } from 'mqtt-packet';
import { ErasePart, eraseInShard } from '../../engine/administration/erase-shard.ts';
import { DropReason } from '../../engine/counters.ts';
import type { CloseCause, Lent, Link, LinkSink } from '../../engine/link.ts';
import { type MemoryListener, memoryListener } from '../../engine/network/memory.ts';
import { unpackSession } from '../../engine/routing/record.ts';
import { recover } from '../../engine/routing/recover.ts';
import type { Shard } from '../../engine/routing/shard.ts';
import { acceptLink } from '../../engine/routing/sink.ts';
import { SESSION_NEVER_EXPIRES } from '../../engine/sessions/session.ts';
import type { Limits } from '../../protocol/limits.ts';
import type { Level } from '../../protocol/packet.ts';
import { MemoryStore } from '../../storage/memory.ts';
import type { Store } from '../../storage/store.ts';
import { SeededRandom } from '../seeded-random.ts';
import { LaggingStore } from '../storage/lagging-store.ts';
import { payloadOf } from '../storage/message.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { Client, type Line } from './client.ts';
import { Model, type ModelConnection, type ModelSession, messageId, type StoredSession, violated } from './model.ts';
import { packetReader } from './packets.ts';
import { roomy, shardOver } from './shard.ts';

export interface WorldOptions {
  readonly levels: readonly Level[];
  readonly store: 'memory' | 'lagging';
  readonly readsLater: boolean;
  /** Small buffers everywhere: receivers become slow and publishers are held. */
  readonly narrow: boolean;
  readonly seed: number;
  /** Whether bytes arrive in random pieces. */
  readonly splits: boolean;
}

const V3_EXPIRY_S = 25;
const BEHIND_ABOVE = 40;
const END_TIMEOUT_MS = 6_000;
const ROUNDS_MAX = 100_000;

/** Receivers become slow, and publishers are held. */
const narrow: Limits = { ...roomy, outboxHighBytes: 400, outboxMaxBytes: 800 };

export class World {
  readonly clock = new VirtualClock();
  readonly model: Model;
  readonly clients: readonly Client[];
  store: Store;
  shard: Shard;
  readonly #options: WorldOptions;
  readonly #random: SeededRandom;
  #listener: MemoryListener;
  #taps: Tap[] = [];
  /** Every session that has a number in the store, by that number. */
  readonly #numbered = new Map<number, ModelSession>();

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.model = new Model({
      nowMs: () => this.clock.wallMs(),
      hasDropped: () => this.shard.counters.dropped[DropReason.SLOW_RECEIVER] > 0,
      isDurable: (session, message) =>
        !(this.store instanceof LaggingStore) || this.store.owedSequence(session.stored, message.payload) <= this.store.durable,
      v3ExpiryS: V3_EXPIRY_S,
      inflightMax: roomy.inflightMax,
    });
    const lagging = { readsLater: options.readsLater, behindAbove: BEHIND_ABOVE };
    this.store = options.store === 'memory' ? new MemoryStore() : new LaggingStore(lagging);
    this.shard = this.#makeShard();
    this.#listener = this.#listen();
    this.clients = options.levels.map((level, at) => new Client(`client-${at}`, level, this.model, (own) => this.#dial(own)));
  }

  /** Lets the broker and the network work, `count` times. */
  rounds(count: number): void {
    for (let i = 0; i < count; i++) this.#round();
  }

  /** Lets them work until there is nothing to do. */
  settle(): void {
    for (let rounds = 0; this.#round(); rounds++) if (rounds > ROUNDS_MAX) throw new Error('the rounds do not end');
  }

  /** Lets time pass; the turn that is under way ends first, as it always does. */
  advance(ms: number): void {
    while (this.clock.endTurn());
    this.clock.advance(ms);
    this.store.expire(this.clock.wallMs());
    this.model.expire();
  }

  commit(cuts?: number): boolean {
    return this.store instanceof LaggingStore && this.store.commit(cuts);
  }

  answerReads(): boolean {
    return this.store instanceof LaggingStore && this.store.answerReads();
  }

  /** What waits under a filter is erased on request, while the store works. What is on its way to a client's socket by then is on its way, so nothing is. */
  async erase(filter: string): Promise<void> {
    for (const client of this.clients) client.line?.peer.resume();
    this.settle();
    const erased = this.model.beginErasing(filter);
    let isDone = false;
    void eraseInShard(this.shard, { kind: 'topic', name: filter }, ErasePart.SESSIONS).then(() => {
      isDone = true;
    });
    for (let rounds = 0; !isDone; rounds++) {
      if (rounds > ROUNDS_MAX) throw new Error('the erasure does not end');
      this.answerReads();
      this.advance(1);
      await null;
    }
    this.settle();
    this.model.endErasing(erased);
  }

  /** The process dies, and another one starts with what was durable. */
  async crash(): Promise<void> {
    if (!(this.store instanceof LaggingStore)) return;
    for (const tap of this.#taps) tap.isDead = true;
    this.#taps = [];
    this.shard.timers.stop();
    const wereEnded = new Set([...this.#numbered.values()].filter((session) => session.ended));
    const survivor = this.store.crash();
    survivor.expire(this.clock.wallMs());
    this.store = survivor;
    this.shard = this.#makeShard();
    this.model.crash(await inspect(survivor), this.#numbered);
    this.#listener = this.#listen();
    await recover(this.shard);
    for (const client of this.clients) {
      client.cut();
      // A clean start that was forgotten brings an old session back, of which its client knows nothing.
      const session = this.model.sessions.get(client.id);
      if (session === undefined || !wereEnded.has(session)) continue;
      client.connect({ clean: true, expiryS: 0, receiveMaximum: 0, topicAliasMaximum: 0 });
      this.settle();
    }
  }

  /** Everybody comes back and answers, and the broker has nothing left to say. */
  drain(byReconnect: boolean): void {
    for (const client of this.clients) {
      client.line?.peer.resume();
      client.eager = true;
      client.refusesNext = false;
      if (byReconnect || client.hasLostAnswers) client.cut();
    }
    this.#quieten();
    for (const client of this.clients) {
      if (!client.isOpen)
        client.connect({ clean: false, expiryS: SESSION_NEVER_EXPIRES, receiveMaximum: 3, topicAliasMaximum: 2 });
    }
    this.#quieten();
    for (const client of this.clients) if (!client.isOpen) violated(`${client.id} was not accepted`);
    for (const client of this.clients) if (client.hasOutgoing) violated(`${client.id} has messages that were not acknowledged`);
    this.model.judgeQuiet();
    const { queuedMessages, queuedBytes } = this.shard;
    if (queuedMessages !== 0 || queuedBytes !== 0)
      violated(`${queuedMessages} messages of ${queuedBytes} bytes are in the books`);
    for (const session of this.shard.sessions) if (session.inbound.count > 0) violated(`${session.clientId} holds identifiers`);
  }

  /** Every session ends; nothing of it is left anywhere. */
  finish(): void {
    for (const client of this.clients) client.connect({ clean: true, expiryS: 0, receiveMaximum: 0, topicAliasMaximum: 0 });
    this.#quieten();
    for (const client of this.clients) client.disconnect(true);
    this.#quieten();
    this.advance(END_TIMEOUT_MS); // for those that do not read what is said last
    this.#quieten();
    const { shard } = this;
    const left = {
      connections: shard.connections.size,
      sessions: shard.sessions.count,
      storedSessions: shard.storedSessions.size,
      subscriptions: shard.trie.subscriptions,
      gated: shard.gated.size,
      waitingForStore: shard.waitingForStore.size,
      blocks: shard.blocks.lent,
      messages: shard.messages.count - shard.retained.count,
      queuedMessages: shard.queuedMessages,
      queuedBytes: shard.queuedBytes,
      heldSessions: this.store.held().sessions,
      heldMessages: this.store.held().messages,
      heldBytes: this.store.held().messageBytes,
    };
    for (const [what, count] of Object.entries(left)) if (count !== 0) violated(`${count} ${what} are left at the end`);
  }

  #quieten(): void {
    for (let rounds = 0; ; rounds++) {
      if (rounds > ROUNDS_MAX) throw new Error('the broker does not become quiet');
      this.settle();
      let worked = this.commit();
      if (this.answerReads()) worked = true;
      for (const client of this.clients) if (client.isOpen && client.answerAll()) worked = true;
      if (!worked) return;
    }
  }

  #round(): boolean {
    const worked = this.#listener.step();
    const ended = this.clock.endTurn();
    for (const session of this.model.sessions.values()) this.#number(session);
    return worked || ended;
  }

  /** Notes the number that the broker gave a session in its store. */
  #number(session: ModelSession): void {
    if (session.stored !== 0 || session.expiryS === 0) return;
    session.stored = this.shard.sessions.find(session.clientId)?.stored ?? 0;
    if (session.stored !== 0) this.#numbered.set(session.stored, session);
  }

  #makeShard(): Shard {
    return shardOver({
      limits: this.#options.narrow ? narrow : roomy,
      clock: this.clock,
      random: this.#random,
      store: this.store,
      v3ExpiryS: V3_EXPIRY_S,
    });
  }

  #listen(): MemoryListener {
    return memoryListener(
      (link) => {
        const tap = new Tap(link, this.model, () => this.#isUnflushed(tap));
        this.#taps.push(tap);
        return tap.open(this.shard);
      },
      {
        clock: this.clock,
        drive: 'steps',
        split: this.#options.splits ? this.#random : null,
        ...(this.#options.narrow ? { kernelBytes: 300 } : {}),
      },
    );
  }

  #dial(level: Level): Line {
    const peer = this.#listener.connect();
    const tap = this.#taps.at(-1)!;
    tap.listen(level);
    return {
      peer,
      get connection() {
        return tap.connection;
      },
    };
  }

  #isUnflushed(tap: Tap): boolean {
    for (const connection of this.shard.connections) if (connection.link === tap.link) return connection.outbox.due;
    return false;
  }
}

/** Stands between a link and the broker, and shows the model what passes. */
class Tap implements LinkSink {
  readonly link: Link;
  connection: ModelConnection | null = null;
  /** The broker behind it has crashed. */
  isDead = false;
  readonly #model: Model;
  readonly #isUnflushed: () => boolean;
  #sink: LinkSink | null = null;
  #hear: (chunk: Uint8Array) => void = () => {};
  #say: (chunk: Uint8Array) => void = () => {};

  constructor(link: Link, model: Model, isUnflushed: () => boolean) {
    this.#model = model;
    this.#isUnflushed = isUnflushed;
    this.link = {
      peer: link.peer,
      write: (block: Uint8Array, from: number, to: number): Lent => {
        if (!this.isDead) this.#say(block.subarray(from, to));
        return link.write(block, from, to);
      },
      flush: () => link.flush(),
      unsentBytes: () => link.unsentBytes(),
      untakenBytes: () => link.untakenBytes(),
      pause: () => link.pause(),
      resume: () => link.resume(),
      end: () => {
        this.#judgeEnd();
        link.end();
      },
      destroy: () => {
        this.#judgeEnd();
        link.destroy();
      },
    };
  }

  open(shard: Shard): LinkSink | null {
    this.#sink = acceptLink(shard, this.link);
    return this.#sink === null ? null : this;
  }

  listen(level: Level): void {
    this.#hear = packetReader(level, (packet) => this.#heard(packet, level));
    this.#say = packetReader(level, (packet) => {
      if (this.connection !== null) this.#model.write(this.connection, packet);
    });
  }

  linkBytes(chunk: Uint8Array, from: number, to: number): void {
    if (this.isDead) return;
    this.#hear(chunk.subarray(from, to));
    this.#sink!.linkBytes(chunk, from, to);
  }

  linkReturned(): void {
    if (!this.isDead) this.#sink!.linkReturned();
  }

  linkDrained(): void {
    if (!this.isDead) this.#sink!.linkDrained();
  }

  linkClosed(cause: CloseCause): void {
    if (this.isDead) return;
    if (this.connection !== null) this.#model.leave(this.connection, this.#isUnflushed());
    this.#sink!.linkClosed(cause);
  }

  #heard(packet: Packet, level: Level): void {
    if (packet.cmd === 'connect') this.connection = this.#model.connect(packet, level);
    else if (this.connection?.isOpen) this.#model.hear(this.connection, packet);
  }

  /** The broker closes a link when the client has said goodbye or has another connection, and never else. */
  #judgeEnd(): void {
    if (!this.isDead && this.connection?.isOpen !== false) violated('the broker closed a connection that was in order');
  }
}

/** What a store holds of each session. */
async function inspect(store: LaggingStore): Promise<Map<number, StoredSession>> {
  const sessions = new Map<number, StoredSession>();
  const subscriptions = new Map<number, Map<string, number>>();
  const inbound = new Map<number, Set<number>>();
  await store.recover({
    session(number, bytes) {
      const record = unpackSession(bytes) ?? violated('a session record cannot be read');
      subscriptions.set(number, new Map());
      inbound.set(number, new Set());
      const parts = { subscriptions: subscriptions.get(number)!, inbound: inbound.get(number)! };
      sessions.set(number, { record, end: 0, durableEnd: store.durableEnd(number), deliveries: new Map(), ...parts });
    },
    subscription(number, _own, filter, options) {
      subscriptions.get(number)!.set(Buffer.from(filter).toString(), options & 3);
    },
    deliveries(number, _base, end) {
      sessions.set(number, { ...sessions.get(number)!, end });
    },
    inbound(number, packetId) {
      inbound.get(number)!.add(packetId);
    },
    retained() {},
  });
  for (const number of sessions.keys()) {
    const deliveries = sessions.get(number)!.deliveries as Map<number, { message: number | null }>;
    store.read(number, 0, Number.MAX_SAFE_INTEGER, {
      delivery(position, _bits, _ids, _received, message) {
        deliveries.set(position, { message: message === null ? null : messageId(payloadOf(message)) });
      },
      end() {},
    });
  }
  store.answerReads();
  return sessions;
}
