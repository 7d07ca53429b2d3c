// Transfers that a crash has left on their way (transfer.ts): what a shard has no mark of is given to its receivers now, and then nothing is left of transfers and marks. Each goes in one
// commit with its end, so that a crash in the middle does not give it twice.
import { ownBytes } from '../../protocol/bytes.ts';
import type { MessageView } from '../../protocol/publish.ts';
import { type MessageHandle, NO_MESSAGE } from '../memory/messages.ts';
import type { Session } from '../sessions/session.ts';
import { deliverRecovered } from './deliver.ts';
import { keepRecovered } from './retain.ts';
import type { Shard } from './shard.ts';
import { hiddenSession, markOf, unpackTransfer } from './transfer.ts';

/** A transfer as the store gave it. */
interface Found {
  readonly position: number;
  readonly bits: number;
  readonly record: Uint8Array;
  readonly message: MessageHandle;
}

/** The sessions of a store that are none. */
export class HiddenSessions {
  /** Stored session of each shard's transfers. */
  readonly #transfers = new Map<number, number>();
  /** Marks by stored session, and stored session by the shards between which they stand. */
  readonly #marks = new Map<number, Set<number>>();
  readonly #between = new Map<string, number>();

  /** Where the queues of transfers end. */
  readonly #ends = new Map<number, number>();

  /** Sessions that are none. */
  get count(): number {
    return this.#transfers.size + this.#marks.size;
  }

  /** Whether a session was one of these. */
  took(number: number, clientId: string): boolean {
    const hidden = hiddenSession(clientId);
    if (hidden === null) return false;
    if (hidden.kind === 'transfers') {
      this.#transfers.set(number, hidden.from);
    } else {
      this.#marks.set(number, new Set());
      this.#between.set(`${hidden.from} ${hidden.to}`, number);
    }
    return true;
  }

  tookMark(number: number, mark: number): boolean {
    const marks = this.#marks.get(number);
    marks?.add(mark);
    return marks !== undefined || this.#transfers.has(number);
  }

  tookDeliveries(number: number, end: number): boolean {
    if (this.#transfers.has(number)) this.#ends.set(number, end);
    return this.#transfers.has(number) || this.#marks.has(number);
  }

  /** Gives what was on its way to those who do not have it. `found`: sessions by their number in the store; `connected`: those whose client was there. */
  async resume(shard: Shard, found: ReadonlyMap<number, Session>, connected: ReadonlySet<Session>): Promise<void> {
    for (const [number, from] of this.#transfers) {
      for (const transfer of await read(shard, number, this.#ends.get(number) ?? 0)) {
        this.#deliver(shard, from, transfer, found, connected);
        shard.store.dropDelivery(number, transfer.position);
        shard.messages.release(transfer.message);
      }
    }
    for (const number of [...this.#transfers.keys(), ...this.#marks.keys()]) shard.store.dropSession(number);
  }

  #deliver(
    shard: Shard,
    from: number,
    { bits, record, message }: Found,
    found: ReadonlyMap<number, Session>,
    connected: ReadonlySet<Session>,
  ): void {
    const view = shard.replayed;
    const [number, parts] = unpackTransfer(record);
    for (const [to, stored, partBits, subscriptionIds] of parts) {
      if (this.#hasMark(from, to, number, stored) || !shard.messages.view(message, view)) continue;
      view.qos = bits & 3;
      view.retain = bits >> 2;
      const session = found.get(stored);
      if (stored === 0) keepRecovered(shard, view);
      if (session === undefined || shard.sessions.at(session.handle) !== session) continue;
      deliverRecovered(shard, session, view, partBits, ownBytes(subscriptionIds, 0, subscriptionIds.length));
      // It may have been sent before it was durable: as QoS 1 it then comes again [MQTT-3.3.1-1].
      if (connected.has(session)) session.sentBefore = session.tail;
    }
  }

  #hasMark(from: number, to: number, transfer: number, stored: number): boolean {
    const marks = this.#marks.get(this.#between.get(`${from} ${to}`) ?? -1);
    return marks !== undefined && (marks.has(markOf(transfer, 0)) || marks.has(markOf(transfer, stored)));
  }
}

/** Reads a queue of transfers, a part at a time. */
async function read(shard: Shard, number: number, end: number): Promise<readonly Found[]> {
  const transfers: Found[] = [];
  for (let from = 0; from < end; ) {
    from = await new Promise<number>((resolve) => {
      shard.store.read(number, from, READ_AT_ONCE, {
        delivery(position: number, bits: number, record: Uint8Array, _received: boolean, message: MessageView | null) {
          const copy = message === null ? NO_MESSAGE : shard.messages.add(message);
          if (copy !== NO_MESSAGE) transfers.push({ position, bits, record: ownBytes(record, 0, record.length), message: copy });
        },
        end: resolve,
      });
    });
  }
  return transfers;
}

const READ_AT_ONCE = 1_024;
