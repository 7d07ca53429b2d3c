// The store that the engine sees of the spool: intents go into a ring in shared memory, answers come out of another, and the watermark is
// a number that both sides see. Nothing here waits for the disk.
//
// Bounds: past half of the ring `isBehind` asks the engine to stop reading from publishers; past seven eighths messages are refused with
// QUOTA_EXCEEDED; the last eighth is for intents that cannot be refused. Only when that is used up too does a call wait, for the
// thread to make room: a thread that works does so within one commit.
import { fault, Reason } from '../protocol/packet.ts';
import { MessageView } from '../protocol/publish.ts';
import type { Doorbell } from './doorbell.ts';
import { Figure, type Figures, SpoolState } from './figures.ts';
import {
  Intent,
  LARGE_BYTES,
  MORE_BIT,
  messageBytes,
  Operand,
  RECORD_FIXED_BYTES,
  Report,
  viewMessage,
  writeMessage,
} from './intents.ts';
import type { RingConsumer, RingProducer } from './ring.ts';
import type { DeliverySink, GoneReason, Held, RecoveryVisitor, SetAside, Store, StoreInventory, StoreListener } from './store.ts';

/** The engine's ends of what is shared with the storage thread. */
export interface SpoolLink {
  /** Number of the client: 0 for the one that recovers and closes the spool. */
  readonly client: number;
  readonly intents: RingProducer;
  readonly reports: RingConsumer;
  readonly figures: Figures;
  /** Wakes the storage thread, and the engine. */
  readonly threadBell: Doorbell;
  readonly engineBell: Doorbell;
  /** Carries what is too large for the rings; `receive` gives the next one that came, or null. */
  readonly sendLarge: (bytes: Uint8Array) => void;
  readonly receiveLarge: () => Uint8Array | null;
  /** Blocks for at most `timeoutMs`, or until the thread has released something. */
  readonly waitForRoom: (timeoutMs: number) => void;
  /** Called when the store closes: waits until the thread has closed everything, or for any client but client 0 has let it go. */
  readonly ended: () => Promise<void>;
}

export interface SpoolStoreSettings {
  /** Acknowledges before the commit: faster, and a crash loses what was acknowledged last. */
  readonly relaxed: boolean;
}

const NO_BYTES = new Uint8Array(0);
/** How long a call that cannot be refused waits for the storage thread before it gives up on it. */
const ROOM_TIMEOUT_MS = 30_000;
const ROOM_WAIT_MS = 10;

export class SpoolStore implements Store {
  readonly isShared = true;
  listener: StoreListener | null = null;
  sequence = 0;
  readonly #link: SpoolLink;
  readonly #relaxed: boolean;
  readonly #behindBytes: number;
  readonly #refuseBytes: number;
  #durable = 0;
  #message = 0;
  #nextRead = 1;
  #wasBehind = false;
  #wasGood = true;
  #closed = false;
  /** Nothing more is listened to. */
  #deaf = false;
  #left: (() => void) | null = null;
  /** Word offset of the intent that was written last. */
  #last = 0;
  #flushAsked = false;
  /** What was written since the last message began goes together with it. */
  #inMessage = false;
  /** Something was asked for that the thread should not let lie. */
  #urgent = false;
  readonly #reads = new Map<number, DeliverySink>();
  #visitor: RecoveryVisitor | null = null;
  #recovered: (() => void) | null = null;
  #inventories: ((inventory: StoreInventory) => void)[] = [];
  #oldests: ((sinceMs: number | null) => void)[] = [];
  #erasures: ((setAside: number) => void)[] = [];
  readonly #view = new MessageView();

  constructor(link: SpoolLink, settings: SpoolStoreSettings) {
    this.#link = link;
    this.#relaxed = settings.relaxed;
    this.#behindBytes = link.intents.capacityBytes / 2;
    this.#refuseBytes = (link.intents.capacityBytes / 8) * 7;
    this.#listen();
  }

  get durable(): number {
    return this.#relaxed ? this.sequence : this.#durable;
  }

  get written(): number {
    return this.#durable;
  }

  get isBehind(): boolean {
    const behind = this.#link.intents.usedBytes > this.#behindBytes;
    if (behind) this.#wasBehind = true;
    return behind;
  }

  get isRefusing(): boolean {
    const { intents, figures } = this.#link;
    return figures.state !== SpoolState.GOOD || intents.usedBytes > this.#refuseBytes;
  }

  putSession(session: number, record: Uint8Array, hasWill: boolean): void {
    const at = this.#write(Intent.PUT_SESSION, session, 0, record.length);
    this.#link.intents.words[at + Operand.A] = hasWill ? 1 : 0;
    this.#link.intents.words[at + Operand.B] = record.length;
    this.#link.intents.bytes.set(record, at * 4 + RECORD_FIXED_BYTES);
  }

