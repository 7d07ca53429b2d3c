// The seam under the sessions: what must outlive a connection, as a stream of intents and a watermark.
//
// The engine calls the mutating methods in the order in which things happen; each is an intent with the next sequence number.
// An intent is *durable* when `durable` has reached its number. The engine holds every acknowledgement back until the intents behind
// it are durable, and never waits otherwise. Nothing here throws: a store that cannot take an intent says so by a fault
// (QUOTA_EXCEEDED for a full one), and has then not taken it.
//
// Sessions are numbers that the engine gives; deliveries are (session, position), positions grow by one. A message is put once and
// referenced by any number of deliveries; it is dropped with its last reference.
import type { MessageView } from '../protocol/publish.ts';

/** Receives what `read` finds; ranges of `message` are borrowed for the call. */
export interface DeliverySink {
  /** A delivery in order. `received`: its PUBREC came, only its identifier matters now, and `message` is null. */
  delivery(position: number, bits: number, subscriptionIds: Uint8Array, received: boolean, message: MessageView | null): void;
  /** The read is over: everything below `next` that still exists was given. */
  end(next: number): void;
}

/** Receives what a store held when it was opened. Bytes are borrowed for the call. */
export interface RecoveryVisitor {
  session(session: number, record: Uint8Array): void;
  subscription(session: number, filter: Uint8Array, options: number, identifier: number): void;
  /** Deliveries that are held for a session: [base, end) covers their positions. */
  deliveries(session: number, base: number, end: number, messages: number, bytes: number): void;
  inbound(session: number, packetId: number): void;
  retained(message: MessageView): void;
}

/** What is held now, in counts and bytes of topic, properties and payload. */
export interface Held {
  sessions: number;
  messages: number;
  messageBytes: number;
  retained: number;
  retainedBytes: number;
}

export interface Store {
  /** Number of the last intent taken. */
  readonly sequence: number;
  /** Number of the last intent that would survive a crash. */
  readonly durable: number;
  /** Called after `durable` moved on, never inside an intent. */
  onDurable: (() => void) | null;

  /** Creates or replaces a session's record (opaque bytes, copied). */
  putSession(session: number, record: Uint8Array): void;
  /** Removes a session with its subscriptions, deliveries and inbound identifiers. */
  dropSession(session: number): void;
  /** Adds or replaces a subscription: the whole filter (copied), its options and Subscription Identifier. */
  putSubscription(session: number, filter: Uint8Array, options: number, identifier: number): void;
  dropSubscription(session: number, filter: Uint8Array): void;
  /** Keeps a copy of a message; returns its number (> 0) or a fault. It must be referenced in the same turn. */
  putMessage(message: MessageView): number;
  /** Owes a message to a session at the next position. `bits`: QoS and retain; `subscriptionIds`: encoded properties. */
  addDelivery(session: number, position: number, message: number, bits: number, subscriptionIds: Uint8Array): void;
  /** The receiver has the message (PUBREC): the reference goes, the position stays until it is dropped. */
  markReceived(session: number, position: number): void;
  /** The delivery is finished. */
  dropDelivery(session: number, position: number): void;
  addInbound(session: number, packetId: number): void;
  dropInbound(session: number, packetId: number): void;
  /** Replaces the retained message of its topic. Returns 0 or a fault. */
  putRetained(message: MessageView): number;
  dropRetained(topic: Uint8Array, from: number, to: number): void;

  /** Gives up to `limit` deliveries of a session from a position on to `sink`, inside the call or later. */
  read(session: number, from: number, limit: number, sink: DeliverySink): void;
  /** Gives what the store holds: sessions first, each before what belongs to it. */
  recover(visitor: RecoveryVisitor): Promise<void>;
  held(): Held;
  /** Makes everything durable and lets go of the files. */
  close(): Promise<void>;
}
