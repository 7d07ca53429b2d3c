// The store without a disk: what is put is "durable" at once, and is gone with the object. It is what `--ephemeral` runs on, what
// the simulator breaks on purpose, and the plainest reading of the contract in store.ts.
import { copyBytes, ownBytes } from '../protocol/bytes.ts';
import { MessageView } from '../protocol/publish.ts';
import {
  type DeliverySink,
  GoneReason,
  type Held,
  type RecoveryVisitor,
  type Store,
  type StoreInventory,
  type StoreListener,
} from './store.ts';

interface StoredMessage {
  readonly view: MessageView;
  readonly bytes: number;
  readonly sinceMs: number;
  references: number;
}

/** What must be looked at when its time is up: a delivery, or a retained message. */
type Expiry =
  | { readonly session: number; readonly position: number }
  | { readonly retained: number; readonly message: StoredMessage };

interface StoredDelivery {
  /** Null once it was received. */
  message: StoredMessage | null;
  readonly number: number;
  readonly bits: number;
  readonly subscriptionIds: Uint8Array;
}

interface StoredSubscription {
  readonly filter: Uint8Array;
  readonly options: number;
  readonly identifier: number;
}

interface StoredSession {
  record: Uint8Array;
  hasWill: boolean;
  readonly sinceMs: number;
  readonly subscriptions: Map<number, StoredSubscription>;
  /** By position, which is also the order of insertion. */
  readonly deliveries: Map<number, StoredDelivery>;
  readonly inbound: Set<number>;
  end: number;
}

export class MemoryStore implements Store {
  sequence = 0;
  listener: StoreListener | null = null;
  readonly isBehind = false;
  readonly isShared = false;
  readonly isRefusing = false;
  readonly #sessions = new Map<number, StoredSession>();
  readonly #messages = new Map<number, StoredMessage>();
  readonly #retained = new Map<number, StoredMessage>();
  /** By the second in which they expire. */
  readonly #expiries = new Map<number, Expiry[]>();
  #wallMs = 0;
  readonly #retentionMs: number;

  /** `retentionMs`: longest time that a message is kept. */
  constructor(retentionMs = Infinity) {
    this.#retentionMs = retentionMs;
  }
  #nextMessage = 1;
  #messageBytes = 0;
  #retainedBytes = 0;

  get durable(): number {
    return this.sequence;
  }

  get written(): number {
    return this.sequence;
  }

  putSession(session: number, record: Uint8Array, hasWill: boolean): void {
    this.sequence++;
    const known = this.#sessions.get(session);
    const copy = ownBytes(record, 0, record.length);
    if (known !== undefined) {
      known.record = copy;
      known.hasWill = hasWill;
      return;
    }
    const held = { subscriptions: new Map(), deliveries: new Map(), inbound: new Set<number>(), end: 0 };
    this.#sessions.set(session, { record: copy, hasWill, sinceMs: this.#wallMs, ...held });
  }

  dropSession(session: number): void {
    this.sequence++;
    const known = this.#sessions.get(session);
    if (known === undefined) return;
    for (const delivery of known.deliveries.values()) this.#unreference(delivery);
    this.#sessions.delete(session);
  }

  putSubscription(session: number, number: number, filter: Uint8Array, options: number, identifier: number): void {
    this.sequence++;
    this.#sessions.get(session)?.subscriptions.set(number, { filter: ownBytes(filter, 0, filter.length), options, identifier });
  }

  dropSubscription(session: number, number: number): void {
    this.sequence++;
    this.#sessions.get(session)?.subscriptions.delete(number);
  }

