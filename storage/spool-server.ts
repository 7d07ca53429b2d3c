// The storage thread's side of the rings: takes the intents of all clients in batches, lets the spool make them durable, and answers. One call of
// `step` does what there is to do now and says how long there is nothing; the thread around it sleeps that long, or until the bell rings.
//
// A batch ends when the commit window has passed since its first intent, or when it has grown large: what is consumed within
// the window never touches the disk. A batch of which nothing is left needs no commit, and is durable at once. Clients share a batch, and take turns
// in it: what one sends without end keeps the others waiting for one batch at the most. While a message of one of them is in the midst, nothing becomes durable.
import { Sleep } from './doorbell.ts';
import { Figure, SpoolState } from './figures.ts';
import { Report } from './intents.ts';
import { ServedClient, type ServerDesk, type ServerLink, type Turn } from './served-client.ts';
import type { Spool } from './spool.ts';
import { type GoneReason, SetAside } from './store.ts';
import type { SpoolEvents } from './surroundings.ts';

export interface ServerSettings {
  readonly commitWindowMs: number;
}

/** A client alone has all the time; several have a share each, and go round. */
const WHOLE_TURN: Turn = { intents: Infinity, reads: Infinity };
const SHARED_TURN: Turn = { intents: 4_096, reads: 64 };
/**
 * How far the window stretches while most of what it let out was consumed right after it was written: receivers that keep up, but a little
 * slower than the window. Waiting for them saves their messages the way to the disk.
 */
const STRETCH_MAX = 8;
const SHRINK = 0.25;
/** A batch of this size does not wait for the window. */
const BATCH_BYTES_MAX = 4 * 1_048_576;
/** Nor does one of so many intents, when clients share it. */
const BATCH_INTENTS_MAX = 32_768;
/** Below so many intents in one look the engine is not busy: the thread lets itself be woken inside the window. */
const BUSY_INTENTS = 64;
const IDLE_MS = 1_000;
const ROOM_RETRY_MS = 1;
const MIDST_LOOK_MS = 1;
const CLEAN_LOOK_MS = 1;
/** No intent for so long: there is time for housekeeping. */
const QUIET_MS = 1_000;
/** How long an erasure that was asked for is tried while the disk does not take it. */
const ERASE_TRIES_MS = 10_000;
const ERASE_RETRY_MS = 10;

export class SpoolServer implements ServerDesk {
  readonly #clients: readonly ServedClient[];
  readonly #settings: ServerSettings;
  #spool: Spool | null = null;
  /** Who hosts a session, when it is not client 0. */
  readonly #hosts = new Map<number, ServedClient>();
  #toldState: SpoolState = SpoolState.GOOD;
  /** When the first intent of the batch was applied; Infinity while there is none. */
  #batchSinceMs = Infinity;
  #urgentSeen = 0;
  /** Since when an erasure is asked for in vain; Infinity: none is. */
  #askedMs = Infinity;
  /** When it was tried last. */
  #triedMs = -Infinity;
  /** Values that were set aside and went for what is asked. */
  #forgotten = 0;
  #busyAtMs = -Infinity;
  /** The window is this many times the one that is set. */
  #stretch = 1;
  /** Deliveries written by the last commit, and consumed before and since. */
  #writtenBefore = 0;
  #consumedBefore = 0;
  #lastWritten = 0;
  /** How deeply the thread should sleep: under load it gathers what comes until its time is up. */
  sleep: Sleep = Sleep.LIGHT;

  /** `links`: of client 0, which recovers and closes the spool, and of those beside it. */
  constructor(links: readonly ServerLink[], settings: ServerSettings) {
    const turn = links.length === 1 ? WHOLE_TURN : SHARED_TURN;
    this.#clients = links.map((link, number) => new ServedClient(number, link, turn, this));
    this.#settings = settings;
  }

  /** What the spool says of its own accord goes to the client that it concerns. */
  readonly events: SpoolEvents = {
    gone: (session: number, position: number, bytes: number, reason: GoneReason) => {
      const host = this.#hosts.get(session);
      const client = host === undefined || host.hasLeft ? this.#first : host;
      client.say(Report.GONE, session, position, reason, bytes);
    },
    retainedGone: (number: number) => this.#first.say(Report.RETAINED_GONE, 0, number, 0, 0),
    trouble: (message: string) => this.#first.sayBytes(Report.TROUBLE, Buffer.from(message)),
  };

