// The spool: what the storage thread does, as plain calls without a thread. Intents are applied to memory at once; `commit` makes what is
// left of them durable in one step; `erase` forgets what was consumed. It reads no clock and draws no chance of its own.
//
// The order that everything rests on:
//   1. a step is durable before its intents are counted as durable (the engine acknowledges nothing before that);
//   2. a value is removed durably before its key is destroyed (a crash in between leaves a key without a value, which a start destroys);
//   3. a key is durable before it seals (the vault sees to that).
// A message that is put and dropped between two commits is never written.
import { Books } from './books.ts';
import { Directory } from './directory.ts';
import { DiskHealth } from './disk-health.ts';
import { Eraser } from './eraser.ts';
import { Figure, type Figures, SpoolState } from './figures.ts';
import { Objects } from './objects.ts';
import { SessionQueue } from './queue.ts';
import { Ranges } from './ranges.ts';
import { Reading, type ReadVisitor } from './reading.ts';
import { RecordBuffer, type RecordContent } from './records.ts';
import { Repair } from './repair.ts';
import { RowKind, rowKey, rowNumber } from './rows.ts';
import { openValue } from './salvage.ts';
import { sealedFacts } from './sealed.ts';
import { SharedMessages } from './shared.ts';
import { SpoolClient } from './spool-client.ts';
import { planEnd } from './starts.ts';
import { type Ground, Step } from './step.ts';
import { GoneReason, type Held } from './store.ts';
import type { SpoolClock, SpoolEvents, SpoolSettings } from './surroundings.ts';

const DIRECTORIES_MAX = 8;
const RETRY_MS = 500;

export class Spool {
  readonly ground: Ground;
  readonly settings: SpoolSettings;
  readonly clock: SpoolClock;
  readonly figures: Figures;
  readonly events: SpoolEvents;
  readonly queues = new Map<number, SessionQueue>();
  readonly shared: SharedMessages;
  readonly objects: Objects;
  readonly eraser: Eraser;
  readonly repair: Repair;
  /** Something must be durable soon, whatever the window. */
  isUrgent = false;
  readonly health: DiskHealth;
  /** Number of this start of the store. */
  readonly started: number;
  /** Deliveries owed to all sessions, and their bytes; those among them that share a message. */
  #retained = 0;
  #retainedBytes = 0;
  readonly #owed = new Books();
  readonly #dirty = new Set<SessionQueue>();
  /** Sessions that go with the next commit. */
  readonly #dropped: SessionQueue[] = [];
  readonly #clients: readonly SpoolClient[];
  /** Whose intents are applied. */
  #client: SpoolClient;
  readonly #retainedRecords = new RecordBuffer(1_024);
  #retryAtMs = -Infinity;

  constructor(
    ground: Ground,
    settings: SpoolSettings,
    clock: SpoolClock,
    figures: Figures,
    events: SpoolEvents,
    started: number,
  ) {
    this.ground = ground;
    this.settings = settings;
    this.clock = clock;
    this.figures = figures;
    this.events = events;
    this.started = started;
    this.#clients = Array.from({ length: figures.clients }, () => new SpoolClient());
    this.#client = this.#clients[0]!;
    this.shared = new SharedMessages(ground);
    this.objects = new Objects(ground);
    this.eraser = new Eraser(this);
    this.repair = new Repair(this);
    this.health = new DiskHealth(ground.disk, settings, clock, figures, events);
  }

  /** Sealed deliveries that were finished so far. */
  consumed = 0;

  /** Intents of a client that were applied so far. */
  appliedOf(client: number): number {
    return this.#clients[client]!.applied;
  }

  /** The intents that follow are this client's; those of the one before have been settled. */
  turnTo(client: number): void {
    this.#client = this.#clients[client]!;
  }

  held(): Held {
    const { messages, bytes, references, referenceBytes } = this.#owed;
    return {
      sessions: this.queues.size,
      messages: messages - references + this.shared.messages,
      messageBytes: bytes - referenceBytes + this.shared.bytes,
      retained: this.#retained,
      retainedBytes: this.#retainedBytes,
    };
  }

  /** Takes a queue that a start found. */
  adopt(queue: SessionQueue): void {
    this.queues.set(queue.session, queue);
    this.#owed.account(queue, 1);
    if (queue.stateChanged) this.#dirty.add(queue);
  }

  adoptRetained(bytes: number): void {
    this.#retained++;
    this.#retainedBytes += bytes;
  }

