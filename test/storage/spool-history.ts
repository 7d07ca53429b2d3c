// One life of a spool, driven directly and checked against the oracle after every step: what it gives to reads, what it says it holds,
// what is left on the disk after a crash, and whether what was consumed is beyond recovery.
import { expect } from 'vitest';
import type { MessageView } from '../../protocol/publish.ts';
import type { Disk } from '../../storage/disk.ts';
import { allocateFigures, Figures, SpoolState } from '../../storage/figures.ts';
import { recoverSpool } from '../../storage/recovery.ts';
import type { RowKind } from '../../storage/rows.ts';
import { RowSealer } from '../../storage/sealed.ts';
import { Spool } from '../../storage/spool.ts';
import { noteStart, readStarts } from '../../storage/starts.ts';
import { GoneReason } from '../../storage/store.ts';
import type { SpoolEvents, SpoolSettings } from '../../storage/surroundings.ts';
import { Vault } from '../../storage/vault.ts';
import { SeededRandom } from '../seeded-random.ts';
import { Killed, MemoryDisk } from './memory-disk.ts';
import { MemoryKeyFile } from './memory-key-file.ts';
import { fieldsOf } from './message.ts';
import { must, mustBeSame } from './must.ts';
import { SealedValues } from './sealed-values.ts';
import { describeDelivery, Oracle, type OracleMessage, type ReadDelivery, textOf } from './spool-oracle.ts';

export const RETENTION_MS = 100_000;
export const ERASE_WITHIN_MS = 1_000;
const SETTINGS: SpoolSettings = { retentionMs: RETENTION_MS, eraseWithinMs: ERASE_WITHIN_MS, diskFloorBytes: 1_000_000 };
const WALL_START_MS = 1_767_225_600_000;
const SLOTS_MIN = 8;
/** More positions than a life of these tests gives out between two starts, and how many starts the spool keeps apart. */
const POSITIONS_MAX = 4_000;
const STARTS_APART = 3;
/** What a borrowed buffer holds once the loan is over. */
const LOAN_OVER = 0xee;

/** What the spool said went without an acknowledgement. */
export interface Gone {
  readonly session: number;
  readonly position: number;
  readonly bytes: number;
  readonly reason: GoneReason;
}

/** How a history's disk is opened again after a crash. */
export type Reopen<SomeDisk extends Disk> = (disk: SomeDisk) => SomeDisk;

export class SpoolHistory<SomeDisk extends Disk = MemoryDisk> {
  readonly random: SeededRandom;
  disk: SomeDisk;
  file: MemoryKeyFile;
  spool!: Spool;
  figures!: Figures;
  vault!: Vault;
  oracle = new Oracle();
  /** What would survive a crash now. */
  durable = new Oracle();
  /** What might: the disk failed while it was being made durable, or a repair has written it. */
  readonly doubtful: Oracle[] = [];
  nowMs = 0;
  started = 0;
  nextSession = 1;
  readonly troubles: string[] = [];
  /** Every delivery that there ever was: session, position and text. */
  readonly ever = new Set<string>();
  readonly damaged: Gone[] = [];
  readonly #reopen: Reopen<SomeDisk>;
  /** Positions that were given out, by session and start: clients may know their packet identifiers. */
  readonly #used = new Map<number, { readonly started: number; readonly from: number; to: number }[]>();
  readonly #values = new SealedValues();
  #trimming: { session: number; from: number } | null = null;
  #lent: Uint8Array | null = null;
  #open: OracleMessage | null = null;
  #changed = false;
  /** The disk was seen to fail. */
  #failed = false;
  /** What has expired goes without being asked for. */
  #starting = false;

  constructor(seed: number, makeDisk: (random: SeededRandom) => SomeDisk, reopen: Reopen<SomeDisk>) {
    this.random = new SeededRandom(seed);
    this.#reopen = reopen;
    this.disk = makeDisk(this.random);
    this.file = new MemoryKeyFile(this.random);
    this.#build((file, random) => Vault.create(file, null, random, SLOTS_MIN));
    this.#recover([this.oracle], true);
  }

  get wallMs(): number {
    return WALL_START_MS + this.nowMs;
  }

  // Intents.

