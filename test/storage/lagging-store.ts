// A store whose watermark lags behind and that can crash: what was taken since the last commit is then gone. It keeps every intent
// and plays those that were durable to a fresh MemoryStore, so it is as simple as that one.
//
// It keeps the promises that every store must: a message becomes durable together with its deliveries and with what else was taken up to
// the next message or the end of the turn; positions that a crash has undone are not given out again, since the client may know their
// packet identifiers; `durable` never moves inside an intent.
import type { MessageView } from '../../protocol/publish.ts';
import { MemoryStore } from '../../storage/memory.ts';
import type { DeliverySink, Held, RecoveryVisitor, Store, StoreInventory, StoreListener } from '../../storage/store.ts';
import { copyMessage, payloadOf } from './message.ts';

type Intent = (store: MemoryStore) => void;

export interface LaggingOptions {
  /** Reads are answered when `answerReads` is called, and not before. */
  readonly readsLater?: boolean;
  /** Intents that may wait for a commit before the store says that it is behind. */
  readonly behindAbove?: number;
}

/** What a crash leaves. */
interface Survivors {
  readonly intents: readonly Intent[];
  /** By session: positions below this were given out. */
  readonly reserved: ReadonlyMap<number, number>;
  /** By session: positions below this had become durable. */
  readonly durableEnds: ReadonlyMap<number, number>;
}

const NOTHING: Survivors = { intents: [], reserved: new Map(), durableEnds: new Map() };

export class LaggingStore implements Store {
  sequence = 0;
  durable = 0;
  readonly isRefusing = false;
  readonly isShared = false;
  /** Sequence number of the last delivery to a session of a message with a payload: see `owedSequence`. */
  readonly #owed = new Map<string, number>();
  readonly #options: LaggingOptions;
  readonly #taken = new MemoryStore();
  readonly #intents: Intent[] = [];
  /** Sequence numbers up to which intents may become durable, rising. */
  readonly #cuts: number[] = [];
  readonly #survivors: Survivors;
  /** Where queues ended since the last crash; 0 where a session was dropped. */
  readonly #ends: { readonly session: number; readonly end: number; readonly sequence: number }[] = [];
  readonly #payloads = new Map<number, string>();
  readonly #reads: (() => void)[] = [];
  #listener: StoreListener | null = null;
  #flushAsked = false;

  constructor(options: LaggingOptions = {}, survivors: Survivors = NOTHING) {
    this.#options = options;
    this.#survivors = survivors;
    for (const intent of survivors.intents) this.#take(intent);
    this.durable = this.sequence;
    this.#flushAsked = false;
  }

  get listener(): StoreListener | null {
    return this.#listener;
  }

  set listener(listener: StoreListener | null) {
    this.#listener = listener;
    this.#taken.listener = listener;
  }

