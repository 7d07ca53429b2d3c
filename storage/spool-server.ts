// The storage thread's side of the rings: takes intents in batches, lets the spool make them durable, and answers. One call of `step` does
// what there is to do now and says how long there is nothing; the thread around it sleeps that long, or until the bell rings.
//
// A batch ends when the commit window has passed since its first intent, or when it has grown large: what is consumed within
// the window never touches the disk. A batch of which nothing is left needs no commit, and is durable at once.
import type { MessageView } from '../protocol/publish.ts';
import { type Doorbell, Sleep } from './doorbell.ts';

import { Figure, SpoolState } from './figures.ts';
import { Intent, LARGE_BYTES, messageBytes, Operand, RECORD_FIXED_BYTES, Report, writeMessage } from './intents.ts';
import { takeInventory } from './inventory.ts';
import type { RecordContent } from './records.ts';
import { recoverSpool } from './recovery.ts';
import type { RingConsumer, RingProducer } from './ring.ts';
import type { Spool } from './spool.ts';
import { RECEIVED_BIT } from './spool-store.ts';
import type { GoneReason } from './store.ts';
import type { SpoolEvents } from './surroundings.ts';

/** The thread's ends of what is shared with the engine. */
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

export interface ServerSettings {
  readonly commitWindowMs: number;
}

/**
 * How far the window stretches while most of what it let out was consumed right after it was written: receivers that keep up, but a little
 * slower than the window. Waiting for them saves their messages the way to the disk.
 */
const STRETCH_MAX = 8;
const SHRINK = 0.25;
/** A batch of this size does not wait for the window. */
const BATCH_BYTES_MAX = 4 * 1_048_576;
/** Below so many intents in one look the engine is not busy: the thread lets itself be woken inside the window. */
const BUSY_INTENTS = 64;
const IDLE_MS = 1_000;
const READS_RETRY_MS = 1;
const CLEAN_LOOK_MS = 1;
/** No intent for so long: there is time for housekeeping. */
const QUIET_MS = 1_000;
/** Room that an answer leaves in the reports for what cannot wait. */
const REPORTS_SPARE_BYTES = 65_536;
const NO_BYTES = new Uint8Array(0);

interface PendingRead {
  readonly session: number;
  readonly from: number;
  readonly limit: number;
  readonly id: number;
}

export class SpoolServer {
  readonly #link: ServerLink;
  readonly #settings: ServerSettings;
  #spool: Spool | null = null;
  readonly #reads: PendingRead[] = [];
  /** When the first intent of the batch was applied; Infinity while there is none. */
  #batchSinceMs = Infinity;
  #closing = false;
  #urgentSeen = 0;
  #busyAtMs = -Infinity;
  /** The window is this many times the one that is set. */
  #stretch = 1;
  /** Deliveries written by the last commit, and consumed before and since. */
  #writtenBefore = 0;
  #consumedBefore = 0;
  #lastWritten = 0;
  /** How deeply the thread should sleep: under load it gathers what comes until its time is up. */
  sleep: Sleep = Sleep.LIGHT;

  constructor(link: ServerLink, settings: ServerSettings) {
    this.#link = link;
    this.#settings = settings;
  }

  /** What the spool says of its own accord goes to the engine. */
  readonly events: SpoolEvents = {
    gone: (session: number, position: number, bytes: number, reason: GoneReason) => {
      const word = this.#report(Report.GONE, session, position, 0);
      this.#link.reports.words[word + Operand.A] = reason;
      this.#link.reports.words[word + Operand.B] = bytes;
    },
    retainedGone: (number: number) => {
      this.#report(Report.RETAINED_GONE, 0, number, 0);
    },
    trouble: (message: string) => this.#reportBytes(Report.TROUBLE, 0, 0, 0, 0, Buffer.from(message)),
  };

  attach(spool: Spool): void {
    this.#spool = spool;
  }

  /** Whether the engine has sent something that was not looked at. */
  get hasWork(): boolean {
    return this.#link.intents.hasRecords;
  }

  /** Whether some of it cannot wait. */
  get hasUrgentWork(): boolean {
    return this.#spool!.figures.urgent !== this.#urgentSeen;
  }