  putSession(session: number, record: string): void {
    this.spool.putSession(session, Buffer.from(record), this.random.below(2) === 0);
    this.#settled();
    const known = this.oracle.sessions.get(session);
    if (known !== undefined) known.record = record;
    else
      this.oracle.sessions.set(session, {
        record,
        subscriptions: new Map(),
        deliveries: new Map(),
        inbound: new Set(),
        next: 0,
      });
    this.nextSession = Math.max(this.nextSession, session + 1);
  }

  dropSession(session: number): void {
    this.spool.dropSession(session);
    this.#settled();
    this.oracle.sessions.delete(session);
    this.#used.delete(session);
  }

  putSubscription(session: number, number: number, filter: string): void {
    this.spool.putSubscription(session, number, Buffer.from(filter), number * 3, number + 100);
    this.#settled();
    this.oracle.sessions.get(session)?.subscriptions.set(number, `${filter} ${number * 3} ${number + 100}`);
  }

  dropSubscription(session: number, number: number): void {
    this.spool.dropSubscription(session, number);
    this.#settled();
    this.oracle.sessions.get(session)?.subscriptions.delete(number);
  }

  /** Begins a message of three parts of these sizes; `addDelivery` owes it. */
  putMessage(topicBytes: number, propertyBytes: number, payloadBytes: number, expiresAtMs: number): void {
    const bytes = Buffer.from(this.random.bytes(5 + topicBytes + propertyBytes + payloadBytes));
    this.spool.putMessage(bytes, 5, topicBytes, propertyBytes, payloadBytes, expiresAtMs);
    this.#settled();
    this.#lent = bytes;
    const untilMs = Math.min(expiresAtMs, this.wallMs + RETENTION_MS);
    const text = bytes.subarray(5).toString('latin1');
    this.#open = { text, untilMs, expiresAtMs: expiresAtMs === Infinity ? Infinity : untilMs };
  }

