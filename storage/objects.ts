// What is kept under a name of its own: session records, subscriptions, retained messages. Each has a sealed value and a key to itself, so
// that replacing or removing one forgets exactly that one. Changes of one batch that undo each other never reach the disk.
import { type Due, dueMs, RowKind, rowKey, rowNumber } from './rows.ts';
import { type SealedFacts, sealedFacts } from './sealed.ts';
import type { Ground, Step } from './step.ts';

export type ObjectKind = typeof RowKind.SESSION | typeof RowKind.SUBSCRIPTION | typeof RowKind.RETAINED;

/** A change since the last commit; without bytes it is a removal. */
interface Change {
  readonly kind: ObjectKind;
  readonly session: number;
  readonly number: number;
  readonly plain: Uint8Array | null;
  readonly sinceMs: number;
  readonly untilMs: number;
  /** What the object counts for in bytes. */
  readonly size: number;
  /** Opaque to this file: kept in the clear part. */
  readonly flags: number;
}

export class Objects {
  readonly #ground: Ground;
  readonly #changes = new Map<string, Change>();
  /** Numbers of the changed subscriptions of each session. */
  readonly #subscriptions = new Map<number, Set<number>>();

  constructor(ground: Ground) {
    this.#ground = ground;
  }

  get hasChanges(): boolean {
    return this.#changes.size > 0;
  }

  put(
    kind: ObjectKind,
    session: number,
    number: number,
    plain: Uint8Array,
    sinceMs: number,
    untilMs: number,
    size: number,
    flags: number,
  ): void {
    this.#set({ kind, session, number, plain, sinceMs, untilMs, size, flags });
  }

  /** Takes an object out; one that was never written leaves no trace. */
  remove(kind: ObjectKind, session: number, number: number): void {
    const name = nameOf(kind, session, number);
    if (this.#ground.disk.get(rowKey(kind, session, number)) === null) this.#changes.delete(name);
    else this.#set({ kind, session, number, plain: null, sinceMs: 0, untilMs: Infinity, size: 0, flags: 0 });
  }

  /** Takes out every subscription of a session. */
  removeSubscriptions(session: number): void {
    for (const number of this.#subscriptions.get(session) ?? [])
      this.#changes.delete(nameOf(RowKind.SUBSCRIPTION, session, number));
    this.#subscriptions.delete(session);
    const numbers: number[] = [];
    this.#ground.disk.range(rowKey(RowKind.SUBSCRIPTION, session, 0), rowKey(RowKind.SUBSCRIPTION, session + 1, 0), (key) => {
      numbers.push(rowNumber(key));
      return true;
    });
    for (const number of numbers) this.remove(RowKind.SUBSCRIPTION, session, number);
  }

  /** The size that a retained message counts for, -1 when there is none of that number. */
  sizeOf(kind: ObjectKind, session: number, number: number): number {
    const change = this.#changes.get(nameOf(kind, session, number));
    if (change !== undefined) return change.plain === null ? -1 : change.size;
    return this.#sealed(kind, session, number)?.last ?? -1;
  }

  /** Whether what is written of an object must be forgotten at `due`, and nothing newer has come. */
  isDue(due: Due): boolean {
    if (this.#changes.has(nameOf(due.kind as ObjectKind, due.session, due.number))) return false;
    const facts = this.#sealed(due.kind as ObjectKind, due.session, due.number);
    return facts !== null && dueMs(facts.untilMs) <= due.untilMs;
  }

  plan(step: Step): void {
    for (const { kind, session, number, plain, sinceMs, untilMs, size, flags } of this.#changes.values()) {
      const before = this.#sealed(kind, session, number);
      if (before !== null) step.forget(kind, session, number, before);
      if (plain !== null) step.seal(kind, session, number, plain, { flags, count: 1, last: size, sinceMs, untilMs });
    }
  }

  committed(): void {
    this.#changes.clear();
    this.#subscriptions.clear();
  }

  #set(change: Change): void {
    this.#changes.set(nameOf(change.kind, change.session, change.number), change);
    if (change.kind !== RowKind.SUBSCRIPTION) return;
    const numbers = this.#subscriptions.get(change.session);
    if (numbers === undefined) this.#subscriptions.set(change.session, new Set([change.number]));
    else numbers.add(change.number);
  }

  #sealed(kind: ObjectKind, session: number, number: number): SealedFacts | null {
    const value = this.#ground.disk.get(rowKey(kind, session, number));
    return value === null ? null : sealedFacts(value);
  }
}

function nameOf(kind: ObjectKind, session: number, number: number): string {
  return `${kind}/${session}/${number}`;
}