  putSession(session: number, record: Uint8Array, hasWill: boolean): void {
    this.#begin();
    if (!this.queues.has(session)) {
      const queue = new SessionQueue(session);
      queue.stateChanged = true;
      this.queues.set(session, queue);
      this.#dirty.add(queue);
    }
    this.objects.put(RowKind.SESSION, session, 0, record.slice(), this.clock.wallMs(), Infinity, record.length, hasWill ? 1 : 0);
  }

  dropSession(session: number): void {
    this.#begin();
    const queue = this.queues.get(session);
    if (queue !== undefined) this.endSession(queue);
  }

  /** Takes a session out with all that it holds. */
  endSession(queue: SessionQueue): void {
    const { session } = queue;
    this.objects.remove(RowKind.SESSION, session, 0);
    this.objects.removeSubscriptions(session);
    this.#owed.account(queue, -1);
    this.eraser.consumed();
    this.#releaseReferences(queue);
    this.queues.delete(session);
    this.#dirty.delete(queue);
    queue.releasePending();
    this.#dropped.push(queue);
  }

  putSubscription(session: number, number: number, filter: Uint8Array, options: number, identifier: number): void {
    this.#begin();
    if (!this.queues.has(session)) return;
    const plain = Buffer.alloc(SUBSCRIPTION_FIXED_BYTES + filter.length);
    plain.writeUInt32LE(options, 0);
    plain.writeUInt32LE(identifier, 4);
    plain.set(filter, SUBSCRIPTION_FIXED_BYTES);
    this.objects.put(RowKind.SUBSCRIPTION, session, number, plain, this.clock.wallMs(), Infinity, filter.length, 0);
    this.eraser.consumed();
  }

  dropSubscription(session: number, number: number): void {
    this.#begin();
    this.objects.remove(RowKind.SUBSCRIPTION, session, number);
    this.eraser.consumed();
  }

  /** Begins a message; its bytes are borrowed until `settle`. */
  putMessage(
    bytes: Uint8Array,
    from: number,
    topicBytes: number,
    propertyBytes: number,
    payloadBytes: number,
    expiresAtMs: number,
  ): void {
    this.#begin();
    const { open } = this.#client;
    open.begin(bytes, from, topicBytes, propertyBytes, payloadBytes);
    open.keepUntil(this.clock.wallMs(), expiresAtMs, this.settings.retentionMs);
  }

  /** Owes the client's last message to a session, also when another intent has come between: it goes on with a copy of its own then. */
  addDelivery(session: number, position: number, bits: number, ids: Uint8Array): void {
    const client = this.#client;
    client.applied++;
    client.open.additions.push({ session, position, bits, ids });
  }

  /** Books the message under way: alone in the queue of the one session that waits for it, or shared. */
  settle(): void {
    const { open } = this.#client;
    const { additions } = open;
    if (additions.length === 0) return;
    const live = additions.length === 1 ? additions : additions.filter(({ session }) => this.queues.has(session));
    if (live.length === 1) {
      const { session, position, bits, ids } = live[0]!;
      const queue = this.queues.get(session);
      if (queue !== undefined) this.#placed(queue, queue.place(position).append(position, bits, ids, 0, ids.length, open));
    } else if (live.length > 1) {
      const number = this.shared.hold(open, 0, live.length);
      const { messageBytes, sinceMs, untilMs } = open;
      for (const { session, position, bits, ids } of live) {
        const queue = this.queues.get(session)!;
        const records = queue.place(position);
        this.#placed(queue, records.appendReference(position, bits, ids, 0, ids.length, number, messageBytes, sinceMs, untilMs));
      }
    }
    additions.length = 0;
  }

  /** Ends what was borrowed. */
  keepContent(): void {
    this.settle();
    this.#client.open.keep();
  }