  addDelivery(session: number, bits: number, ids: Uint8Array): void {
    const known = this.oracle.sessions.get(session);
    const position = known?.next ?? 0;
    this.spool.addDelivery(session, position, bits, ids);
    this.#changed = true;
    if (known === undefined) return;
    this.ever.add(`${session}/${position}/${this.#open!.text}`);
    known.deliveries.set(position, { message: this.#open!, bits, ids: Buffer.from(ids).toString('hex') });
    known.next++;
    const used = this.#used.get(session) ?? [];
    this.#used.set(session, used);
    const last = used.at(-1);
    if (last?.started === this.started) last.to = known.next;
    else used.push({ started: this.started, from: position, to: known.next });
  }

  /** An intent between two deliveries of one message: those that follow hold a copy of their own. */
  interrupt(): void {
    this.spool.skip();
    this.#open = { ...this.#open! };
  }

  markReceived(session: number, position: number): void {
    this.spool.markReceived(session, position);
    this.#settled();
    const deliveries = this.oracle.sessions.get(session)?.deliveries;
    const delivery = deliveries?.get(position);
    if (delivery !== undefined) deliveries!.set(position, { ...delivery, message: null });
  }

  dropDelivery(session: number, position: number): void {
    this.spool.dropDelivery(session, position);
    this.#settled();
    this.oracle.sessions.get(session)?.deliveries.delete(position);
  }

  trim(session: number, from: number): void {
    this.#trimming = { session, from };
    this.spool.trim(session, from);
    this.#settled();
    const isDone = this.#trimming === null || this.oracle.oldest(session, from, this.wallMs) < 0;
    must(isDone || this.#mayMiss, 'a trim lets the oldest message go');
    this.#trimming = null;
  }

  addInbound(session: number, packetId: number): void {
    this.spool.addInbound(session, packetId);
    this.#settled();
    this.oracle.sessions.get(session)?.inbound.add(packetId);
  }

  dropInbound(session: number, packetId: number): void {
    this.spool.dropInbound(session, packetId);
    this.#settled();
    this.oracle.sessions.get(session)?.inbound.delete(packetId);
  }

  putRetained(number: number, topic: string, payload: string, untilMs: number): void {
    const bytes = Buffer.from(topic + payload);
    const [topicBytes, payloadBytes] = [topic.length, payload.length];
    const content = { bytes, from: 0, topicBytes, propertyBytes: 0, payloadBytes, sinceMs: this.wallMs, untilMs };
    this.spool.putRetained(number, { ...content, expires: untilMs !== Infinity }, 4);
    this.#settled();
    bytes.fill(LOAN_OVER);
    this.oracle.retained.set(number, { text: topic + payload, untilMs, expiresAtMs: untilMs });
  }

  dropRetained(number: number): void {
    this.spool.dropRetained(number);
    this.#settled();
    this.oracle.retained.delete(number);
  }

  // What the thread does between intents.

  pass(ms: number): void {
    this.nowMs += ms;
  }

  settle(): void {
    this.spool.settle();
    this.#settled();
  }

  /** Ends a batch; false when the disk did not take it. */
  commit(): boolean {
    this.settle();
    const done = this.spool.publishIfClean() || this.spool.commit();
    this.noteDurable();
    return done;
  }

  /** What the thread does for the disk's sake between two batches. */
  idle(): void {
    this.settle();
    this.spool.health.look();
    if (this.figures.state === SpoolState.FULL && !this.spool.hasChanges) this.spool.health.probe();
    this.noteDurable();
  }

  erase(): void {
    this.settle();
    this.spool.eraser.run(true);
    this.noteDurable();
  }

  /** Takes over what is durable by now. */
  noteDurable(): void {
    if (this.figures.state === SpoolState.BROKEN && !this.#failed) {
      this.#failed = true;
      this.doubtful.push(this.oracle.clone());
    }
    if (!this.#changed || this.spool.hasChanges || this.figures.durableOf(0) !== this.spool.appliedOf(0)) return;
    this.durable = this.oracle.clone();
    this.doubtful.length = 0;
    this.#changed = false;
  }

  /** Ends the process without a word, and starts it again on what is durable. */
  crash(): void {
    const expected = [this.durable, ...this.doubtful, this.oracle];
    this.file = this.file.crashed();
    this.#restart(expected, false);
  }

  /** Starts again on whatever is there, believing nothing; returns what each session is given. */
  restartTorn(): Map<number, ReadDelivery[]> {
    this.file = this.file.reopened();
    this.disk = this.#reopen(this.disk);
    this.#build((file, random) => Vault.open(file, null, random, SLOTS_MIN));
    const found = new Map<number, ReadDelivery[]>();
    this.#starting = true;
    this.oracle = new Oracle();
    recoverSpool(this.spool, { ...silentVisitor, session: (number) => void found.set(number, []) });
    for (const number of found.keys()) found.set(number, this.read(number, 0, Infinity));
    this.erase();
    for (const number of found.keys()) this.read(number, 0, Infinity);
    this.#starting = false;
    this.nextSession = Math.max(0, ...found.keys()) + 1;
    return found;
  }

  stop(): void {
    this.settle();
    this.spool.stop();
    this.checkErased();
    this.noteDurable();
    this.file = this.file.reopened();
    this.#restart([this.oracle], true);
  }

  /** Runs `act`, in which the process may be killed by its doubles; then it starts again. */
  killedIn(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
    }
    this.crash();
  }

  #restart(expected: readonly Oracle[], clean: boolean): void {
    this.disk = this.#reopen(this.disk);
    // The start dies too, now and then, and the next one goes on from there.
    const dies = this.random.below(4) === 0 && this.disk instanceof MemoryDisk;
    if (dies) {
      const dieAt = this.random.below(6);
      this.file.outcome = () => (this.file.calls > dieAt ? 'killed' : 'done');
      try {
        this.#build((file, random) => Vault.open(file, null, random, SLOTS_MIN));
        recoverSpool(this.spool, silentVisitor);
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
      }
      this.file = this.file.crashed();
      this.disk = this.#reopen(this.disk);
    }
    this.#build((file, random) => Vault.open(file, null, random, SLOTS_MIN));
    this.doubtful.length = 0;
    this.#recover(expected, clean && !dies);
  }

  #build(openVault: (file: MemoryKeyFile, random: (bytes: number) => Uint8Array) => Vault): void {
    const random = (bytes: number) => this.random.bytes(bytes);
    this.vault = openVault(this.file, random);
    this.figures = new Figures(allocateFigures());
    this.#failed = false;
    this.#lent = null;
    this.#open = null;
    const ground = { disk: this.disk, vault: this.vault, sealer: new RowSealer(this.vault, random), random };
    const clock = { wallMs: () => this.wallMs, monotonicMs: () => this.nowMs };
    this.started = noteStart(ground, readStarts(ground)?.started ?? 0);
    this.spool = new Spool(ground, SETTINGS, clock, this.figures, this.#events, this.started);
    if (this.disk instanceof MemoryDisk) this.disk.written = (key, value) => this.#values.written(this.vault, key, value);
  }

  readonly #events: SpoolEvents = {
    gone: (session, position, bytes, reason) => this.#gone({ session, position, bytes, reason }),
    retainedGone: (number) => {
      if (this.#starting) return;
      const message = this.oracle.retained.get(number)!;
      expect(message.untilMs, `retained message ${number} goes before its time`).toBeLessThanOrEqual(this.wallMs);
      this.oracle.retained.delete(number);
      this.#changed = true;
    },
    trouble: (message) => {
      this.troubles.push(message);
      // A repair has written what was applied, and counts nothing as durable.
      if (message.includes('damaged')) this.doubtful.push(this.oracle.clone());
    },
  };

  /** What is damaged can neither be given nor put right now. */
  get #mayMiss(): boolean {
    return this.damages > 0 && this.figures.state !== SpoolState.GOOD;
  }

  #gone(gone: Gone): void {
    if (this.#starting && gone.reason === GoneReason.EXPIRED) return;
    const { session, position, bytes, reason } = gone;
    const deliveries = this.oracle.sessions.get(session)?.deliveries;
    const message = deliveries?.get(position)?.message;
    if (reason === GoneReason.DAMAGED) {
      this.damaged.push(gone);
      deliveries?.delete(position);
      this.#changed = true;
      this.doubtful.push(this.oracle.clone());
      return;
    }
    if (message === undefined || message === null)
      throw new Error(`delivery ${session}/${position} goes (${reason}) and was not there`);
    expect(bytes, 'bytes that went').toBe(message.text.length);
    if (reason === GoneReason.EXPIRED) expect(message.untilMs, 'it goes before its time').toBeLessThanOrEqual(this.wallMs);
    else {
      const { session: trimmed, from } = this.#trimming!;
      const isOldest = session === trimmed && position === this.oracle.oldest(session, from, this.wallMs);
      must(isOldest || this.#mayMiss, `a trim of ${trimmed} from ${from} lets ${session}/${position} go`);
      this.#trimming = null;
    }
    deliveries!.delete(position);
    this.#changed = true;
  }

  /** Starts on what the disk holds, which must be one of `expected`. */
  #recover(possible: readonly Oracle[], clean: boolean): void {
    // What is found damaged on the way is told, and taken off what is expected.
    const expected = possible.map((oracle) => oracle.clone());
    const damagedBefore = this.damaged.length;
    const found = new Oracle();
    const told = new Map<number, { base: number; end: number; messages: number; bytes: number }>();
    recoverSpool(this.spool, {
      session: (number, record) => {
        const inner = { subscriptions: new Map(), deliveries: new Map(), inbound: new Set<number>(), next: 0 };
        found.sessions.set(number, { record: Buffer.from(record).toString(), ...inner });
      },
      subscription: (session, number, filter, options, identifier) => {
        found.sessions.get(session)!.subscriptions.set(number, `${Buffer.from(filter)} ${options} ${identifier}`);
      },
      deliveries: (session, base, end, messages, bytes) => {
        found.sessions.get(session)!.next = end;
        told.set(session, { base, end, messages, bytes });
      },
      inbound: (session, packetId) => {
        found.sessions.get(session)!.inbound.add(packetId);
      },
      retained: (number, view) => {
        const { topic, payload, expiresAtMs } = fieldsOf(view);
        found.retained.set(number, { text: topic + payload, untilMs: expiresAtMs, expiresAtMs });
      },
    });
    for (const [number, session] of found.sessions) {
      for (const { position, text, bits, ids, expiresAtMs } of this.read(number, 0, Infinity)) {
        const message = text === null ? null : { text, untilMs: Infinity, expiresAtMs };
        session.deliveries.set(position, { message, bits, ids });
      }
    }
    for (const { session, position } of this.damaged.slice(damagedBefore)) {
      for (const oracle of expected) oracle.sessions.get(session)?.deliveries.delete(position);
    }
    const texts = expected.map((oracle) => oracle.describe(this.wallMs));
    const text = found.describe(this.wallMs);
    const which = texts.lastIndexOf(text);
    if (which < 0) expect(text, 'a start finds what was durable').toBe(texts[0]);
    const oracle = expected[which]!;
    for (const [number, { base, end, messages, bytes }] of told) {
      const session = oracle.sessions.get(number)!;
      const first = oracle.read(number, 0, 1, this.wallMs)[0]?.position ?? end;
      expect(base, 'the queue begins before what is owed').toBeLessThanOrEqual(first);
      if (clean) expect(end, 'after a clean stop the queue goes on where it was').toBe(session.next);
      for (const { started, from, to } of this.#used.get(number) ?? []) {
        if (this.started - started >= STARTS_APART) continue;
        expect(end >= to || end + POSITIONS_MAX <= from, 'positions are given out again').toBe(true);
      }
      // What has expired may have been let go before the end, and may not.
      const isCertain = this.damaged.length === damagedBefore && expected.every((one) => !one.hasExpired(number, this.wallMs));
      if (isCertain) expect({ messages, bytes }).toEqual(oracle.owed(number));
      session.next = end;
    }
    for (const number of [...this.#used.keys()]) if (!told.has(number)) this.#used.delete(number);
    this.nextSession = Math.max(0, ...told.keys()) + 1;
    this.oracle = oracle;
    this.#changed = true;
    // The first run of the eraser lets go of what has expired: whether it was there or not is the same from here on.
    this.#starting = true;
    this.erase();
    this.#starting = false;
    this.oracle.dropExpired(this.wallMs);
    this.#changed = true;
    this.noteDurable();
  }

  // Checks.

  /** Reads a session's queue; a text with a view of each delivery. */
  read(session: number, from: number, limit: number, room = Infinity): ReadDelivery[] {
    const found: ReadDelivery[] = [];
    const next = this.spool.read(session, from, limit, (position, bits, ids, view) => {
      if (found.length >= room) return false;
      found.push(readDelivery(position, bits, ids, view));
      return true;
    });
    const last = found.at(-1)?.position ?? -1;
    must(next > last, 'a read ends behind what it gave');
    this.lastNext = next;
    return found;
  }

  lastNext = 0;
  /** Values that the test has damaged. */
  damages = 0;

  /** A read gives what the oracle says, and its end passes over nothing. */
  checkRead(session: number, from: number, limit: number, room = Infinity): void {
    this.settle();
    const given = this.read(session, from, limit, room).map(describeDelivery);
    if (this.#mayMiss) {
      const whole = new Set(this.oracle.read(session, from, Infinity, this.wallMs).map(describeDelivery));
      for (const one of given) must(whole.has(one), 'a read gives what is not there');
      return;
    }
    const expected = this.oracle.read(session, from, Math.min(limit, room), this.wallMs).map(describeDelivery);
    mustBeSame(given, expected, `read of ${session} from ${from}`);
    const passed = this.oracle.read(session, from, Infinity, this.wallMs).filter(({ position }) => position < this.lastNext);
    must(passed.length === given.length, 'a read passes over a delivery');
  }

  /** The books are right, and so is every queue. */
  check(): void {
    this.settle();
    mustBeSame(this.spool.held(), this.oracle.held(), 'what is held');
    for (const session of this.oracle.sessions.keys()) {
      const { messages, bytes } = this.spool.queues.get(session)!;
      mustBeSame({ messages, bytes }, this.oracle.owed(session), `what session ${session} is owed`);
    }
  }

  checkReads(): void {
    for (const session of this.oracle.sessions.keys()) this.checkRead(session, 0, Infinity);
  }

  /**
   * After a commit and a run of the eraser: the disk holds what is owed and nothing else, every other slot is free, and no key
   * opens what is not held any more.
   */
  checkErased(): void {
    const thief = Vault.open(this.file, null, (bytes) => this.random.bytes(bytes), SLOTS_MIN);
    this.#values.check(this.disk, this.vault, thief, this.oracle);
  }

  /** Rows of a kind. */
  rows(kind: RowKind): number {
    let rows = 0;
    this.disk.range(Buffer.of(kind), Buffer.of(kind + 1), () => {
      rows++;
      return true;
    });
    return rows;
  }

  /** The spool has let go of what it borrowed. */
  #settled(): void {
    this.#changed = true;
    this.#lent?.fill(LOAN_OVER);
    this.#lent = null;
  }
}

const silentVisitor = {
  session() {},
  subscription() {},
  deliveries() {},
  inbound() {},
  retained() {},
};

function readDelivery(position: number, bits: number, ids: Uint8Array, view: MessageView | null): ReadDelivery {
  const text = view === null ? null : textOf(view);
  return { position, bits, ids: Buffer.from(ids).toString('hex'), text, expiresAtMs: view?.expiresAtMs ?? Infinity };
}