  /** Does what is to be done now. Returns ms to sleep at the most, or -1 when the spool is closed. */
  step(): number {
    const spool = this.#spool!;
    const { clock } = spool;
    const taken = this.#takeIntents(spool);
    if (this.#closing) {
      this.#close(spool);
      return -1;
    }
    this.#serveReads(spool);
    const nowMs = clock.monotonicMs();
    if (taken > 0 && this.#batchSinceMs === Infinity) this.#batchSinceMs = nowMs;
    if (this.#batchSinceMs !== Infinity) this.#endBatch(spool, nowMs);
    spool.health.look();
    if (spool.figures.state === SpoolState.FULL && !spool.hasChanges) spool.health.probe();
    spool.eraser.run(false);
    if (taken > 0) this.#busyAtMs = nowMs;
    else if (nowMs - this.#busyAtMs >= QUIET_MS && !spool.hasChanges) spool.health.compactIfWasteful();
    this.#ring();
    const isBusy = taken >= BUSY_INTENTS && this.#batchSinceMs !== Infinity && this.#reads.length === 0;
    this.sleep = isBusy ? Sleep.DEEP : Sleep.LIGHT;
    const windowMs = this.#batchSinceMs === Infinity ? IDLE_MS : this.#windowMs - (clock.monotonicMs() - this.#batchSinceMs);
    // Reads that found no room in the reports are tried again: nobody rings when the engine has made some.
    const readsMs = this.#reads.length > 0 ? READS_RETRY_MS : IDLE_MS;
    // While receivers keep up, a moment may come at which nothing is left to write: it must not be slept through.
    const lookMs = isBusy && this.#stretch > 1 ? CLEAN_LOOK_MS : IDLE_MS;
    return Math.max(0, Math.min(windowMs, spool.eraser.dueInMs(), readsMs, lookMs));
  }

  #endBatch(spool: Spool, nowMs: number): void {
    if (spool.publishIfClean()) {
      this.#batchSinceMs = Infinity;
      this.#report(Report.DURABLE, 0, 0, 0);
      return;
    }
    const ageMs = nowMs - this.#batchSinceMs;
    // In a stretched window a moment without messages is the one to write what else there is.
    const isMoment = this.#stretch > 1 && ageMs >= this.#settings.commitWindowMs && !spool.hasMessages;
    const isYoung = ageMs < this.#windowMs && spool.pendingBytes < BATCH_BYTES_MAX;
    if (!isMoment && isYoung && !spool.isUrgent) return;
    if (!isMoment) this.#adapt(spool);
    const before = spool.figures.state;
    if (spool.commit()) this.#batchSinceMs = Infinity;
    else this.#batchSinceMs = spool.clock.monotonicMs();
    if (this.#batchSinceMs === Infinity || spool.figures.state !== before) this.#report(Report.DURABLE, 0, 0, 0);
  }

  get #windowMs(): number {
    return this.#settings.commitWindowMs * this.#stretch;
  }

  /** Stretches the window when at least half of what the last commit wrote was consumed until this one; else lets it shrink. */
  #adapt(spool: Spool): void {
    const written = spool.figures.get(Figure.WRITTEN);
    const consumed = spool.consumed;
    const wrote = this.#lastWritten;
    const tooEarly = wrote > 0 && consumed - this.#consumedBefore >= wrote / 2;
    this.#stretch = tooEarly ? Math.min(this.#stretch * 2, STRETCH_MAX) : Math.max(1, this.#stretch - SHRINK);
    this.#consumedBefore = consumed;
    this.#lastWritten = written - this.#writtenBefore;
    this.#writtenBefore = written;
  }

  #takeIntents(spool: Spool): number {
    const { intents } = this.#link;
    // Read before the intents: what is asked for meanwhile is seen the next time.
    this.#urgentSeen = spool.figures.urgent;
    intents.look();
    let taken = 0;
    while (intents.next()) {
      taken++;
      this.#apply(spool, intents.from);
    }
    if (taken === 0) return 0;
    // What the message under way borrows lies in the ring, and more of its deliveries may come.
    spool.keepContent();
    intents.release();
    this.#link.roomMade();
    return taken;
  }

  #apply(spool: Spool, from: number): void {
    const { words, floats, bytes } = this.#link.intents;
    const word = from >> 2;
    const session = words[word + 1]!;
    const number = floats[(from >> 3) + 1]!;
    const a = words[word + Operand.A]!;
    const b = words[word + Operand.B]!;
    const c = words[word + Operand.C]!;
    const at = from + RECORD_FIXED_BYTES;
    switch (words[word] as Intent) {
      case Intent.PUT_MESSAGE: {
        const large = words[word + Operand.E] === 1 ? this.#link.receiveLarge() : null;
        const expiresAtMs = floats[at >> 3]!;
        if (large === null) spool.putMessage(bytes, at + 8, a, b, c, expiresAtMs);
        else spool.putMessage(large, 0, a, b, c, expiresAtMs);
        return;
      }
      case Intent.ADD_DELIVERY:
        spool.addDelivery(session, number, a, b === 0 ? NO_BYTES : bytes.slice(at, at + b));
        return;
      case Intent.DROP_DELIVERY:
        spool.dropDelivery(session, number);
        return;
      case Intent.MARK_RECEIVED:
        spool.markReceived(session, number);
        return;
      case Intent.ADD_INBOUND:
        spool.addInbound(session, number);
        return;
      case Intent.DROP_INBOUND:
        spool.dropInbound(session, number);
        return;
      case Intent.TRIM:
        spool.trim(session, number);
        return;
      case Intent.READ:
        this.#reads.push({ session, from: number, limit: a, id: b });
        return;
      case Intent.PUT_SESSION:
        spool.putSession(session, bytes.slice(at, at + b), a === 1);
        return;
      case Intent.DROP_SESSION:
        spool.dropSession(session);
        return;
      case Intent.PUT_SUBSCRIPTION:
        spool.putSubscription(session, number, bytes.slice(at, at + b), a, c);
        return;
      case Intent.DROP_SUBSCRIPTION:
        spool.dropSubscription(session, number);
        return;
      case Intent.PUT_RETAINED:
        this.#putRetained(spool, word, number);
        return;
      case Intent.DROP_RETAINED:
        spool.dropRetained(number);
        return;
      case Intent.RECOVER:
        this.#recover(spool);
        return;
      case Intent.INVENTORY:
        spool.settle();
        this.#reportBytes(Report.INVENTORY, 0, 0, 0, 0, Buffer.from(JSON.stringify(takeInventory(spool))));
        return;
      case Intent.CLOSE:
        this.#closing = true;
        return;
    }
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