  markReceived(session: number, position: number): void {
    this.#begin();
    const queue = this.queues.get(session);
    if (queue === undefined || queue.isFinished(position) || queue.isReceived(position)) return;
    if (this.#takeMessage(queue, position) < 0) return;
    queue.receive(position);
    this.#dirty.add(queue);
  }

  dropDelivery(session: number, position: number): void {
    this.#begin();
    const queue = this.queues.get(session);
    if (queue === undefined || queue.isFinished(position)) return;
    this.#finish(queue, position);
  }

  trim(session: number, position: number): void {
    this.#begin();
    const queue = this.queues.get(session);
    if (queue === undefined) return;
    let oldest = -1;
    this.read(session, position, queue.end, (found, _bits, _ids, view) => {
      if (view !== null) oldest = found;
      return view === null;
    });
    if (oldest >= 0) this.letGo(queue, oldest, GoneReason.TRIMMED);
  }

  addInbound(session: number, packetId: number): void {
    this.#begin();
    const queue = this.queues.get(session);
    if (queue === undefined) return;
    queue.inbound ??= new Ranges();
    queue.inbound.add(packetId);
    queue.stateChanged = true;
    this.#dirty.add(queue);
  }

  dropInbound(session: number, packetId: number): void {
    this.#begin();
    const queue = this.queues.get(session);
    if (queue === undefined || queue.inbound === null) return;
    queue.inbound.remove(packetId);
    if (queue.inbound.isEmpty) queue.inbound = null;
    queue.stateChanged = true;
    this.#dirty.add(queue);
  }

  putRetained(number: number, content: RecordContent, bits: number): void {
    this.#begin();
    this.#forgetRetained(number);
    const records = this.#retainedRecords;
    records.clear();
    const at = records.append(number, bits, NO_BYTES, 0, 0, content);
    records.finish(at, this.ground.vault.checkSeed);
    const size = records.messageBytes(at);
    const plain = records.bytes.slice(0, records.end);
    this.objects.put(RowKind.RETAINED, 0, number, plain, content.sinceMs, content.untilMs, size, 0);
    this.adoptRetained(size);
  }

  dropRetained(number: number): void {
    this.#begin();
    this.#forgetRetained(number);
    this.objects.remove(RowKind.RETAINED, 0, number);
  }

  /** An intent that changed nothing here. */
  skip(): void {
    this.#begin();
  }

  /** Lets a delivery go that nobody acknowledged, and says so. */
  letGo(queue: SessionQueue, position: number, reason: GoneReason): void {
    const bytes = this.#finish(queue, position);
    if (bytes >= 0) this.events.gone(queue.session, position, bytes, reason);
  }

  /** The retained message of a number has expired. */
  letGoRetained(number: number): void {
    this.#forgetRetained(number);
    this.objects.remove(RowKind.RETAINED, 0, number);
    this.events.retainedGone(number);
  }

  /** Gives what a session is owed from `from` on, up to `limit`; returns the position from which to go on. */
  read(session: number, from: number, limit: number, visit: ReadVisitor): number {
    const queue = this.queues.get(session);
    if (queue === undefined) return from;
    this.figures.add(Figure.READS, 1);
    const reading = new Reading(this, queue, from, limit, visit);
    return reading.run();
  }

  /** Whether anything of what was applied is not on the disk yet. */
  get hasChanges(): boolean {
    if (this.#dropped.length > 0 || this.objects.hasChanges || this.shared.hasChanges) return true;
    for (const queue of this.#dirty) if (queue.hasChanges) return true;
    return false;
  }

  /** Whether a message is among it. */
  get hasMessages(): boolean {
    if (this.shared.hasPending) return true;
    for (const queue of this.#dirty) if (queue.pending !== null && queue.pending.alive > 0) return true;
    return false;
  }

  /** Bytes that wait to be written, roughly. */
  get pendingBytes(): number {
    let bytes = 0;
    for (const queue of this.#dirty) if (queue.pending !== null) bytes += queue.pending.records.end;
    return bytes;
  }

  /** Makes everything that was applied durable, and counts it as such. False when the disk did not take it: it is kept, and asked again later. */
  commit(): boolean {
    return this.write() && this.publishIfClean();
  }

  /** Makes everything that was applied durable. */
  write(): boolean {
    if (!this.hasChanges) return true;
    const nowMs = this.clock.monotonicMs();
    this.health.look();
    if (nowMs < this.#retryAtMs) return false;
    const step = new Step(this.ground);
    let written = 0;
    const done = this.attempt(step, () => {
      for (const queue of this.#dropped) this.eraser.planDrop(step, queue);
      for (const queue of this.#dirty) if (queue.hasChanges) written += queue.plan(step, this.started);
      this.shared.plan(step);
      this.objects.plan(step);
      this.repair.plan(step);
    });
    if (!done) {
      this.#retryAtMs = nowMs + RETRY_MS;
      return false;
    }
    for (const queue of this.#dirty) {
      if (queue.hasChanges) queue.committed();
      else queue.releasePending();
      if (queue.touchedTo >= 0) this.eraser.touched(queue);
    }
    this.isUrgent = false;
    this.#dirty.clear();
    this.#dropped.length = 0;
    this.shared.committed();
    this.objects.committed();
    this.repair.committed();
    this.figures.add(Figure.WRITTEN, written);
    return true;
  }

  /** Plans a step and applies it. */
  attempt(step: Step, plan: () => void): boolean {
    return this.guard(step, plan) && this.apply(step);
  }

  /** Does what plans a step, or applies it; false when the disk or the key file did not take it: nothing has changed then. */
  guard(step: Step, act: () => void): boolean {
    if (this.figures.state === SpoolState.BROKEN) return false;
    try {
      act();
      return true;
    } catch (error) {
      this.health.failed(error);
      // Of a step that a failing disk says it did not make, nobody knows until the next start, which destroys the keys of the values
      // that are not there.
      if (this.health.isSound) this.eraser.doom(step.taken);
      return false;
    }
  }

  /** Applies a step, and dooms the keys that go with it. */
  apply(step: Step): boolean {
    if (step.isEmpty) return true;
    const startedMs = this.clock.monotonicMs();
    if (!this.guard(step, () => step.apply())) return false;
    this.eraser.doom(step.doomed);
    const took = this.clock.monotonicMs() - startedMs;
    this.figures.set(Figure.COMMIT_MS, took);
    this.figures.add(Figure.COMMITS_MS, took);
    this.figures.add(Figure.BATCHES, 1);
    this.figures.add(Figure.WRITTEN_BYTES, step.writtenBytes);
    this.health.succeeded();
    return true;
  }

  /** Writes the rows so that the next start goes on exactly here. */
  stop(): void {
    this.settle();
    if (!this.commit()) return;
    this.eraser.run(true);
    if (!this.commit()) return;
    const step = new Step(this.ground);
    for (const queue of this.queues.values()) if (!queue.isExact) queue.planStop(step, this.started);
    planEnd(step, this.started);
    this.apply(step);
  }

  /** Size and reference of the message at a sealed position; null when it is not there. */
  locate(queue: SessionQueue, position: number): { size: number; reference: number } | null {
    for (const known of queue.directories) {
      if (position < known.first || position > known.last) continue;
      const index = known.indexOf(position);
      if (index >= 0) return { size: known.size(index), reference: known.reference(index) };
    }
    const entry = this.ground.disk.last(
      rowKey(RowKind.QUEUE, queue.session, 0),
      rowKey(RowKind.QUEUE, queue.session, position + 1),
    );
    if (entry === null || (sealedFacts(entry.value)?.last ?? Infinity) < position) return null;
    const first = rowNumber(entry.key);
    const opened = openValue(this.ground.vault, entry.value);
    const isDamaged = opened === null || opened.lost > 0;
    if (isDamaged && this.repair.queueValue(queue, first))
      return this.isOwed(queue, position) ? this.locate(queue, position) : null;
    if (opened === null) return null;
    this.remember(queue, opened.records);
    const directory = queue.directories[queue.directories.length - 1]!;
    const index = directory.indexOf(position);
    return index < 0 ? null : { size: directory.size(index), reference: directory.reference(index) };
  }

  isOwed(queue: SessionQueue, position: number): boolean {
    return !queue.isFinished(position) && !queue.isReceived(position);
  }

  /** Keeps the directory of a value that was opened. */
  remember(queue: SessionQueue, records: RecordBuffer): void {
    const { directories } = queue;
    for (let i = directories.length - 1; i >= 0; i--) if (directories[i]!.last < queue.base) directories.splice(i, 1);
    if (directories.length >= DIRECTORIES_MAX) directories.shift();
    directories.push(new Directory(records));
  }

  #begin(): void {
    const client = this.#client;
    client.applied++;
    if (client.open.additions.length > 0) this.settle();
  }

  #placed(queue: SessionQueue, offset: number): void {
    this.#owed.account(queue, -1);
    queue.placed(offset);
    this.#owed.account(queue, 1);
    this.#dirty.add(queue);
    if (queue.isReserveShort) this.isUrgent = true;
  }

  /** Returns the bytes that went; -1 when the position turned out to be gone, which was told. */
  #finish(queue: SessionQueue, position: number): number {
    const bytes = queue.isReceived(position) ? 0 : this.#takeMessage(queue, position);
    if (bytes < 0) return bytes;
    queue.finish(position);
    this.#dirty.add(queue);
    return bytes;
  }

  /** The message of a delivery is not needed any more. Returns its bytes; -1 when it turned out to be gone, which was told. */
  #takeMessage(queue: SessionQueue, position: number): number {
    const offset = queue.pendingOffset(position);
    // A look into a damaged value puts it right first.
    const found = offset >= 0 ? null : this.locate(queue, position);
    if (!this.isOwed(queue, position)) return -1;
    const bytes = queue.bytes;
    this.#owed.account(queue, -1);
    if (offset >= 0) {
      const { records } = queue.pending!;
      const reference = records.reference(offset);
      const size = records.messageBytes(offset);
      queue.elide(position, size, reference >= 0);
      if (reference >= 0) this.shared.release(reference, size);
      this.figures.add(Figure.ELIDED, 1);
    } else if (found !== null) {
      this.consumed++;
      queue.touch(position, found.size, found.reference >= 0);
      if (found.reference >= 0) this.shared.release(found.reference, found.size);
      this.eraser.consumed();
    } else {
      // Its value cannot be read and not be put right now: the books are made anew once it can.
      queue.suspect(position);
      this.repair.doubt(queue);
    }
    this.#owed.account(queue, 1);
    return bytes - queue.bytes;
  }

  /** Counts of a queue changed under repair. */
  recount(queue: SessionQueue, change: () => void): void {
    this.#owed.account(queue, -1);
    change();
    this.#owed.account(queue, 1);
    this.#dirty.add(queue);
  }

  /** A session ends: it no longer waits for any shared message. */
  #releaseReferences(queue: SessionQueue): void {
    if (queue.references === 0) return;
    const { session } = queue;
    const firsts: number[] = [];
    this.ground.disk.range(rowKey(RowKind.QUEUE, session, 0), rowKey(RowKind.QUEUE, session + 1, 0), (key, value) => {
      if (sealedFacts(value)?.flags !== 0) firsts.push(rowNumber(key));
      return true;
    });
    for (const first of firsts) {
      const value = this.ground.disk.get(rowKey(RowKind.QUEUE, session, first));
      const opened = value === null ? null : openValue(this.ground.vault, value);
      if (opened === null || opened.lost > 0) this.repair.doubtCounts();
      if (opened !== null) this.#releaseFrom(queue, opened.records, 0, opened.records.end);
    }
    const { pending } = queue;
    if (pending === null) return;
    for (const offset of pending.offsets) {
      if (offset >= 0) this.#releaseFrom(queue, pending.records, offset, offset + pending.records.length(offset));
    }
  }

  #releaseFrom(queue: SessionQueue, records: RecordBuffer, from: number, to: number): void {
    for (let at = from; at < to; at += records.length(at)) {
      const reference = records.reference(at);
      if (reference >= 0 && this.isOwed(queue, records.number(at))) this.shared.release(reference, records.messageBytes(at));
    }
  }

  #forgetRetained(number: number): void {
    const size = this.objects.sizeOf(RowKind.RETAINED, 0, number);
    if (size < 0) return;
    this.#retained--;
    this.#retainedBytes -= size;
    this.eraser.consumed();
  }

  /** Whether a queue's reserve is due: its row is to be written. */
  #renewReserves(): boolean {
    let any = false;
    for (const queue of this.#dirty) {
      if (!queue.isReserveDue) continue;
      queue.stateChanged = true;
      any = true;
    }
    return any;
  }

