// The store without a disk: what is put is "durable" at once, and is gone with the object. It is what `--ephemeral` runs on, what
// the simulator breaks on purpose, and the plainest reading of the contract in store.ts.
import { copyBytes } from '../protocol/bytes.ts';
import { MessageView } from '../protocol/publish.ts';
import type { DeliverySink, Held, RecoveryVisitor, Store } from './store.ts';

interface StoredMessage {
  readonly view: MessageView;
  readonly bytes: number;
  references: number;
}

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
  readonly subscriptions: Map<string, StoredSubscription>;
  /** By position, which is also the order of insertion. */
  readonly deliveries: Map<number, StoredDelivery>;
  readonly inbound: Set<number>;
  end: number;
}

export class MemoryStore implements Store {
  sequence = 0;
  onDurable: (() => void) | null = null;
  readonly #sessions = new Map<number, StoredSession>();
  readonly #messages = new Map<number, StoredMessage>();
  readonly #retained = new Map<string, StoredMessage>();
  #nextMessage = 1;
  #messageBytes = 0;
  #retainedBytes = 0;

  get durable(): number {
    return this.sequence;
  }

  putSession(session: number, record: Uint8Array): void {
    this.sequence++;
    const known = this.#sessions.get(session);
    const copy = record.slice();
    if (known !== undefined) known.record = copy;
    else
      this.#sessions.set(session, { record: copy, subscriptions: new Map(), deliveries: new Map(), inbound: new Set(), end: 0 });
  }

  dropSession(session: number): void {
    this.sequence++;
    const known = this.#sessions.get(session);
    if (known === undefined) return;
    for (const delivery of known.deliveries.values()) this.#unreference(delivery);
    this.#sessions.delete(session);
  }

  putSubscription(session: number, filter: Uint8Array, options: number, identifier: number): void {
    this.sequence++;
    const key = topicKey(filter, 0, filter.length);
    this.#sessions.get(session)?.subscriptions.set(key, { filter: filter.slice(), options, identifier });
  }

  dropSubscription(session: number, filter: Uint8Array): void {
    this.sequence++;
    this.#sessions.get(session)?.subscriptions.delete(topicKey(filter, 0, filter.length));
  }

  putMessage(message: MessageView): number {
    this.sequence++;
    const stored = keep(message);
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
    known.end = position + 1;
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

  putRetained(message: MessageView): number {
    this.dropRetained(message.topic, message.topicFrom, message.topicTo);
    const stored = keep(message);
    this.#retained.set(topicKey(message.topic, message.topicFrom, message.topicTo), stored);
    this.#retainedBytes += stored.bytes;
    return 0;
  }

  dropRetained(topic: Uint8Array, from: number, to: number): void {
    this.sequence++;
    const key = topicKey(topic, from, to);
    const known = this.#retained.get(key);
    if (known === undefined) return;
    this.#retainedBytes -= known.bytes;
    this.#retained.delete(key);
  }

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
      for (const { filter, options, identifier } of session.subscriptions.values()) {
        visitor.subscription(number, filter, options, identifier);
      }
      let base = session.end;
      let bytes = 0;
      for (const [position, delivery] of session.deliveries) {
        base = Math.min(base, position);
        bytes += delivery.message?.bytes ?? 0;
      }
      visitor.deliveries(number, base, session.end, session.deliveries.size, bytes);
      for (const packetId of session.inbound) visitor.inbound(number, packetId);
    }
    for (const message of this.#retained.values()) visitor.retained(message.view);
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

  async close(): Promise<void> {
    this.onDurable = null;
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

function topicKey(topic: Uint8Array, from: number, to: number): string {
  return Buffer.from(topic.buffer, topic.byteOffset + from, to - from).toString('latin1');
}

/** One copy of a message in a buffer of its own. */
function keep(source: MessageView): StoredMessage {
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
  return { view, bytes, references: 0 };
}