  /** Answers reads while there is room in the reports; the rest waits for the next step. */
  #serveReads(spool: Spool): void {
    const { reports } = this.#link;
    while (this.#reads.length > 0 && reports.usedBytes < reports.capacityBytes / 2) {
      const { session, from, limit, id } = this.#reads.shift()!;
      const next = spool.read(session, from, limit, (position, bits, ids, view) => this.#deliver(id, position, bits, ids, view));
      const word = this.#report(Report.READ_END, session, next, 0);
      reports.words[word + Operand.A] = id;
    }
  }

  #deliver(id: number, position: number, bits: number, ids: Uint8Array, view: MessageView | null): boolean {
    const { reports } = this.#link;
    const bytes = view === null ? 0 : messageBytes(view);
    const large = bytes > LARGE_BYTES;
    const inRing = 8 + ids.length + (large ? 0 : bytes);
    if (reports.usedBytes + inRing + REPORTS_SPARE_BYTES > reports.capacityBytes) return false;
    const word = this.#report(Report.DELIVERY, 0, position, inRing);
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
    recoverSpool(spool, {
      session: (session, record) => this.#reportBytes(Report.SESSION, session, 0, 0, 0, record),
      subscription: (session, number, filter, options, identifier) =>
        this.#reportBytes(Report.SUBSCRIPTION, session, number, options, identifier, filter),
      deliveries: (session, base, end, messages, bytes) => {
        const word = this.#report(Report.DELIVERIES, session, base, 24);
        const at = (word + RECORD_FIXED_BYTES / 4) >> 1;
        reports.floats[at] = end;
        reports.floats[at + 1] = messages;
        reports.floats[at + 2] = bytes;
      },
      inbound: (session, packetId) => {
        this.#report(Report.INBOUND, session, packetId, 0);
      },
      retained: (number, view) => {
        const bytes = messageBytes(view);
        const large = bytes > LARGE_BYTES;
        const word = this.#report(Report.RETAINED, 0, number, 8 + (large ? 0 : bytes));
        reports.words[word + Operand.D] = view.qos | (view.retain << 2);
        this.#writeMessage(word, NO_BYTES, view, large);
      },
    });
    this.#report(Report.RECOVERED, 0, 0, 0);
    this.#ring();
  }

  #close(spool: Spool): void {
    spool.stop();
    this.#report(Report.DURABLE, 0, 0, 0);
    this.#ring();
  }

  #reportBytes(report: Report, session: number, number: number, a: number, c: number, content: Uint8Array): void {
    const word = this.#report(report, session, number, content.length);
    const { words, bytes } = this.#link.reports;
    words[word + Operand.A] = a;
    words[word + Operand.B] = content.length;
    words[word + Operand.C] = c;
    bytes.set(content, word * 4 + RECORD_FIXED_BYTES);
  }

  /** Reserves a report, waiting for the engine when it has to; returns the word offset of its content. */
  #report(report: Report, session: number, number: number, bytes: number): number {
    const { reports } = this.#link;
    let at = reports.reserve(RECORD_FIXED_BYTES + bytes);
    while (at < 0) {
      this.#ring();
      this.#link.pause();
      at = reports.reserve(RECORD_FIXED_BYTES + bytes);
    }
    const word = at >> 2;
    reports.words[word] = report;
    reports.words[word + 1] = session;
    reports.floats[(at >> 3) + 1] = number;
    return word;
  }

  #ring(): void {
    const { reports, engineBell } = this.#link;
    if (!reports.hasUnpublished) return;
    reports.publish();
    engineBell.ring();
  }
}
