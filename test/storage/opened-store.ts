// A store under test as the contract sees it: opened and started again in its own way, read to the end, settled.
import { expect, vi } from 'vitest';
import type { MessageView } from '../../protocol/publish.ts';
import type { DeliverySink, Store } from '../../storage/store.ts';
import { contentOf, fieldsOf } from './message.ts';

/** For how long, and how often, a store is looked at until it is as it should be. */
export const WAIT = { timeout: 10_000, interval: 2 };

/** A store under test, and what its test must do for it. */
export interface Opened {
  readonly store: Store;
  /** Lets a store work that works only when it is told to. */
  readonly work?: () => void;
  /** The store after a stop and a start; the same one for a store that holds nothing but memory. */
  restart(): Promise<Opened>;
  /** Closes it and takes away what it left. */
  dispose(): Promise<void>;
}

/** What it takes to use it. */
export type Driven = Pick<Opened, 'store' | 'work'>;

/** What a store held when it was asked to recover. */
export class Recovered {
  readonly sessions = new Map<number, string>();
  readonly subscriptions = new Map<string, string>();
  readonly deliveries = new Map<number, { base: number; end: number; messages: number; bytes: number }>();
  readonly inbound = new Map<number, number[]>();
  readonly retained = new Map<number, ReturnType<typeof fieldsOf>>();

  static async of(store: Store): Promise<Recovered> {
    const found = new Recovered();
    await store.recover({
      session: (session, record) => {
        expect(found.sessions.has(session), 'a session comes once').toBe(false);
        found.sessions.set(session, Buffer.from(record).toString());
      },
      subscription: (session, number, filter, options, identifier) => {
        expect(found.sessions.has(session), 'a session comes before its subscriptions').toBe(true);
        found.subscriptions.set(`${session} ${number}`, `${Buffer.from(filter)} ${options} ${identifier}`);
      },
      deliveries: (session, base, end, messages, bytes) => {
        expect(found.sessions.has(session), 'a session comes before its deliveries').toBe(true);
        found.deliveries.set(session, { base, end, messages, bytes });
      },
      inbound: (session, packetId) => {
        expect(found.sessions.has(session), 'a session comes before its identifiers').toBe(true);
        found.inbound.set(
          session,
          [...(found.inbound.get(session) ?? []), packetId].sort((a, b) => a - b),
        );
      },
      retained: (number, message) => {
        found.retained.set(number, fieldsOf(message));
      },
    });
    return found;
  }
}

/** A delivery as `read` gives it. */
export interface Delivery {
  readonly position: number;
  readonly bits: number;
  readonly ids: string;
  readonly received: boolean;
  readonly message: ReturnType<typeof contentOf> | null;
}

/** One `read`: what it gave, and where the next one is to begin. */
export function readOnce(
  opened: Driven,
  session: number,
  from: number,
  limit: number,
): Promise<{ found: Delivery[]; next: number }> {
  const found: Delivery[] = [];
  return new Promise((resolve) => {
    const sink: DeliverySink = {
      delivery(position, bits, ids, received, message: MessageView | null) {
        // Of one that was received only the identifier matters, and that it is one of QoS 2.
        const fields = message === null ? null : contentOf(message);
        found.push({
          position,
          bits: received ? bits & 3 : bits,
          ids: received ? '' : Buffer.from(ids).toString('hex'),
          received,
          message: fields,
        });
      },
      end: (next) => resolve({ found, next }),
    };
    opened.store.read(session, from, limit, sink);
    opened.store.flush();
    opened.work?.();
  });
}

/** Resolves when everything that was taken is durable. */
export async function settle(opened: Driven): Promise<void> {
  const { store } = opened;
  store.flush();
  await vi.waitFor(() => {
    opened.work?.();
    expect(store.durable).toBeGreaterThanOrEqual(store.sequence);
  }, WAIT);
}