  /** Nothing is left to write: what was applied counts as durable. */
  publishIfClean(): boolean {
    if (this.hasChanges) return false;
    if (this.#renewReserves()) return this.commit();
    for (const queue of this.#dirty) queue.releasePending();
    this.#dirty.clear();
    this.shared.releasePending();
    this.#publish();
    return true;
  }

  #publish(): void {
    if (this.figures.state === SpoolState.BROKEN) return;
    const held = this.held();
    const { figures } = this;
    figures.set(Figure.SESSIONS, held.sessions);
    figures.set(Figure.MESSAGES, held.messages);
    figures.set(Figure.MESSAGE_BYTES, held.messageBytes);
    figures.set(Figure.RETAINED, held.retained);
    figures.set(Figure.RETAINED_BYTES, held.retainedBytes);
    this.countKeys();
    for (const [client, { applied }] of this.#clients.entries()) figures.setDurable(client, applied);
  }

  countKeys(): void {
    const { vault } = this.ground;
    this.figures.set(Figure.KEY_SLOTS, vault.slots);
    this.figures.set(Figure.KEY_SLOTS_FREE, vault.freeSlots);
  }
}

/** Bytes before the filter in a subscription's value. */
export const SUBSCRIPTION_FIXED_BYTES = 8;
const NO_BYTES = new Uint8Array(0);
