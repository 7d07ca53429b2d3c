// What a broker owes its clients, as plainly as it can be said: the standard (MQTT 5.0 §4.1 to §4.6) in maps and lists. The model is told
// what the broker hears, packet by packet and before the broker acts on it, and judges what the broker says.
import type { IPublishPacket, ISubscribePacket, Packet } from 'mqtt-packet';
import { SESSION_NEVER_EXPIRES } from '../../engine/sessions/session.ts';
import { type Level, Reason } from '../../protocol/packet.ts';

/** A message that some client publishes; its payload names it. */
export interface Message {
  readonly id: number;
  readonly publisher: string;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly payload: string;
  /** Message Expiry Interval, 0 for none. */
  readonly expiryS: number;
  readonly retain: boolean;
  /** The broker has taken responsibility for it (PUBACK or PUBREC was written). */
  answered: boolean;
  /** A client has answered it with an error. */
  wasRefused: boolean;
  /** It was erased on request; its publisher may send it again all the same. */
  wasErased: boolean;
  /** Sessions that it went to when the broker heard it first, and at which QoS; null before that. */
  firstRoute: Map<ModelSession, number> | null;
  /** Where it is owed since the broker heard it last. */
  lastRoute: { readonly session: ModelSession; readonly owed: Owed }[];
}

export function messageId(payload: Buffer | string): number {
  return Number.parseInt(payload.toString(), 10);
}

/** A QoS 1 or 2 delivery, in the order in which the session is owed it. */
export interface Owed {
  readonly message: Message;
  readonly qos: 1 | 2;
  expiresAtMs: number;
  /** The same, whatever was erased. */
  readonly ownExpiresAtMs: number;
  /** It is being erased, or was: it may be missing, whichever of several of one message that is. */
  mayBeMissing: boolean;
  /** It was erased on request: it may not be sent again, and is not owed. */
  isErased: boolean;
  state: 'owed' | 'received' | 'done';
  /** 0 until it was sent. */
  packetId: number;
  /** Ordinal of the connection that sent it last, 0 for none. */
  sentOn: number;
  /** Its publisher was told that it is safe. */
  isAnswered: boolean;
}

export class ModelSession {
  readonly clientId: string;
  expiryS = 0;
  connection: ModelConnection | null = null;
  awaySinceMs = 0;
  ended = false;
  /** Number in the broker's store, 0 for none. */
  stored = 0;
  readonly subscriptions = new Map<string, number>();
  readonly owed: Owed[] = [];
  /** Everything that is owed before this one is done. */
  base = 0;
  /** QoS 2 messages from the client that it has not released. */
  inbound = new Map<number, Message>();
  /** The last QoS 2 message from the client with each packet identifier. */
  readonly published = new Map<number, Message>();
  connections = 0;
  /** Something that was to be sent may not have left the process: DUP may stand on what nobody has seen. */
  unsure = false;
  /** How often the client took each message, and the last one by publisher, topic and QoS. */
  readonly taken = new Map<Message, number>();
  readonly latest = new Map<string, number>();
  /** Messages before this one are from before a crash. */
  orderedFrom = 0;

  constructor(clientId: string) {
    this.clientId = clientId;
  }
}

export class ModelConnection {
  readonly session: ModelSession;
  readonly ordinal: number;
  readonly sessionPresent: boolean;
  readonly receiveMaximum: number;
  isOpen = true;
  /** What was looked at of `session.owed`, and of `qos0`, to see what was sent. */
  cursor = 0;
  readonly qos0: Message[] = [];
  qos0Cursor = 0;
  /** Messages of the client by packet identifier, the last one of each. */
  readonly publishing = new Map<number, Message>();

  constructor(session: ModelSession, sessionPresent: boolean, receiveMaximum: number) {
    this.session = session;
    this.ordinal = ++session.connections;
    this.sessionPresent = sessionPresent;
    this.receiveMaximum = receiveMaximum;
  }
}

/** What the model must know of the world around it. */
export interface Surroundings {
  readonly nowMs: () => number;
  /** Whether the broker has dropped QoS 0 for a slow receiver. */
  readonly hasDropped: () => boolean;
  /** Whether it would survive a crash that the session is owed the message. */
  readonly isDurable: (session: ModelSession, message: Message) => boolean;
  readonly v3ExpiryS: number;
  readonly inflightMax: number;
}