  dropSession(session: number): void {
    this.#write(Intent.DROP_SESSION, session, 0, 0);
  }

  putSubscription(session: number, number: number, filter: Uint8Array, options: number, identifier: number): void {
    const at = this.#write(Intent.PUT_SUBSCRIPTION, session, number, filter.length);
    const { words, bytes } = this.#link.intents;
    words[at + Operand.A] = options;
    words[at + Operand.B] = filter.length;
    words[at + Operand.C] = identifier;
    bytes.set(filter, at * 4 + RECORD_FIXED_BYTES);
  }

  dropSubscription(session: number, number: number): void {
    this.#write(Intent.DROP_SUBSCRIPTION, session, number, 0);
  }

  putMessage(message: MessageView): number {
    // What was taken so far forms whole messages with their deliveries: it may be passed on.
    const { intents } = this.#link;
    if (intents.hasUnpublished) intents.publish();
    if (this.isRefusing) return fault(Reason.QUOTA_EXCEEDED);
    this.#writeMessage(Intent.PUT_MESSAGE, 0, message);
    this.#inMessage = true;
    this.#message++;
    return this.#message;
  }

  addDelivery(session: number, position: number, _message: number, bits: number, subscriptionIds: Uint8Array): void {
    const at = this.#write(Intent.ADD_DELIVERY, session, position, subscriptionIds.length);
    const { words, bytes } = this.#link.intents;
    words[at + Operand.A] = bits;
    words[at + Operand.B] = subscriptionIds.length;
    if (subscriptionIds.length > 0) bytes.set(subscriptionIds, at * 4 + RECORD_FIXED_BYTES);
  }

  markReceived(session: number, position: number): void {
    this.#write(Intent.MARK_RECEIVED, session, position, 0);
  }

  dropDelivery(session: number, position: number): void {
    this.#write(Intent.DROP_DELIVERY, session, position, 0);
  }

  trim(session: number, position: number): void {
    this.#write(Intent.TRIM, session, position, 0);
  }

  addInbound(session: number, packetId: number): void {
    this.#write(Intent.ADD_INBOUND, session, packetId, 0);
  }

  dropInbound(session: number, packetId: number): void {
    this.#write(Intent.DROP_INBOUND, session, packetId, 0);
  }

