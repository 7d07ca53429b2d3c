// The storage thread's side of one client's rings: takes its intents and gives them to the spool, answers its reads, and reports to it.
//
// A client that does not take its reports out holds nobody up: reads wait for room in its ring, and what the spool says of its own accord waits
// here. Only a recovery, in which there are no other clients yet, waits for the ring itself.
import type { MessageView } from '../protocol/publish.ts';
import type { Doorbell } from './doorbell.ts';
import { Intent, LARGE_BYTES, MORE_BIT, messageBytes, Operand, RECORD_FIXED_BYTES, Report, writeMessage } from './intents.ts';
import { oldestOf, takeInventory } from './inventory.ts';
import type { RecordContent } from './records.ts';
import { recoverSpool } from './recovery.ts';
import type { RingConsumer, RingProducer } from './ring.ts';
import type { Spool } from './spool.ts';
import { RECEIVED_BIT } from './spool-store.ts';
import { SetAside } from './store.ts';

/** The thread's ends of what is shared with one client. */
export interface ServerLink {
  readonly intents: RingConsumer;
  readonly reports: RingProducer;
  readonly engineBell: Doorbell;
  readonly sendLarge: (bytes: Uint8Array) => void;
  readonly receiveLarge: () => Uint8Array | null;
  /** Tells a producer that waits for room that some was made. */
  readonly roomMade: () => void;
  /** Blocks for a moment while the engine makes room in the reports: only while it recovers. */
  readonly pause: () => void;
}

/** How much of one client is done before the others have their turn. */
export interface Turn {
  /** Intents after which it ends with the message that is under way. */
  readonly intents: number;
  readonly reads: number;
}

/** Told of the intents that are not the spool's business alone. */
export interface ServerDesk {
  hosts(session: number, client: ServedClient): void;
  ended(session: number): void;
  /** What this client has shown by now is to be taken before the batch ends. */
  needs(client: number): void;
}

/** Room that an answer leaves in the reports for what cannot wait. */
const REPORTS_SPARE_BYTES = 65_536;
const NO_BYTES = new Uint8Array(0);

interface PendingRead {
  readonly session: number;
  readonly from: number;
  readonly limit: number;
  readonly id: number;
}

/** A report that can wait for room. */
interface Saying {
  readonly report: Report;
  readonly session: number;
  readonly number: number;
  readonly a: number;
  readonly b: number;
  readonly content: Uint8Array;
}

export class ServedClient {
  readonly number: number;
  /** It asked to leave, or to close the spool. */
  isLeaving = false;
  hasLeft = false;
  /** Its message is in the midst: it becomes durable together with the rest, which comes at once. */
  isMidst = false;
  /** An intent of another client that was taken depends on what this one has shown. */
  isNeeded = false;
  /** Something that it has sent was left for its next turn. */
  hasMore = false;
  readonly #link: ServerLink;
  readonly #turn: Turn;
  readonly #desk: ServerDesk;
  readonly #reads: PendingRead[] = [];
  /** What found no room, in order. */
  readonly #overdue: Saying[] = [];
  #toldDurable = 0;
  /** Requests to erase what was let go by now. */
  #erasures = 0;
  /** Which of the values that were set aside they are to take. */
  setAside: SetAside = SetAside.STAYS;

  constructor(number: number, link: ServerLink, turn: Turn, desk: ServerDesk) {
    this.number = number;
    this.#link = link;
    this.#turn = turn;
    this.#desk = desk;
  }

  get hasIntents(): boolean {
    return this.#link.intents.hasRecords;
  }

  get wantsErasure(): boolean {
    return this.#erasures > 0;
  }

  /** Answers what was asked by now; `setAside`: how many such values went, told once, or -1 when it could not be done. */
  erased(setAside: number): void {
    for (let count = setAside; this.#erasures > 0; this.#erasures--) {
      this.say(Report.ERASED, 0, count, 0, 0);
      count = Math.min(count, 0);
    }
    this.setAside = SetAside.STAYS;
  }

  get hasReads(): boolean {
    return this.#reads.length > 0;
  }