  hosts(session: number, client: ServedClient): void {
    if (client === this.#first) this.#hosts.delete(session);
    else this.#hosts.set(session, client);
  }

  ended(session: number): void {
    this.#hosts.delete(session);
  }

  attach(spool: Spool): void {
    this.#spool = spool;
  }

  get #first(): ServedClient {
    return this.#clients[0]!;
  }

  /** Whether a client has sent something that was not looked at. */
  get hasWork(): boolean {
    for (const client of this.#clients) if (client.hasIntents) return true;
    return false;
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
    if (this.#first.isLeaving) {
      this.#close(spool);
      return -1;
    }
    const hasReadsLeft = this.#serveReads(spool);
    const nowMs = clock.monotonicMs();
    if (taken > 0 && this.#batchSinceMs === Infinity) this.#batchSinceMs = nowMs;
    const isMidst = this.#isMidst;
    if (!isMidst) this.#endBatch(spool, nowMs);
    spool.health.look();
    if (spool.figures.state === SpoolState.FULL && !spool.hasChanges) spool.health.probe();
    if (!isMidst) this.#erase(spool);
    if (taken > 0) this.#busyAtMs = nowMs;
    else if (nowMs - this.#busyAtMs >= QUIET_MS && !spool.hasChanges) spool.health.compactIfWasteful();
    this.#tell(spool);
    if (hasReadsLeft || this.#hasMore) {
      this.sleep = Sleep.LIGHT;
      return 0;
    }
    return this.#sleepMs(spool, taken);
  }

  /** Erases what is due; all of it when a client asks for that. */
  #erase(spool: Spool): void {
    const nowMs = spool.clock.monotonicMs();
    if (!this.#isErasureAsked || nowMs - this.#triedMs < ERASE_RETRY_MS) {
      spool.eraser.run(false);
      return;
    }
    if (this.#askedMs === Infinity) this.#askedMs = nowMs;
    this.#triedMs = nowMs;
    // What was let go must be so on the disk before its keys are known.
    spool.commit();
    spool.eraser.run(true);
    const isClean = this.#eraseSetAside(spool) && spool.eraser.isClean && !spool.hasChanges;
    if (!isClean && spool.figures.state !== SpoolState.BROKEN && nowMs - this.#askedMs < ERASE_TRIES_MS) return;
    this.#askedMs = Infinity;
    this.#triedMs = -Infinity;
    // What was set aside is told to one who has asked for it.
    for (const client of this.#clients) {
      const isTold = client.setAside !== SetAside.STAYS;
      client.erased(isClean ? (isTold ? this.#forgotten : 0) : -1);
      if (isTold) this.#forgotten = 0;
    }
    this.#forgotten = 0;
  }

  /** Erases what was set aside, as far as it is asked for. False when the disk did not take it. */
  #eraseSetAside(spool: Spool): boolean {
    let setAside: SetAside = SetAside.STAYS;
    for (const client of this.#clients) if (client.setAside > setAside) setAside = client.setAside;
    if (setAside === SetAside.STAYS) return true;
    // A run of the eraser may find damage, and set more aside.
    for (;;) {
      const forgotten = spool.eraser.forgetSetAside(setAside);
      if (forgotten <= 0) return forgotten === 0;
      this.#forgotten += forgotten;
      spool.eraser.run(true);
    }
  }

  get #isErasureAsked(): boolean {
    for (const client of this.#clients) if (client.wantsErasure) return true;
    return false;
  }

  /** Also says how deeply. */
  #sleepMs(spool: Spool, taken: number): number {
    let isWaiting = false;
    let hasReads = false;
    for (const client of this.#clients) {
      isWaiting ||= client.isWaiting;
      hasReads ||= client.hasReads;
    }
    const isMidst = this.#isMidst;
    const isBusy = taken >= BUSY_INTENTS && this.#batchSinceMs !== Infinity && !hasReads && !isMidst;
    this.sleep = isBusy ? Sleep.DEEP : Sleep.LIGHT;
    const ageMs = spool.clock.monotonicMs() - this.#batchSinceMs;
    const windowMs = this.#batchSinceMs === Infinity ? IDLE_MS : this.#windowMs - ageMs;
    // What found no room in the reports is tried again: nobody rings when the engine has made some.
    const roomMs = isWaiting ? ROOM_RETRY_MS : IDLE_MS;
    // While receivers keep up, a moment may come at which nothing is left to write: it must not be slept through.
    const lookMs = isBusy && this.#stretch > 1 ? CLEAN_LOOK_MS : IDLE_MS;
    // The rest of a message is rung for.
    if (isMidst) return Math.min(roomMs, MIDST_LOOK_MS);
    const eraseMs = this.#askedMs === Infinity ? IDLE_MS : ERASE_RETRY_MS;
    return Math.max(0, Math.min(windowMs, spool.eraser.dueInMs(), roomMs, lookMs, eraseMs));
  }

  /** Whether a message is in the midst: half of it must not become durable without the rest. */
  get #isMidst(): boolean {
    for (const client of this.#clients) if (client.isMidst) return true;
    return false;
  }

  /** Whether something that was sent was left for the next step. */
  get #hasMore(): boolean {
    for (const client of this.#clients) if (client.hasMore) return true;
    return false;
  }

  /** Whether a client waits until everything that it has sent is durable. */
  get #isLeaving(): boolean {
    for (const client of this.#clients) if (client.isLeaving) return true;
    return false;
  }

  #endBatch(spool: Spool, nowMs: number): void {
    if (this.#batchSinceMs === Infinity) return;
    const isLeaving = this.#isLeaving;
    if (spool.publishIfClean()) this.#batchSinceMs = Infinity;
    else if (isLeaving || this.#isDue(spool, nowMs)) this.#batchSinceMs = spool.commit() ? Infinity : spool.clock.monotonicMs();
    if (!isLeaving) return;
    for (const client of this.#clients) if (client.isLeaving) client.leave();
  }

  /** Whether what was applied should be written now. */
  #isDue(spool: Spool, nowMs: number): boolean {
    const ageMs = nowMs - this.#batchSinceMs;
    // In a stretched window a moment without messages is the one to write what else there is.
    const isMoment = this.#stretch > 1 && ageMs >= this.#settings.commitWindowMs && !spool.hasMessages;
    if (isMoment) return true;
    const isYoung = ageMs < this.#windowMs && spool.pendingBytes < BATCH_BYTES_MAX;
    if (isYoung && !spool.isUrgent) return false;
    this.#adapt(spool);
    return true;
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
    // Read before the intents: what is asked for meanwhile is seen the next time.
    this.#urgentSeen = spool.figures.urgent;
    let taken = 0;
    do for (const client of this.#clients) taken += client.takeIntents(spool);
    while (this.#hasMore && taken < BATCH_INTENTS_MAX && spool.pendingBytes < BATCH_BYTES_MAX);
    // A shard shows what a message rests on before it sends the message to another one: a look that begins now finds it.
    for (let needed = this.#needed; needed !== undefined; needed = this.#needed) taken += needed.takeIntents(spool);
    return taken;
  }

  get #needed(): ServedClient | undefined {
    return this.#clients.find(({ isNeeded }) => isNeeded);
  }

  needs(client: number): void {
    this.#clients[client]!.isNeeded = true;
  }

  /** True when a client has used up its share only. */
  #serveReads(spool: Spool): boolean {
    let hasLeft = false;
    for (const client of this.#clients) if (client.serveReads(spool)) hasLeft = true;
    return hasLeft;
  }

  /** Tells every client whose number moved, and all of them when the spool's state changed; and wakes those that were told something. */
  #tell({ figures }: Spool): void {
    const hasChanged = figures.state !== this.#toldState;
    this.#toldState = figures.state;
    for (const client of this.#clients) {
      client.tell(figures.durableOf(client.number), hasChanged);
      client.ring();
    }
  }

  #close(spool: Spool): void {
    while (this.#hasMore) this.#takeIntents(spool);
    spool.stop();
    for (const client of this.#clients) if (client !== this.#first && client.isLeaving) client.leave();
    this.#tell(spool);
  }
}