/** One session as a store holds it. */
export interface StoredSession {
  readonly record: { readonly clientId: string; readonly expiryS: number; readonly disconnectedAtMs: number };
  readonly subscriptions: ReadonlyMap<string, number>;
  readonly end: number;
  /** Positions below this had become durable. */
  readonly durableEnd: number;
  readonly deliveries: ReadonlyMap<number, { readonly message: number | null }>;
  readonly inbound: ReadonlySet<number>;
}

export function violated(what: string): never {
  throw new Error(what);
}

export class Model {
  readonly sessions = new Map<string, ModelSession>();
  readonly messages: Message[] = [];
  readonly #around: Surroundings;

  constructor(around: Surroundings) {
    this.#around = around;
  }

  // What the broker hears.

  connect(packet: Packet & { cmd: 'connect' }, level: Level): ModelConnection {
    this.expire();
    const clean = packet.clean ?? true;
    const before = this.sessions.get(packet.clientId);
    if (before?.connection) this.leave(before.connection, false);
    if (clean && before !== undefined) this.end(before);
    const known = this.sessions.get(packet.clientId);
    const session = known ?? new ModelSession(packet.clientId);
    this.sessions.set(packet.clientId, session);
    if (level === 5) session.expiryS = packet.properties?.sessionExpiryInterval ?? 0;
    else session.expiryS = clean ? 0 : this.#around.v3ExpiryS;
    const receiveMaximum = Math.min(packet.properties?.receiveMaximum ?? 65_535, this.#around.inflightMax);
    session.connection = new ModelConnection(session, known !== undefined, receiveMaximum);
    return session.connection;
  }

  hear(connection: ModelConnection, packet: Packet): void {
    this.expire();
    const { session } = connection;
    const packetId = packet.messageId ?? 0;
    switch (packet.cmd) {
      case 'publish':
        this.#publish(connection, packet);
        break;
      case 'pubrel':
        session.inbound.delete(packetId);
        break;
      case 'puback':
        for (const owed of this.#inFlight(session, packetId)) owed.state = 'done';
        break;
      case 'pubrec':
        for (const owed of this.#inFlight(session, packetId)) {
          if ((packet.reasonCode ?? 0) >= Reason.UNSPECIFIED) owed.state = 'done';
          else owed.state = 'received';
        }
        break;
      case 'pubcomp':
        for (const owed of this.#inFlight(session, packetId)) if (owed.state === 'received' || owed.isErased) owed.state = 'done';
        break;
      case 'subscribe':
        for (const { topic, qos } of (packet as ISubscribePacket).subscriptions) session.subscriptions.set(topic, qos);
        break;
      case 'unsubscribe':
        for (const filter of packet.unsubscriptions) session.subscriptions.delete(filter);
        break;
      case 'disconnect':
        session.expiryS = packet.properties?.sessionExpiryInterval ?? session.expiryS;
        this.leave(connection, false);
        break;
      default:
    }
  }

  /** The connection is gone. `unflushed`: it was about to be told something. */
  leave(connection: ModelConnection, unflushed: boolean): void {
    connection.isOpen = false;
    const { session } = connection;
    if (session.connection !== connection) return;
    session.connection = null;
    session.awaySinceMs = this.#around.nowMs();
    if (unflushed) session.unsure = true;
    if (session.expiryS === 0) this.end(session);
  }

  end(session: ModelSession): void {
    session.ended = true;
    if (this.sessions.get(session.clientId) === session) this.sessions.delete(session.clientId);
  }

  /** Ends sessions whose time is up. */
  expire(): void {
    const nowMs = this.#around.nowMs();
    for (const session of this.sessions.values()) {
      if (session.connection !== null || session.expiryS === SESSION_NEVER_EXPIRES) continue;
      if (session.awaySinceMs + session.expiryS * 1_000 <= nowMs) this.end(session);
    }
  }

  /** Messages of these topics are being erased, wherever they wait: from now on they may be missing. Gives those. */
  beginErasing(filter: string): readonly Owed[] {
    const nowMs = this.#around.nowMs();
    const all = [...this.sessions.values()].flatMap(({ owed }) => owed);
    const erased = all.filter(({ message, state }) => state !== 'done' && isMatch(filter, message.topic));
    for (const owed of erased) {
      owed.expiresAtMs = Math.min(owed.expiresAtMs, nowMs);
      owed.mayBeMissing = true;
      owed.message.wasErased = true;
    }
    return erased;
  }

  /** From now on they must be. */
  endErasing(erased: readonly Owed[]): void {
    for (const owed of erased) owed.isErased = true;
  }

  #publish(connection: ModelConnection, packet: IPublishPacket): void {
    const message = this.messages[messageId(packet.payload)] ?? violated('a client has published what nobody gave it');
    const packetId = packet.messageId ?? 0;
    if (message.qos > 0) connection.publishing.set(packetId, message);
    if (message.qos === 2) {
      const known = connection.session.inbound.get(packetId);
      if (known !== undefined && known !== message) violated('a client has used a packet identifier that is in use');
      if (known !== undefined) return;
      connection.session.inbound.set(packetId, message);
      connection.session.published.set(packetId, message);
    }
    const expiresAtMs = message.expiryS === 0 ? Infinity : this.#around.nowMs() + message.expiryS * 1_000;
    const isFirst = message.firstRoute === null;
    message.firstRoute ??= new Map();
    message.lastRoute = [];
    for (const session of this.sessions.values()) {
      const qos = Math.min(message.qos, grantedQos(session, message.topic));
      if (qos < 0) continue;
      if (isFirst) message.firstRoute.set(session, qos);
      if (qos === 0) {
        session.connection?.qos0.push(message);
        continue;
      }
      const owed: Owed = { ...NOTHING_OWED, message, qos: qos as 1 | 2, expiresAtMs, ownExpiresAtMs: expiresAtMs, state: 'owed' };
      session.owed.push(owed);
      message.lastRoute.push({ session, owed });
    }
  }

  #inFlight(session: ModelSession, packetId: number): Owed[] {
    const { owed } = session;
    while (session.base < owed.length && owed[session.base]!.state === 'done') session.base++;
    return owed.slice(session.base).filter((one) => one.packetId === packetId && one.state !== 'done');
  }

  // What the broker says.

  write(connection: ModelConnection, packet: Packet): void {
    switch (packet.cmd) {
      case 'publish':
        if (packet.qos === 0) this.#judgeQos0(connection, packet);
        else this.#judgeDelivery(connection, packet);
        return;
      case 'puback':
      case 'pubrec':
        this.#judgeAnswer(connection, packet);
        return;
      case 'disconnect':
        if (packet.reasonCode !== Reason.SESSION_TAKEN_OVER) violated(`the broker ended a connection: ${packet.reasonCode}`);
        return;
      default:
    }
  }

  #judgeQos0(connection: ModelConnection, packet: IPublishPacket): void {
    const message = this.#named(packet);
    const at = connection.qos0.indexOf(message, connection.qos0Cursor);
    if (at < 0) violated(`message ${message.id} is not owed at QoS 0 now`);
    if (at > connection.qos0Cursor && !this.#around.hasDropped()) violated(`a message before ${message.id} is missing at QoS 0`);
    connection.qos0Cursor = at + 1;
  }

  /** [MQTT-4.4.0-1] [MQTT-4.6.0-6]: what was sent before comes first, in order, and nothing that is owed is passed over. */
  #judgeDelivery(connection: ModelConnection, packet: IPublishPacket): void {
    const { session } = connection;
    const message = this.#named(packet);
    const packetId = packet.messageId!;
    const owed = this.#nextOwed(connection, message, packetId, packet.dup);
    if (owed.isErased) violated(`message ${message.id} was sent after it was erased`);
    if (packet.qos !== owed.qos) violated(`message ${message.id} was sent at QoS ${packet.qos}, not ${owed.qos}`);
    if (packet.dup && owed.sentOn === 0 && !session.unsure) violated(`DUP on message ${message.id}, which was not sent before`);
    if (!packet.dup && owed.sentOn !== 0) violated(`no DUP on message ${message.id}, which was sent before`);
    if (owed.packetId !== 0 && owed.packetId !== packetId) violated(`message ${message.id} has changed its packet identifier`);
    for (const other of this.#inFlight(session, packetId)) {
      if (other !== owed) violated(`packet identifier ${packetId} is in use for message ${other.message.id}`);
    }
    if (owed.qos === 2 && session.stored !== 0 && !this.#around.isDurable(session, message)) {
      violated(`message ${message.id} was sent at QoS 2 before it was durable: a crash could make it come twice`);
    }
    owed.packetId = packetId;
    owed.sentOn = connection.ordinal;
  }