  /** Whether something waits for room in the reports: nobody rings when the engine has made some. */
  get isWaiting(): boolean {
    return this.#reads.length > 0 || this.#overdue.length > 0;
  }

  /** Gives the spool what the client has sent by now, or a turn's share of it unless another client's intents depend on it. Returns how many intents that were. */
  takeIntents(spool: Spool): number {
    const { intents } = this.#link;
    const share = this.isNeeded ? Infinity : this.#turn.intents;
    this.isNeeded = false;
    this.hasMore = false;
    intents.look();
    if (intents.nextWord === 0) return 0;
    spool.turnTo(this.number);
    let taken = 0;
    let operation = 0;
    while (intents.next()) {
      taken++;
      operation = this.#apply(spool, intents.from);
      // What stands before a message is whole, with all that goes together.
      if (taken >= share && (intents.nextWord & ~MORE_BIT) === Intent.PUT_MESSAGE) {
        this.hasMore = true;
        break;
      }
    }
    this.isMidst = (operation & MORE_BIT) !== 0;
    // What the message under way borrows lies in the ring, and more of its deliveries may come.
    spool.keepContent();
    intents.release();
    this.#link.roomMade();
    return taken;
  }

  /** Returns the operation's word. */
  #apply(spool: Spool, from: number): number {
    const { words, floats, bytes } = this.#link.intents;
    const word = from >> 2;
    const operation = words[word]!;
    const session = words[word + 1]!;
    const number = floats[(from >> 3) + 1]!;
    const a = words[word + Operand.A]!;
    const b = words[word + Operand.B]!;
    const c = words[word + Operand.C]!;
    const at = from + RECORD_FIXED_BYTES;
    switch ((operation & ~MORE_BIT) as Intent) {
      case Intent.PUT_MESSAGE: {
        const large = words[word + Operand.E] === 1 ? this.#link.receiveLarge() : null;
        const expiresAtMs = floats[at >> 3]!;
        if (large === null) spool.putMessage(bytes, at + 8, a, b, c, expiresAtMs);
        else spool.putMessage(large, 0, a, b, c, expiresAtMs);
        break;
      }
      case Intent.ADD_DELIVERY:
        spool.addDelivery(session, number, a, b === 0 ? NO_BYTES : bytes.slice(at, at + b));
        break;
      case Intent.DROP_DELIVERY:
        spool.dropDelivery(session, number);
        break;
      case Intent.MARK_RECEIVED:
        spool.markReceived(session, number);
        break;
      case Intent.ADD_INBOUND:
        spool.addInbound(session, number);
        break;
      case Intent.DROP_INBOUND:
        spool.dropInbound(session, number);
        break;
      case Intent.TRIM:
        spool.trim(session, number);
        break;
      case Intent.READ:
        this.#reads.push({ session, from: number, limit: a, id: b });
        break;
      case Intent.PUT_SESSION:
        spool.putSession(session, bytes.slice(at, at + b), a === 1);
        this.#desk.hosts(session, this);
        break;
      case Intent.DROP_SESSION:
        spool.dropSession(session);
        this.#desk.ended(session);
        break;
      case Intent.PUT_SUBSCRIPTION:
        spool.putSubscription(session, number, bytes.slice(at, at + b), a, c);
        break;
      case Intent.DROP_SUBSCRIPTION:
        spool.dropSubscription(session, number);
        break;
      case Intent.PUT_RETAINED:
        this.#putRetained(spool, word, number);
        break;
      case Intent.DROP_RETAINED:
        spool.dropRetained(number);
        break;
      case Intent.RECOVER:
        this.#recover(spool);
        break;
      case Intent.INVENTORY:
        spool.settle();
        this.sayBytes(Report.INVENTORY, Buffer.from(JSON.stringify(takeInventory(spool))));
        break;
      case Intent.OLDEST:
        spool.settle();
        this.say(Report.OLDEST, session, oldestOf(spool, session) ?? -1, 0, 0);
        break;
      case Intent.ERASE:
        this.#erasures++;
        if (number > this.setAside) this.setAside = number as SetAside;
        break;
      case Intent.CLOSE:
        this.isLeaving = true;
        break;
      case Intent.DEPENDS:
        this.#desk.needs(a);
        break;
    }
    return operation;
  }

  #putRetained(spool: Spool, word: number, number: number): void {
    const { words, floats, bytes } = this.#link.intents;
    const large = words[word + Operand.E] === 1 ? this.#link.receiveLarge() : null;
    const at = word * 4 + RECORD_FIXED_BYTES;
    const sinceMs = spool.clock.wallMs();
    const expiresAtMs = floats[at >> 3]!;
    const content: RecordContent = {
      bytes: large ?? bytes,
      from: large === null ? at + 8 : 0,
      topicBytes: words[word + Operand.A]!,
      propertyBytes: words[word + Operand.B]!,
      payloadBytes: words[word + Operand.C]!,
      sinceMs,
      untilMs: expiresAtMs === Infinity ? Infinity : Math.min(expiresAtMs, sinceMs + spool.settings.retentionMs),
      expires: expiresAtMs !== Infinity,
    };
    spool.putRetained(number, content, words[word + Operand.D]!);
  }

  /** Answers reads while there is room in the reports, and a turn's share of them; the rest waits. True when only its share is used up. */
  serveReads(spool: Spool): boolean {
    const { reports } = this.#link;
    this.#sendOverdue();
    let left = this.#turn.reads;
    while (this.#reads.length > 0 && this.#overdue.length === 0 && reports.usedBytes < reports.capacityBytes / 2) {
      if (left-- === 0) return true;
      const { session, from, limit, id } = this.#reads.shift()!;
      const next = spool.read(session, from, limit, (position, bits, ids, view) => this.#deliver(id, position, bits, ids, view));
      this.say(Report.READ_END, session, next, id, 0);
    }
    return false;
  }

  #deliver(id: number, position: number, bits: number, ids: Uint8Array, view: MessageView | null): boolean {
    const { reports } = this.#link;
    const bytes = view === null ? 0 : messageBytes(view);
    const large = bytes > LARGE_BYTES;
    const inRing = 8 + ids.length + (large ? 0 : bytes);
    // What the spool said meanwhile comes before it.
    if (this.#overdue.length > 0 || reports.usedBytes + inRing + REPORTS_SPARE_BYTES > reports.capacityBytes) return false;
    const word = this.#reserve(Report.DELIVERY, 0, position, inRing);
    if (word < 0) return false;
    reports.words[word + Operand.D] = bits | (view === null ? RECEIVED_BIT : 0);
    reports.words[word + Operand.F] = id;
    if (view !== null) this.#writeMessage(word, ids, view, large);
    return true;
  }

  #writeMessage(word: number, ids: Uint8Array, view: MessageView, large: boolean): void {
    const { words, floats, bytes } = this.#link.reports;
    words[word + Operand.A] = view.topicTo - view.topicFrom;
    words[word + Operand.B] = view.propertiesTo - view.propertiesFrom;
    words[word + Operand.C] = view.payloadTo - view.payloadFrom;
    words[word + Operand.E] = (ids.length << 1) | (large ? 1 : 0);
    floats[(word + RECORD_FIXED_BYTES / 4) >> 1] = view.expiresAtMs;
    const at = word * 4 + RECORD_FIXED_BYTES + 8;
    bytes.set(ids, at);
    if (!large) {
      writeMessage(bytes, at + ids.length, view);
      return;
    }
    const copy = new Uint8Array(messageBytes(view));
    writeMessage(copy, 0, view);
    this.#link.sendLarge(copy);
  }

  /** Gives everything that is held to the engine, as fast as it takes it. */
  #recover(spool: Spool): void {
    const { reports } = this.#link;
    const sayBytes = (report: Report, session: number, number: number, a: number, c: number, content: Uint8Array): void => {
      const word = this.#await(report, session, number, content.length);
      reports.words[word + Operand.A] = a;
      reports.words[word + Operand.B] = content.length;
      reports.words[word + Operand.C] = c;
      reports.bytes.set(content, word * 4 + RECORD_FIXED_BYTES);
    };
    recoverSpool(spool, {
      session: (session, record) => sayBytes(Report.SESSION, session, 0, 0, 0, record),
      subscription: (session, number, filter, options, identifier) =>
        sayBytes(Report.SUBSCRIPTION, session, number, options, identifier, filter),
      deliveries: (session, base, end, messages, bytes) => {
        const word = this.#await(Report.DELIVERIES, session, base, 24);
        const at = (word + RECORD_FIXED_BYTES / 4) >> 1;
        reports.floats[at] = end;
        reports.floats[at + 1] = messages;
        reports.floats[at + 2] = bytes;
      },
      inbound: (session, packetId) => {
        this.#await(Report.INBOUND, session, packetId, 0);
      },
      retained: (number, view) => {
        const bytes = messageBytes(view);
        const large = bytes > LARGE_BYTES;
        const word = this.#await(Report.RETAINED, 0, number, 8 + (large ? 0 : bytes));
        reports.words[word + Operand.D] = view.qos | (view.retain << 2);
        this.#writeMessage(word, NO_BYTES, view, large);
      },
    });
    this.#await(Report.RECOVERED, 0, 0, 0);
    this.ring();
  }

  /** Reports that the client's number moved, when it did, or that something else in the figures has changed. */
  tell(durable: number, hasChanged: boolean): void {
    if (this.hasLeft || (durable === this.#toldDurable && !hasChanged)) return;
    this.#toldDurable = durable;
    // It looks at the figures whatever it is told.
    if (this.#overdue.length === 0) this.say(Report.DURABLE, 0, 0, 0, 0);
  }

  /** The client's last report. */
  leave(): void {
    this.#reads.length = 0;
    this.say(Report.LEFT, 0, 0, 0, 0);
    this.isLeaving = false;
    this.hasLeft = true;
  }

  /** Reports a few numbers; when there is no room, they are kept until there is. */
  say(report: Report, session: number, number: number, a: number, b: number): void {
    this.#say({ report, session, number, a, b, content: NO_BYTES });
  }

  sayBytes(report: Report, content: Uint8Array): void {
    this.#say({ report, session: 0, number: 0, a: 0, b: content.length, content });
  }

  #say(one: Saying): void {
    if (this.#overdue.length > 0 || !this.#send(one)) this.#overdue.push(one);
  }

  #send({ report, session, number, a, b, content }: Saying): boolean {
    const word = this.#reserve(report, session, number, content.length);
    if (word < 0) return false;
    const { words, bytes } = this.#link.reports;
    words[word + Operand.A] = a;
    words[word + Operand.B] = b;
    bytes.set(content, word * 4 + RECORD_FIXED_BYTES);
    return true;
  }

  #sendOverdue(): void {
    const overdue = this.#overdue;
    if (overdue.length === 0) return;
    let sent = 0;
    while (sent < overdue.length && this.#send(overdue[sent]!)) sent++;
    overdue.splice(0, sent);
  }

  /** Reserves a report, waiting for the engine when it has to. */
  #await(report: Report, session: number, number: number, bytes: number): number {
    for (;;) {
      this.#sendOverdue();
      const word = this.#overdue.length > 0 ? -1 : this.#reserve(report, session, number, bytes);
      if (word >= 0) return word;
      this.ring();
      this.#link.pause();
    }
  }

  /** Reserves a report; returns the word offset of its content, -1 when there is no room. */
  #reserve(report: Report, session: number, number: number, bytes: number): number {
    const { reports } = this.#link;
    const at = reports.reserve(RECORD_FIXED_BYTES + bytes);
    if (at < 0) return -1;
    const word = at >> 2;
    reports.words[word] = report;
    reports.words[word + 1] = session;
    reports.floats[(at >> 3) + 1] = number;
    return word;
  }

  /** Shows the client what was reported, and wakes it. */
  ring(): void {
    const { reports, engineBell } = this.#link;
    if (!reports.hasUnpublished) return;
    reports.publish();
    engineBell.ring();
  }
}