  putMessage(message: MessageView): number {
    this.sequence++;
    const stored = keep(message, this.#wallMs);
    const number = this.#nextMessage++;
    this.#messages.set(number, stored);
    this.#messageBytes += stored.bytes;
    return number;
  }

  addDelivery(session: number, position: number, message: number, bits: number, subscriptionIds: Uint8Array): void {
    this.sequence++;
    const known = this.#sessions.get(session);
    const stored = this.#messages.get(message);
    if (known === undefined || stored === undefined) return;
    stored.references++;
    known.deliveries.set(position, { message: stored, number: message, bits, subscriptionIds });
    known.end = Math.max(known.end, position + 1); // a session that moves here has its last position first
    this.#expireLater(Math.min(stored.view.expiresAtMs, stored.sinceMs + this.#retentionMs), { session, position });
  }

  markReceived(session: number, position: number): void {
    this.sequence++;
    const delivery = this.#sessions.get(session)?.deliveries.get(position);
    if (delivery !== undefined) this.#unreference(delivery);
  }

  dropDelivery(session: number, position: number): void {
    this.sequence++;
    const deliveries = this.#sessions.get(session)?.deliveries;
    const delivery = deliveries?.get(position);
    if (deliveries === undefined || delivery === undefined) return;
    this.#unreference(delivery);
    deliveries.delete(position);
  }

  addInbound(session: number, packetId: number): void {
    this.sequence++;
    this.#sessions.get(session)?.inbound.add(packetId);
  }

  dropInbound(session: number, packetId: number): void {
    this.sequence++;
    this.#sessions.get(session)?.inbound.delete(packetId);
  }

  trim(session: number, position: number): void {
    this.sequence++;
    const known = this.#sessions.get(session);
    if (known === undefined) return;
    for (const [found, delivery] of known.deliveries) {
      if (found < position || delivery.message === null) continue;
      this.#letGo(session, known, found, GoneReason.TRIMMED);
      return;
    }
  }

  putRetained(number: number, message: MessageView): number {
    this.dropRetained(number);
    const stored = keep(message, this.#wallMs);
    this.#retained.set(number, stored);
    this.#retainedBytes += stored.bytes;
    this.#expireLater(stored.view.expiresAtMs, { retained: number, message: stored });
    return 0;
  }

  dropRetained(number: number): void {
    this.sequence++;
    const known = this.#retained.get(number);
    if (known === undefined) return;
    this.#retainedBytes -= known.bytes;
    this.#retained.delete(number);
  }

  /** There are no other clients. */
  dependsOn(): void {}

  /** Everything is durable at once. */
  flush(): void {}

  read(session: number, from: number, limit: number, sink: DeliverySink): void {
    const known = this.#sessions.get(session);
    if (known === undefined) {
      sink.end(from);
      return;
    }
    let given = 0;
    for (const [position, delivery] of known.deliveries) {
      if (position < from) continue;
      if (given === limit) {
        sink.end(position);
        return;
      }
      const { message } = delivery;
      sink.delivery(position, delivery.bits, delivery.subscriptionIds, message === null, message === null ? null : message.view);
      given++;
    }
    sink.end(Math.max(from, known.end));
  }

  async recover(visitor: RecoveryVisitor): Promise<void> {
    for (const [number, session] of this.#sessions) {
      visitor.session(number, session.record);
      for (const [own, { filter, options, identifier }] of session.subscriptions) {
        visitor.subscription(number, own, filter, options, identifier);
      }
      let base = session.end;
      let messages = 0;
      let bytes = 0;
      for (const [position, delivery] of session.deliveries) {
        if (delivery.message !== null) messages++;
        base = Math.min(base, position);
        bytes += delivery.message?.bytes ?? 0;
      }
      visitor.deliveries(number, base, session.end, messages, bytes);
      for (const packetId of session.inbound) visitor.inbound(number, packetId);
    }
    for (const [number, message] of this.#retained) visitor.retained(number, message.view);
  }

  held(): Held {
    return {
      sessions: this.#sessions.size,
      messages: this.#messages.size,
      messageBytes: this.#messageBytes,
      retained: this.#retained.size,
      retainedBytes: this.#retainedBytes,
    };
  }

  async oldest(session: number): Promise<number | null> {
    const deliveries = this.#sessions.get(session)?.deliveries.values() ?? [];
    for (const { message } of deliveries) if (message !== null) return message.sinceMs;
    return null;
  }

  /** What was let go is gone. */
  async erase(): Promise<number> {
    return 0;
  }

  async inventory(): Promise<StoreInventory> {
    const held = this.held();
    const sessions = [...this.#sessions.values()];
    const wills = sessions.filter(({ hasWill }) => hasWill);
    const bytesOf = (some: readonly StoredSession[]) => some.reduce((sum, { record }) => sum + record.length, 0);
    return {
      messages: { count: held.messages, bytes: held.messageBytes, oldestMs: oldest(this.#messages.values()) },
      retained: { count: held.retained, bytes: held.retainedBytes, oldestMs: oldest(this.#retained.values()) },
      sessions: { count: sessions.length, bytes: bytesOf(sessions), oldestMs: oldest(sessions) },
      wills: { count: wills.length, bytes: bytesOf(wills), oldestMs: oldest(wills) },
      quarantined: { count: 0, bytes: 0, oldestMs: null },
    };
  }

  expire(wallMs: number): void {
    this.#wallMs = wallMs;
    const nowS = Math.floor(wallMs / 1_000);
    if (this.#expiries.size === 0) return;
    const due = [...this.#expiries.keys()].filter((second) => second <= nowS);
    for (const second of due) {
      const expiries = this.#expiries.get(second)!;
      this.#expiries.delete(second);
      for (const expiry of expiries) this.#expireOne(expiry);
    }
  }

  async close(): Promise<void> {
    this.listener = null;
  }

  #expireLater(expiresAtMs: number, expiry: Expiry): void {
    if (expiresAtMs === Infinity) return;
    const second = Math.ceil(expiresAtMs / 1_000);
    const others = this.#expiries.get(second);
    if (others === undefined) this.#expiries.set(second, [expiry]);
    else others.push(expiry);
  }

  #expireOne(expiry: Expiry): void {
    if ('retained' in expiry) {
      if (this.#retained.get(expiry.retained) !== expiry.message) return;
      this.dropRetained(expiry.retained);
      this.listener?.retainedGone(expiry.retained);
      return;
    }
    const known = this.#sessions.get(expiry.session);
    const delivery = known?.deliveries.get(expiry.position);
    if (known === undefined || delivery === undefined || delivery.message === null) return;
    this.#letGo(expiry.session, known, expiry.position, GoneReason.EXPIRED);
  }

  /** Lets a delivery go that nobody acknowledged. */
  #letGo(session: number, known: StoredSession, position: number, reason: GoneReason): void {
    const delivery = known.deliveries.get(position)!;
    const bytes = delivery.message?.bytes ?? 0;
    this.#unreference(delivery);
    known.deliveries.delete(position);
    this.listener?.gone(session, position, bytes, reason);
  }

  #unreference(delivery: StoredDelivery): void {
    const { message } = delivery;
    if (message === null) return;
    delivery.message = null;
    if (--message.references > 0) return;
    this.#messages.delete(delivery.number);
    this.#messageBytes -= message.bytes;
  }
}

function oldest(some: Iterable<{ readonly sinceMs: number }>): number | null {
  let earliest = Infinity;
  for (const { sinceMs } of some) earliest = Math.min(earliest, sinceMs);
  return earliest === Infinity ? null : earliest;
}

/** One copy of a message in a buffer of its own. */
function keep(source: MessageView, sinceMs: number): StoredMessage {
  const bytes =
    source.topicTo - source.topicFrom + source.propertiesTo - source.propertiesFrom + source.payloadTo - source.payloadFrom;
  const block = new Uint8Array(bytes);
  const view = new MessageView();
  view.topic = block;
  view.topicTo = copyBytes(source.topic, source.topicFrom, source.topicTo, block, 0);
  view.properties = block;
  view.propertiesFrom = view.topicTo;
  view.propertiesTo = copyBytes(source.properties, source.propertiesFrom, source.propertiesTo, block, view.propertiesFrom);
  view.payload = block;
  view.payloadFrom = view.propertiesTo;
  view.payloadTo = copyBytes(source.payload, source.payloadFrom, source.payloadTo, block, view.payloadFrom);
  view.qos = source.qos;
  view.retain = source.retain;
  view.expiresAtMs = source.expiresAtMs;
  return { view, bytes, sinceMs, references: 0 };
}