  #nextOwed(connection: ModelConnection, message: Message, packetId: number, dup: boolean): Owed {
    const { owed, unsure } = connection.session;
    const nowMs = this.#around.nowMs();
    while (connection.cursor < owed.length) {
      const next = owed[connection.cursor++]!;
      if (next.state !== 'owed') continue;
      const expired = next.expiresAtMs <= nowMs;
      // One that has expired was let go, or is sent all the same because it was sent before.
      const younger = expired
        ? owed.slice(connection.cursor).filter((own) => own.message === message && own.state === 'owed')
        : [];
      const again = younger.some(({ mayBeMissing }) => !mayBeMissing);
      // DUP on what nobody has seen: it was on its way before a crash. It is the older one, unless a younger one was sent under that identifier.
      const wasOnItsWay =
        dup && unsure && next.packetId === 0 && !owed.some((one) => one.message === message && one.packetId === packetId);
      // Its publisher has sent it again since it was erased, and its identifier was free: it is the younger one.
      const isOver = next.isErased && younger.some(({ isErased }) => !isErased);
      if (next.message === message && !isOver && (next.packetId === packetId || !again || wasOnItsWay)) return next;
      if (!expired) violated(`message ${message.id} was sent, and message ${next.message.id} was owed before it`);
      next.state = 'done';
    }
    return violated(`message ${message.id} was sent, and is not owed to this session now`);
  }

  #judgeAnswer(connection: ModelConnection, packet: Packet): void {
    const message = connection.publishing.get(packet.messageId!) ?? violated(`${packet.cmd} for nothing`);
    const reason = 'reasonCode' in packet ? (packet.reasonCode ?? 0) : 0;
    if (reason >= Reason.UNSPECIFIED) violated(`message ${message.id} was refused: ${reason}`);
    for (const { session, owed } of message.lastRoute) {
      owed.isAnswered = true;
      if (session.ended || owed.state !== 'owed') continue;
      if (!this.#around.isDurable(session, message)) violated(`message ${message.id} was acknowledged before it was durable`);
    }
    message.answered = true;
  }

  #named(packet: IPublishPacket): Message {
    return this.messages[messageId(packet.payload)] ?? violated('the broker has sent what nobody published');
  }

  // What a client takes.

  /** A client hands a message on: exactly once at QoS 2, in the order of its publisher. */
  take(session: ModelSession, message: Message, qos: number): void {
    const before = session.taken.get(message) ?? 0;
    session.taken.set(message, before + 1);
    if (before > 0) {
      // At QoS 1 its publisher, or the broker, may have sent it again.
      const mayBeAgain = message.qos === 1 || qos === 1;
      // What goes out at QoS 0 does not wait for the disk: a crash can take from the broker that it had the message, and its publisher sends it again.
      const wasLost = message.qos === 2 && qos === 0 && message.id < session.orderedFrom;
      if (!mayBeAgain && !wasLost) violated(`message ${message.id} came to ${session.clientId} twice at QoS ${qos}`);
      return;
    }
    if (!this.#isOrdered(session, message, qos)) return;
    const order = `${message.publisher} ${message.topic} ${message.qos} ${qos}`;
    const latest = session.latest.get(order) ?? -1;
    if (latest > message.id) violated(`message ${message.id} came to ${session.clientId} after message ${latest}`);
    session.latest.set(order, message.id);
  }

  /** Whether the first coming of a message tells of its order: what is sent again may be the first that a session sees of it. */
  #isOrdered(session: ModelSession, message: Message, qos: number): boolean {
    if (message.expiryS > 0 || message.wasRefused || message.wasErased || message.id < session.orderedFrom) return false;
    return message.firstRoute!.get(session) === qos && (qos > 0 || message.qos === 0);
  }

  /** Nothing is owed any more to anybody. */
  judgeQuiet(): void {
    const nowMs = this.#around.nowMs();
    for (const session of this.sessions.values()) {
      for (const { message, state, expiresAtMs } of session.owed) {
        if (state !== 'done' && expiresAtMs > nowMs)
          violated(`${session.clientId} is still owed message ${message.id}: ${state}`);
      }
      if (session.inbound.size > 0) violated(`${session.clientId} has published what it did not release`);
      const { connection } = session;
      if (connection !== null && connection.qos0Cursor < connection.qos0.length && !this.#around.hasDropped()) {
        violated(`${session.clientId} has not received message ${connection.qos0[connection.qos0Cursor]!.id}`);
      }
    }
  }

  // A crash.

  /**
   * The broker is gone; `stored` is what its store kept, by number, and `numbered` every session that ever had a number there. What was answered
   * must be in it; the rest is as if it had not happened.
   */
  crash(stored: ReadonlyMap<number, StoredSession>, numbered: ReadonlyMap<number, ModelSession>): void {
    const alive = [...this.sessions.values()];
    for (const session of alive) if (session.connection !== null) session.connection.isOpen = false;
    this.expire();
    for (const session of this.sessions.values()) {
      if (session.expiryS > 0) this.#judgeSurvival(session, stored.get(session.stored));
    }
    this.sessions.clear();
    const restored: (readonly [ModelSession, StoredSession])[] = [];
    for (const [number, kept] of stored) {
      const session = numbered.get(number) ?? violated('a session is in the store that never was');
      session.ended = false;
      this.sessions.set(session.clientId, session);
      restored.push([session, kept]);
    }
    for (const session of alive) if (this.sessions.get(session.clientId) !== session) session.ended = true;
    const known = new Set(restored.flatMap(([session, kept]) => restoreInbound(session, kept)));
    for (const [session, kept] of restored) this.#restore(session, kept, known);
    this.expire();
  }

  #judgeSurvival(session: ModelSession, kept: StoredSession | undefined): void {
    for (const [position, { message, state, expiresAtMs, isAnswered }] of session.owed.entries()) {
      if (state === 'done' || !isAnswered || expiresAtMs <= this.#around.nowMs()) continue;
      if (kept?.deliveries.get(position) === undefined) {
        violated(`message ${message.id} was acknowledged and is lost to ${session.clientId}`);
      }
    }
  }

  #restore(session: ModelSession, kept: StoredSession, known: ReadonlySet<Message>): void {
    session.connection = null;
    session.expiryS = kept.record.expiryS;
    session.awaySinceMs = kept.record.disconnectedAtMs === 0 ? this.#around.nowMs() : kept.record.disconnectedAtMs;
    session.unsure = true;
    session.subscriptions.clear();
    for (const [filter, qos] of kept.subscriptions) session.subscriptions.set(filter, qos);
    session.base = 0;
    for (const [position, owed] of session.owed.entries()) this.#restoreOwed(session, kept, position, owed, known);
    // At QoS 0 nothing is kept; what was not acknowledged may come again.
    for (const message of session.taken.keys()) {
      if (!message.answered && !session.owed.some((owed) => owed.message === message)) session.taken.delete(message);
    }
    session.orderedFrom = this.messages.length;
    // Positions that were given out are not given out again: they stay, and nothing is owed there.
    while (session.owed.length < kept.end) session.owed.push(NOTHING_OWED);
  }

  #restoreOwed(session: ModelSession, kept: StoredSession, position: number, owed: Owed, known: ReadonlySet<Message>): void {
    const { message } = owed;
    const delivery = kept.deliveries.get(position);
    if (delivery !== undefined) {
      owed.state = delivery.message === null ? 'received' : 'owed';
      if (!owed.isErased || delivery.message === null) return;
      // The crash came before the erasure was durable.
      owed.isErased = false;
      owed.expiresAtMs = owed.ownExpiresAtMs;
      return;
    }
    if (owed.state !== 'done' && owed.expiresAtMs > this.#around.nowMs()) {
      if (position < kept.durableEnd) violated(`message ${message.id} was durable and is lost to ${session.clientId}`);
      if (known.has(message)) violated(`message ${message.id} is lost, and would not be taken when it comes again`);
    }
    owed.state = 'done';
    // Its publisher was told nothing and sends it again, as a new one. At QoS 2 nobody has seen it before.
    if (position >= kept.durableEnd && owed.qos === 1) session.taken.delete(message);
  }
}

