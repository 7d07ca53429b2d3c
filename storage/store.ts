// The seam under the sessions: what must outlive a connection, as a stream of intents and a watermark.
//
// The engine calls the mutating methods in the order in which things happen; each is an intent with the next sequence number.
// An intent is *durable* when `durable` has reached its number. The engine holds every acknowledgement back until the intents behind
// it are durable, and never waits otherwise. Nothing here throws: a store that cannot take an intent says so by a fault
// (QUOTA_EXCEEDED for a full one), and has then not taken it.
//
// One store may have several clients (threads of the engine), each with a Store of its own: its own intents, numbers and watermark. What
// one client put is owed by that client's `addDelivery` alone. A session is used by one client at a time: to hand it on, the one stops, waits until
// its `written` has reached its `sequence`, and only then tells the other, which begins with `putSession`.
//
// Sessions are numbers that the engine gives, for all clients, and never twice while a store is open; deliveries are (session, position), positions grow by one. A message
// is put once and referenced by any number of deliveries; it is dropped with its last reference.
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
  subscription(session: number, number: number, filter: Uint8Array, options: number, identifier: number): void;
  /** Deliveries that are held for a session: [base, end) covers their positions. */
  deliveries(session: number, base: number, end: number, messages: number, bytes: number): void;
  inbound(session: number, packetId: number): void;
  retained(number: number, message: MessageView): void;
}

/** Why a store let something go that nobody had acknowledged. */
export const GoneReason = { EXPIRED: 0, TRIMMED: 1, DAMAGED: 2 } as const;
export type GoneReason = (typeof GoneReason)[keyof typeof GoneReason];

/** What a store tells of its own accord; but for `taken`, never inside an intent. */
export interface StoreListener {
  /** Something was taken since the last `flush`, which is to be called at the end of the turn. */
  taken(): void;
  /** `durable` moved on, or the store has room again. */
  durable(): void;
  /**
   * A delivery ended without an acknowledgement; `bytes` of topic, properties and payload went with it. Told to the client whose `putSession`
   * came last (client 0 after a start): one that has handed the session on may still hear of it, and passes that on.
   */
  gone(session: number, position: number, bytes: number, reason: GoneReason): void;
  /** A retained message was let go because its time was up; told to client 0, which alone puts them. */
  retainedGone(number: number): void;
  /** Something an operator must know, in words without personal data; told to client 0. */
  trouble(message: string): void;
}

/** What is held now, in counts and bytes of topic, properties and payload. */
export interface Held {
  sessions: number;
  messages: number;
  messageBytes: number;
  retained: number;
  retainedBytes: number;
}

/** How much of one class is held, and since when: wall clock in ms of the oldest, null when there is none. */
export interface HeldClass {
  count: number;
  bytes: number;
  oldestMs: number | null;
}

/** What is held, by class. Counts messages as often as they are stored: once, however many sessions wait. */
export interface StoreInventory {
  messages: HeldClass;
  retained: HeldClass;
  sessions: HeldClass;
  /** Sessions whose record holds a will. */
  wills: HeldClass;
  /** Damaged values that were set aside. */
  quarantined: HeldClass;
}

/** Which of the values that were set aside for their damage an erasure takes too. */
export const SetAside = {
  STAYS: 0,
  /** Those that are no session's, or of which nobody can tell whose they are: messages that several waited for, retained messages, records of sessions. */
  UNOWNED: 1,
  ALL: 2,
} as const;
export type SetAside = (typeof SetAside)[keyof typeof SetAside];

export interface Store {
  /** Number of the last intent taken. */
  readonly sequence: number;
  /** Number of the last intent that would survive a crash; of the last one taken where the operator wants no waiting for that. */
  readonly durable: number;
  /** Number of the last intent that would survive a crash, in any case: what comes after it, from any client, comes after it in the store too. */
  readonly written: number;
  /** Whether sessions of other clients of the same store can be used by their number from here. */
  readonly isShared: boolean;
  /** Whether the store is far behind its intents: publishers that feed it should not be read from until `durable` is told. */
  readonly isBehind: boolean;
  /** Whether messages would be refused now: the store is full, has failed, or is hopelessly behind. */
  readonly isRefusing: boolean;
  listener: StoreListener | null;

  /** Creates or replaces a session's record (opaque bytes, copied). `hasWill`: a will is part of it. */
  putSession(session: number, record: Uint8Array, hasWill: boolean): void;
  /** Removes a session with its subscriptions, deliveries and inbound identifiers. */
  dropSession(session: number): void;
  /** Adds or replaces subscription `number` of a session: the whole filter (copied), its options and Subscription Identifier. */
  putSubscription(session: number, number: number, filter: Uint8Array, options: number, identifier: number): void;
  dropSubscription(session: number, number: number): void;
  /** Keeps a copy of a message; returns its number (> 0) or a fault. It must be referenced in the same turn. */
  putMessage(message: MessageView): number;
  /** Owes the message put last to a session at the next position. `bits`: QoS and retain; `subscriptionIds`: encoded properties. */
  addDelivery(session: number, position: number, message: number, bits: number, subscriptionIds: Uint8Array): void;
  /** The receiver has the message (PUBREC): the reference goes, the position stays until it is dropped. */
  markReceived(session: number, position: number): void;
  /** The delivery is finished. */
  dropDelivery(session: number, position: number): void;
  /** Lets the oldest message from `position` on go that is still kept for a session; `gone` tells which it was. */
  trim(session: number, position: number): void;
  addInbound(session: number, packetId: number): void;
  dropInbound(session: number, packetId: number): void;
  /** Creates or replaces retained message `number`. Returns 0 or a fault. */
  putRetained(number: number, message: MessageView): number;
  dropRetained(number: number): void;
  /** What another client of the same store has flushed by now becomes durable no later than what this one has taken in the turn. */
  dependsOn(client: number): void;
  /** The turn is over: what was taken since the last call is passed on. */
  flush(): void;

  /** Gives up to `limit` deliveries of a session from a position on to `sink`, inside the call or later. */
  read(session: number, from: number, limit: number, sink: DeliverySink): void;
  /** Gives what the store holds: sessions first, each before what belongs to it. Once, before anything else; asked by client 0. */
  recover(visitor: RecoveryVisitor): Promise<void>;
  held(): Held;
  inventory(): Promise<StoreInventory>;
  /** Wall clock in ms since when the oldest message is held that is owed to a session; null when there is none. */
  oldest(session: number): Promise<number | null>;
  /**
   * Erases at once what this client has let go by now, and what was set aside as far as `setAside` says. Resolves when it is beyond recovery, to the number of values that were set aside; to
   * -1 when the disk does not let it.
   */
  erase(setAside: SetAside): Promise<number>;
  /** Lets go of what expires by `wallMs`; called about once a second. A store with a clock of its own need not listen. */
  expire(wallMs: number): void;
  /**
   * Makes everything durable and lets go of the files. A client other than client 0 only leaves: resolves when all that it has sent is durable, or the
   * disk does not take it. Client 0 closes last.
   */
  close(): Promise<void>;
}