  get isBehind(): boolean {
    return this.sequence - this.durable > (this.#options.behindAbove ?? Infinity);
  }

  get written(): number {
    return this.durable;
  }

  /** Number of the intent that owed a message with this payload to a session, the last time; 0 for none. */
  owedSequence(session: number, payload: string): number {
    return this.#owed.get(`${session} ${payload}`) ?? 0;
  }

  /** Makes what was flushed durable, or its first `cuts` pieces; false when there was nothing. */
  commit(cuts = Infinity): boolean {
    const made = this.#cuts.splice(0, cuts);
    if (made.length === 0) return false;
    this.durable = made.at(-1)!;
    this.#listener?.durable();
    return true;
  }

  /** Answers the reads that wait; false when there was none. */
  answerReads(): boolean {
    const reads = this.#reads.splice(0);
    for (const read of reads) read();
    return reads.length > 0;
  }

  /** What is left after a crash. Nobody hears of this store any more. */
  crash(): LaggingStore {
    this.listener = null;
    this.#reads.length = 0;
    const reserved = new Map(this.#survivors.reserved);
    const durableEnds = new Map(this.#survivors.durableEnds);
    for (const { session, end, sequence } of this.#ends) {
      const isDurable = sequence <= this.durable;
      if (isDurable) durableEnds.set(session, end);
      if (isDurable || end > 0) reserved.set(session, end);
    }
    return new LaggingStore(this.#options, { intents: this.#intents.slice(0, this.durable), reserved, durableEnds });
  }

  /** Positions below this had become durable before the last crash; those from it on were lost if they were given out. */
  durableEnd(session: number): number {
    return this.#survivors.durableEnds.get(session) ?? 0;
  }

  #reserved(session: number): number {
    return this.#survivors.reserved.get(session) ?? 0;
  }

  oldest(session: number): Promise<number | null> {
    return this.#taken.oldest(session);
  }

  /** Memory has nothing to erase. */
  async erase(): Promise<number> {
    return 0;
  }

  putSession(session: number, record: Uint8Array, hasWill: boolean): void {
    const copy = Uint8Array.from(record);
    this.#take((store) => store.putSession(session, copy, hasWill));
  }

  dropSession(session: number): void {
    this.#take((store) => store.dropSession(session));
    this.#ends.push({ session, end: 0, sequence: this.sequence });
  }

  putSubscription(session: number, number: number, filter: Uint8Array, options: number, identifier: number): void {
    const copy = Uint8Array.from(filter);
    this.#take((store) => store.putSubscription(session, number, copy, options, identifier));
  }

  dropSubscription(session: number, number: number): void {
    this.#take((store) => store.dropSubscription(session, number));
  }

  putMessage(message: MessageView): number {
    this.#cut();
    const copy = copyMessage(message);
    let number = 0;
    this.#take((store) => {
      number = store.putMessage(copy);
    });
    this.#payloads.set(number, payloadOf(copy));
    return number;
  }

  addDelivery(session: number, position: number, message: number, bits: number, subscriptionIds: Uint8Array): void {
    const ids = Uint8Array.from(subscriptionIds);
    this.#take((store) => store.addDelivery(session, position, message, bits, ids));
    this.#ends.push({ session, end: position + 1, sequence: this.sequence });
    this.#owed.set(`${session} ${this.#payloads.get(message)}`, this.sequence);
  }

  markReceived(session: number, position: number): void {
    this.#take((store) => store.markReceived(session, position));
  }

  dropDelivery(session: number, position: number): void {
    this.#take((store) => store.dropDelivery(session, position));
  }

  trim(session: number, position: number): void {
    this.#take((store) => store.trim(session, position));
  }

  dependsOn(): void {}

  addInbound(session: number, packetId: number): void {
    this.#take((store) => store.addInbound(session, packetId));
  }

  dropInbound(session: number, packetId: number): void {
    this.#take((store) => store.dropInbound(session, packetId));
  }

  putRetained(number: number, message: MessageView): number {
    const copy = copyMessage(message);
    this.#take((store) => store.putRetained(number, copy));
    return 0;
  }

  dropRetained(number: number): void {
    this.#take((store) => store.dropRetained(number));
  }

  flush(): void {
    this.#flushAsked = false;
    this.#cut();
  }

  read(session: number, from: number, limit: number, sink: DeliverySink): void {
    const read = () => this.#taken.read(session, from, limit, new PastReserve(sink, limit, this.#reserved(session)));
    if (this.#options.readsLater) this.#reads.push(read);
    else read();
  }

  async recover(visitor: RecoveryVisitor): Promise<void> {
    await this.#taken.recover({
      session: (session, record) => visitor.session(session, record),
      subscription: (session, number, filter, options, identifier) =>
        visitor.subscription(session, number, filter, options, identifier),
      deliveries: (session, base, end, _messages, bytes) =>
        visitor.deliveries(session, base, Math.max(end, this.#reserved(session)), this.#kept(session), bytes),
      inbound: (session, packetId) => visitor.inbound(session, packetId),
      retained: (number, message) => visitor.retained(number, message),
    });
  }

  /** Deliveries of a session whose message is kept. */
  #kept(session: number): number {
    let kept = 0;
    const sink: DeliverySink = {
      delivery(_position, _bits, _ids, received) {
        if (!received) kept++;
      },
      end() {},
    };
    this.#taken.read(session, 0, Number.MAX_SAFE_INTEGER, sink);
    return kept;
  }

  held(): Held {
    return this.#taken.held();
  }

  inventory(): Promise<StoreInventory> {
    return this.#taken.inventory();
  }

  expire(wallMs: number): void {
    this.#taken.expire(wallMs);
  }

  async close(): Promise<void> {
    this.commit();
    this.listener = null;
  }

  #take(intent: Intent): void {
    intent(this.#taken);
    this.#intents.push(intent);
    this.sequence++;
    if (this.#flushAsked) return;
    this.#flushAsked = true;
    this.#listener?.taken();
  }

  /** What was taken so far may become durable without what comes. */
  #cut(): void {
    if (this.sequence > (this.#cuts.at(-1) ?? this.durable)) this.#cuts.push(this.sequence);
  }
}

/** Tells of the positions that a crash has undone: they hold nothing, and a read that has come to the end is past them. */
class PastReserve implements DeliverySink {
  readonly #sink: DeliverySink;
  readonly #reserved: number;
  #room: number;

  constructor(sink: DeliverySink, limit: number, reserved: number) {
    this.#sink = sink;
    this.#room = limit;
    this.#reserved = reserved;
  }

  delivery(position: number, bits: number, subscriptionIds: Uint8Array, received: boolean, message: MessageView | null): void {
    this.#room--;
    this.#sink.delivery(position, bits, subscriptionIds, received, message);
  }

  end(next: number): void {
    this.#sink.end(this.#room > 0 ? Math.max(next, this.#reserved) : next);
  }
}
