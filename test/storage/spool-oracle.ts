// The plainest reading of what a spool holds: maps of what was put and not dropped. No batches, no values, no disk.
import type { MessageView } from '../../protocol/publish.ts';
import type { Held } from '../../storage/store.ts';

export interface OracleMessage {
  /** Topic, properties and payload, one behind the other, in latin1. */
  readonly text: string;
  readonly untilMs: number;
  /** What a receiver is told of its expiry. */
  readonly expiresAtMs: number;
}

export interface OracleDelivery {
  /** Null once it was received. */
  readonly message: OracleMessage | null;
  readonly bits: number;
  readonly ids: string;
}

export interface OracleSession {
  record: string;
  readonly subscriptions: Map<number, string>;
  /** By position, rising. */
  readonly deliveries: Map<number, OracleDelivery>;
  readonly inbound: Set<number>;
  /** The next position. */
  next: number;
}

/** A delivery as a read gives it; the message as text, null when it was received. */
export interface ReadDelivery {
  readonly position: number;
  readonly bits: number;
  readonly ids: string;
  readonly text: string | null;
  readonly expiresAtMs: number;
}

export const RECEIVED_BITS = 2;

export class Oracle {
  readonly sessions = new Map<number, OracleSession>();
  readonly retained = new Map<number, OracleMessage>();

  /** A copy that goes its own way; messages are never changed, and shared. */
  clone(): Oracle {
    const copy = new Oracle();
    for (const [number, { record, subscriptions, deliveries, inbound, next }] of this.sessions) {
      copy.sessions.set(number, {
        record,
        subscriptions: new Map(subscriptions),
        deliveries: new Map(deliveries),
        inbound: new Set(inbound),
        next,
      });
    }
    for (const [number, message] of this.retained) copy.retained.set(number, message);
    return copy;
  }

  held(): Held {
    const messages = this.messages();
    let messageBytes = 0;
    for (const { text } of messages) messageBytes += text.length;
    let retainedBytes = 0;
    for (const { text } of this.retained.values()) retainedBytes += text.length;
    return {
      sessions: this.sessions.size,
      messages: messages.size,
      messageBytes,
      retained: this.retained.size,
      retainedBytes,
    };
  }

  /** Messages that somebody waits for, each once. */
  messages(): Set<OracleMessage> {
    const messages = new Set<OracleMessage>();
    for (const { deliveries } of this.sessions.values()) {
      for (const { message } of deliveries.values()) if (message !== null) messages.add(message);
    }
    return messages;
  }

  /** Counts of what a session is owed and that is kept for it. */
  owed(session: number): { messages: number; bytes: number } {
    let messages = 0;
    let bytes = 0;
    for (const { message } of this.sessions.get(session)?.deliveries.values() ?? []) {
      if (message === null) continue;
      messages++;
      bytes += message.text.length;
    }
    return { messages, bytes };
  }

  /** What a read from a position on must give. */
  read(session: number, from: number, limit: number, nowMs: number): ReadDelivery[] {
    const found: ReadDelivery[] = [];
    for (const [position, { message, bits, ids }] of this.sessions.get(session)?.deliveries ?? []) {
      if (found.length >= limit) break;
      if (position < from) continue;
      if (message === null) found.push({ position, bits: RECEIVED_BITS, ids: '', text: null, expiresAtMs: Infinity });
      else if (message.untilMs > nowMs) found.push({ position, bits, ids, text: message.text, expiresAtMs: message.expiresAtMs });
    }
    return found;
  }

  /** First position from `from` on whose message is kept and has not expired; -1 when there is none. */
  oldest(session: number, from: number, nowMs: number): number {
    for (const [position, { message }] of this.sessions.get(session)?.deliveries ?? []) {
      if (position >= from && message !== null && message.untilMs > nowMs) return position;
    }
    return -1;
  }

  hasExpired(session: number, nowMs: number): boolean {
    for (const { message } of this.sessions.get(session)?.deliveries.values() ?? []) {
      if (message !== null && message.untilMs <= nowMs) return true;
    }
    return false;
  }

  dropExpired(nowMs: number): void {
    for (const { deliveries } of this.sessions.values()) {
      for (const [position, { message }] of deliveries) {
        if (message !== null && message.untilMs <= nowMs) deliveries.delete(position);
      }
    }
    for (const [number, { untilMs }] of this.retained) if (untilMs <= nowMs) this.retained.delete(number);
  }

  /** Everything as one text, to be compared. */
  describe(nowMs: number): string {
    const lines: string[] = [];
    for (const [number, session] of [...this.sessions].sort(([a], [b]) => a - b)) {
      lines.push(`session ${number} ${session.record}`);
      for (const [own, text] of [...session.subscriptions].sort(([a], [b]) => a - b)) lines.push(` filter ${own} ${text}`);
      lines.push(` inbound ${[...session.inbound].sort((a, b) => a - b).join()}`);
      for (const delivery of this.read(number, 0, Infinity, nowMs)) lines.push(` ${describeDelivery(delivery)}`);
    }
    for (const [number, { text, untilMs }] of [...this.retained].sort(([a], [b]) => a - b)) {
      if (untilMs > nowMs) lines.push(`retained ${number} ${text}`);
    }
    return lines.join('\n');
  }
}

export function describeDelivery({ position, bits, ids, text, expiresAtMs }: ReadDelivery): string {
  return `delivery ${position} ${bits} [${ids}] ${text === null ? 'received' : `<${text}>`} ${expiresAtMs}`;
}

/** Topic, properties and payload of a message, as the oracle keeps them. */
export function textOf(view: MessageView): string {
  const parts = [
    view.topic.subarray(view.topicFrom, view.topicTo),
    view.properties.subarray(view.propertiesFrom, view.propertiesTo),
    view.payload.subarray(view.payloadFrom, view.payloadTo),
  ];
  return Buffer.concat(parts).toString('latin1');
}