  putRetained(number: number, message: MessageView): number {
    if (this.#link.figures.state !== SpoolState.GOOD) return fault(Reason.QUOTA_EXCEEDED);
    this.#writeMessage(Intent.PUT_RETAINED, number, message);
    return 0;
  }

  dropRetained(number: number): void {
    this.#write(Intent.DROP_RETAINED, 0, number, 0);
  }

  dependsOn(client: number): void {
    const at = this.#ask(Intent.DEPENDS, 0, 0);
    this.#link.intents.words[at + Operand.A] = client;
  }

  flush(): void {
    const { intents, threadBell, figures } = this.#link;
    this.#flushAsked = false;
    this.#inMessage = false;
    intents.publish();
    if (!this.#urgent) {
      threadBell.ring();
      return;
    }
    this.#urgent = false;
    figures.askUrgently();
    threadBell.ringUrgently();
  }

  /** Passes on what the thread should not let lie. */
  flushUrgently(): void {
    this.#urgent = true;
    this.flush();
  }

  read(session: number, from: number, limit: number, sink: DeliverySink): void {
    const id = this.#nextRead++;
    this.#reads.set(id, sink);
    const at = this.#ask(Intent.READ, session, from);
    this.#link.intents.words[at + Operand.A] = limit;
    this.#link.intents.words[at + Operand.B] = id;
    this.#urgent = true;
    // Inside a message nothing is passed on: half of it must not become durable without the rest.
    if (!this.#inMessage) this.flush();
  }

  recover(visitor: RecoveryVisitor): Promise<void> {
    this.#visitor = visitor;
    this.#ask(Intent.RECOVER, 0, 0);
    this.flushUrgently();
    return new Promise((resolve) => {
      this.#recovered = resolve;
    });
  }

  held(): Held {
    const { figures } = this.#link;
    return {
      sessions: figures.get(Figure.SESSIONS),
      messages: figures.get(Figure.MESSAGES),
      messageBytes: figures.get(Figure.MESSAGE_BYTES),
      retained: figures.get(Figure.RETAINED),
      retainedBytes: figures.get(Figure.RETAINED_BYTES),
    };
  }

  inventory(): Promise<StoreInventory> {
    this.#ask(Intent.INVENTORY, 0, 0);
    this.flushUrgently();
    return new Promise((resolve) => this.#inventories.push(resolve));
  }

  oldest(session: number): Promise<number | null> {
    this.#ask(Intent.OLDEST, session, 0);
    this.flushUrgently();
    return new Promise((resolve) => this.#oldests.push(resolve));
  }

  erase(setAside: SetAside): Promise<number> {
    this.#ask(Intent.ERASE, 0, setAside);
    this.flushUrgently();
    return new Promise((resolve) => this.#erasures.push(resolve));
  }

  /** The spool has a clock of its own. */
  expire(): void {}

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.listener = null;
    this.#ask(Intent.CLOSE, 0, 0);
    this.flushUrgently();
    if (this.#link.client === 0) this.#deaf = true;
    else await new Promise<void>((resolve) => (this.#left = resolve));
    await this.#link.ended();
  }

  /** Reserves a counted intent; returns the word offset of its content. */
  #write(intent: Intent, session: number, number: number, bytes: number): number {
    this.sequence++;
    return this.#reserve(intent, session, number, bytes);
  }

  /** Reserves what is not counted. */
  #ask(intent: Intent, session: number, number: number): number {
    return this.#reserve(intent, session, number, 0);
  }

  #reserve(intent: Intent, session: number, number: number, bytes: number): number {
    const { intents } = this.#link;
    if (!this.#flushAsked) {
      this.#flushAsked = true;
      this.listener?.taken();
    }
    let at = intents.reserve(RECORD_FIXED_BYTES + bytes);
    if (at < 0) at = this.#waitForRoom(RECORD_FIXED_BYTES + bytes);
    const word = at >> 2;
    this.#last = word;
    intents.words[word] = intent;
    intents.words[word + 1] = session;
    intents.floats[(at >> 3) + 1] = number;
    return word;
  }

  #waitForRoom(bytes: number): number {
    const { intents, threadBell, waitForRoom } = this.#link;
    // The thread must see a part of the message, and makes nothing durable before it has the rest.
    if (this.#inMessage && intents.hasUnpublished) intents.words[this.#last]! |= MORE_BIT;
    for (let waitedMs = 0; waitedMs < ROOM_TIMEOUT_MS; waitedMs += ROOM_WAIT_MS) {
      intents.publish();
      threadBell.ring();
      waitForRoom(ROOM_WAIT_MS);
      const at = intents.reserve(bytes);
      if (at >= 0) return at;
    }
    throw new Error('the storage thread has stopped taking intents; the broker cannot go on');
  }

  #writeMessage(intent: Intent, number: number, view: MessageView): void {
    const bytes = messageBytes(view);
    const large = bytes > LARGE_BYTES;
    if (large) {
      const copy = new Uint8Array(bytes);
      writeMessage(copy, 0, view);
      this.#link.sendLarge(copy);
    }
    const word = this.#write(intent, 0, number, large ? 8 : bytes + 8);
    const { words, floats, bytes: ring } = this.#link.intents;
    words[word + Operand.A] = view.topicTo - view.topicFrom;
    words[word + Operand.B] = view.propertiesTo - view.propertiesFrom;
    words[word + Operand.C] = view.payloadTo - view.payloadFrom;
    words[word + Operand.D] = view.qos | (view.retain << 2);
    words[word + Operand.E] = large ? 1 : 0;
    floats[(word + RECORD_FIXED_BYTES / 4) >> 1] = view.expiresAtMs;
    if (!large) writeMessage(ring, word * 4 + RECORD_FIXED_BYTES + 8, view);
  }

  /** Sleeps until the thread has something to say, says it, and sleeps again. */
  #listen(): void {
    const { engineBell, reports } = this.#link;
    while (!this.#deaf || this.#link.reports.hasRecords) {
      this.#drain();
      if (
        engineBell.sleepAsync(
          () => reports.hasRecords,
          () => this.#listen(),
        )
      )
        return;
    }
  }

  #drain(): void {
    const { reports } = this.#link;
    reports.look();
    while (reports.next()) {
      this.#take(reports.from);
      reports.release();
    }
    this.#moved();
  }

  #take(from: number): void {
    const { reports } = this.#link;
    const word = from >> 2;
    const operation = reports.words[word] as Report;
    const session = reports.words[word + 1]!;
    const number = reports.floats[(from >> 3) + 1]!;
    switch (operation) {
      case Report.DURABLE: // only a reason to look
        return;
      case Report.DELIVERY:
        this.#delivery(word, number);
        return;
      case Report.READ_END: {
        const id = reports.words[word + Operand.A]!;
        const sink = this.#reads.get(id);
        this.#reads.delete(id);
        sink?.end(number);
        return;
      }
      case Report.GONE:
        this.listener?.gone(session, number, reports.words[word + Operand.B]!, reports.words[word + Operand.A]! as GoneReason);
        return;
      case Report.RETAINED_GONE:
        this.listener?.retainedGone(number);
        return;
      case Report.TROUBLE:
        this.listener?.trouble(Buffer.from(this.#content(word)).toString('utf8'));
        return;
      case Report.INVENTORY:
        this.#inventories.shift()?.(JSON.parse(Buffer.from(this.#content(word)).toString('utf8')) as StoreInventory);
        return;
      case Report.OLDEST:
        this.#oldests.shift()?.(number < 0 ? null : number);
        return;
      case Report.ERASED:
        this.#erasures.shift()?.(number);
        return;
      case Report.LEFT:
        this.#deaf = true;
        this.#left?.();
        return;
      default:
        this.#takeRecovered(operation, session, number, word);
    }
  }

  #takeRecovered(operation: Report, session: number, number: number, word: number): void {
    const { reports } = this.#link;
    const { words } = reports;
    switch (operation) {
      case Report.SESSION:
        this.#visitor?.session(session, this.#content(word));
        return;
      case Report.SUBSCRIPTION:
        this.#visitor?.subscription(session, number, this.#content(word), words[word + Operand.A]!, words[word + Operand.C]!);
        return;
      case Report.DELIVERIES: {
        const at = (word + RECORD_FIXED_BYTES / 4) >> 1;
        this.#visitor?.deliveries(session, number, reports.floats[at]!, reports.floats[at + 1]!, reports.floats[at + 2]!);
        return;
      }
      case Report.INBOUND:
        this.#visitor?.inbound(session, number);
        return;
      case Report.RETAINED: {
        this.#viewRecord(word);
        this.#visitor?.retained(number, this.#view);
        return;
      }
      case Report.RECOVERED:
        this.#visitor = null;
        this.#recovered?.();
        return;
      default:
    }
  }

  /** The watermark moved, there is room again, or the spool's state changed. */
  #moved(): void {
    const { figures, intents } = this.#link;
    const before = this.#durable;
    this.#durable += (figures.durableOf(this.#link.client) - (before >>> 0)) >>> 0;
    const good = figures.state === SpoolState.GOOD;
    const relieved = (this.#wasBehind && intents.usedBytes <= this.#behindBytes / 2) || good !== this.#wasGood;
    if (relieved) this.#wasBehind = false;
    this.#wasGood = good;
    if (this.#durable !== before || relieved) this.listener?.durable();
  }

  #delivery(word: number, position: number): void {
    const { words } = this.#link.reports;
    const sink = this.#reads.get(words[word + Operand.F]!);
    const bits = words[word + Operand.D]! & 0xff;
    const received = (words[word + Operand.D]! & RECEIVED_BIT) !== 0;
    if (received) {
      sink?.delivery(position, bits, NO_BYTES, true, null);
      return;
    }
    const ids = this.#viewRecord(word);
    sink?.delivery(position, bits, ids, false, this.#view);
  }

  /** Points the view at the message of a record; returns the subscription identifiers that stand before it. */
  #viewRecord(word: number): Uint8Array {
    const { words, floats, bytes } = this.#link.reports;
    const idsBytes = words[word + Operand.E]! >>> 1;
    const large = (words[word + Operand.E]! & 1) !== 0 ? this.#link.receiveLarge() : null;
    const at = word * 4 + RECORD_FIXED_BYTES + 8;
    const sizes = {
      topicBytes: words[word + Operand.A]!,
      propertyBytes: words[word + Operand.B]!,
      payloadBytes: words[word + Operand.C]!,
    };
    const view = this.#view;
    if (large === null) viewMessage(view, bytes, at + idsBytes, sizes);
    else viewMessage(view, large, 0, sizes);
    const bits = words[word + Operand.D]!;
    view.qos = bits & 3;
    view.retain = (bits >> 2) & 1;
    view.expiresAtMs = floats[(word + RECORD_FIXED_BYTES / 4) >> 1]!;
    return idsBytes === 0 ? NO_BYTES : bytes.slice(at, at + idsBytes);
  }

  #content(word: number): Uint8Array {
    const { words, bytes } = this.#link.reports;
    const at = word * 4 + RECORD_FIXED_BYTES;
    return bytes.slice(at, at + words[word + Operand.B]!);
  }
}

/** Bit of a delivery's operand D: its PUBREC came. */
export const RECEIVED_BIT = 0x100;