/** Takes the identifiers back that the store knows; returns their messages. */
function restoreInbound(session: ModelSession, kept: StoredSession): Message[] {
  session.inbound = new Map([...kept.inbound].map((packetId) => [packetId, session.published.get(packetId)!]));
  return [...session.inbound.values()];
}

const NOTHING_OWED: Owed = {
  message: {
    id: -1,
    publisher: '',
    topic: '',
    qos: 0,
    payload: '',
    expiryS: 0,
    retain: false,
    answered: false,
    wasRefused: false,
    wasErased: false,
    firstRoute: null,
    lastRoute: [],
  },
  qos: 1,
  expiresAtMs: Infinity,
  ownExpiresAtMs: Infinity,
  state: 'done',
  packetId: 0,
  sentOn: 0,
  isAnswered: false,
  mayBeMissing: false,
  isErased: false,
};

/** Filters are whole topics or end in one `+`. */
function isMatch(filter: string, topic: string): boolean {
  return filter === topic || filter === topic.replace(/[^/]+$/, '+');
}

/** Highest QoS of the subscriptions that match, -1 when none does. Filters are whole topics or end in one `+`. */
function grantedQos(session: ModelSession, topic: string): number {
  const wild = topic.replace(/[^/]+$/, '+');
  return Math.max(session.subscriptions.get(topic) ?? -1, session.subscriptions.get(wild) ?? -1);
}
