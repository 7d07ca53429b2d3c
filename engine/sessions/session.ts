// A session (MQTT 5.0 §4.1): what the broker remembers of a client, whether it is connected or not. Owned by the
// session table; others hold its handle. Its subscriptions stand here too, so that they can be taken back out of the trie.
import { Level } from '../../protocol/packet.ts';
import { type MessageSlab, NO_MESSAGE } from '../memory/messages.ts';
import { NOBODY, type Principal, principalOf } from '../principal.ts';
import type { Timer } from '../timers.ts';
import type { Connection } from './connection.ts';
import { Deliveries, DeliveryState } from './deliveries.ts';
import { DurableTail } from './durable-tail.ts';
import { InboundIdentifiers } from './inbound.ts';

/** Handle of a session: index (24 bits) | generation (6 bits). */
export type SessionHandle = number & { readonly __session: unique symbol };

/** A subscription as the session remembers it. */
export interface Subscription {
  /** The whole filter, `$share/…` included. */
  readonly filter: Uint8Array;
  readonly options: number;
  /** Subscription Identifier, 0 for none. */
  readonly identifier: number;
  /** Number in the session, for the store. */
  readonly number: number;
  /** Its entry in the trie. */
  readonly entry: number;
}

/** A Will (MQTT 5.0 §3.1.2.5), owned. */
export interface Will {
  readonly qos: number;
  readonly retain: boolean;
  readonly topic: Uint8Array;
  readonly payload: Uint8Array;
  readonly properties: Uint8Array;
  readonly delayS: number;
  /** -1: none. */
  readonly expiryS: number;
}

/** What happens to a message for a session whose queue is full. */
export const QueueOverflow = {
  /** The publisher is told (0x97). */
  REFUSE: 0,
  /** The oldest message that was not sent makes room. */
  DROP_OLDEST: 1,
  /** The message is dropped, and counts as delivered. */
  DROP_NEWEST: 2,
} as const;
export type QueueOverflow = (typeof QueueOverflow)[keyof typeof QueueOverflow];

/** Session Expiry Interval that never ends (MQTT 5.0 §3.1.2.11.2). */
export const SESSION_NEVER_EXPIRES = 0xffff_ffff;

export class Session {
  readonly handle: SessionHandle;
  readonly clientId: string;
  /** Who rights are asked for: who its client was found to be, last time. */
  principal: Principal = principalOf(NOBODY);
  level: Level = Level.V311;
  connection: Connection | null = null;
  /** Session Expiry Interval in seconds. */
  expiryS = 0;
  /** Number in the store; 0 for a session that ends with its connection. */
  stored = 0;
  readonly subscriptions = new Map<string, Subscription>();
  nextSubscription = 1;
  readonly deliveries = new Deliveries();
  /** Position of the next delivery. Ahead of the end of `deliveries` while part of the queue lies in the store alone. */
  tail = 0;
  /** How much of a stored queue is known to be durable, where QoS 2 is in it. */
  readonly durable = new DurableTail();
  /** Intent that tells the store that the client is connected. */
  joined = 0;
  /** Positions below this were sent at some time, or may have been. */
  sentBefore = 0;
  overflow: QueueOverflow = QueueOverflow.REFUSE;
  /** Listener that its client came to last; empty where that is not known. */
  listener = '';
  /** A read of the store is on its way. */
  reading = false;
  /** Deliveries owed and not finished, with the bytes of those that are kept. */
  queuedMessages = 0;
  queuedBytes = 0;
  readonly inbound = new InboundIdentifiers();
  will: Will | null = null;
  /** Ends the session, or publishes its will; set while the client is away. */
  expiryTimer: Timer | null = null;
  willTimer: Timer | null = null;
  /** Wall clock in ms when the connection ended; 0 while connected. */
  disconnectedAtMs = 0;
  /** It is on its way to another shard: what still comes is queued, and nobody joins it here. */
  leaving = false;

  constructor(handle: SessionHandle, clientId: string) {
    this.handle = handle;
    this.clientId = clientId;
  }

  get username(): string | null {
    return this.principal.username;
  }

  /** Whether the session can outlive its connection. */
  get persistent(): boolean {
    return this.expiryS > 0;
  }

  /** Whether everything that is owed stands in `deliveries`. */
  get loaded(): boolean {
    return this.deliveries.base + this.deliveries.count === this.tail;
  }

  /** Gives every message that `deliveries` holds back to the slab and leaves the log empty at its base. */
  unload(messages: MessageSlab): void {
    const { deliveries } = this;
    for (let offset = 0; offset < deliveries.count; offset++) {
      if (deliveries.state(offset) === DeliveryState.DONE) continue;
      const message = deliveries.message(offset);
      if (message !== NO_MESSAGE) messages.release(message);
    }
    deliveries.reset(deliveries.base);
  }
}
