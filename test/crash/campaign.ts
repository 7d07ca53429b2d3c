// Rounds of load and death on one data directory that lives through all of them, and what must be true at the end: everything arrived, once
// where that was promised, in order, and nothing is left.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { LETHE_MAIN } from '../../bench/contestants/lethe.ts';
import { DATA_FILE } from '../../storage/lmdb-disk.ts';
import { SeededRandom } from '../seeded-random.ts';
import { Aftermath } from './aftermath.ts';
import { Cast, type Player, Temper } from './cast.ts';
import { Ledger } from './ledger.ts';
import type { Notices } from './notices.ts';
import type { Publisher } from './publisher.ts';
import { Manner, type Subscriber } from './subscriber.ts';
import { type Exit, type Program, Victim } from './victim.ts';

/** How a round ends. */
export const Ending = {
  /** SIGKILL in the middle of the load. */
  KILL: 'kill',
  /** The same after a moment in which everything was durably at its end. */
  CALM: 'calm',
  /** SIGKILL soon after those who were away have come back. */
  DRAIN: 'drain',
  /** SIGKILL while it starts, once or twice, before the round. */
  START: 'start',
  /** SIGTERM, and it ends in order. */
  STOP: 'stop',
  /** SIGTERM, and SIGKILL before it is done. */
  STOP_KILL: 'stop and kill',
  /** SIGKILL while the data file is written anew, after much was stored and consumed. */
  COMPACT: 'compact',
} as const;
export type Ending = (typeof Ending)[keyof typeof Ending];

/** Every ending comes early; then they are drawn. */
const FIRST: readonly Ending[] = [
  Ending.KILL,
  Ending.CALM,
  Ending.DRAIN,
  Ending.START,
  Ending.STOP,
  Ending.KILL,
  Ending.STOP_KILL,
  Ending.DRAIN,
  Ending.CALM,
  Ending.KILL,
];
const DRAWN: readonly Ending[] = [
  Ending.KILL,
  Ending.KILL,
  Ending.KILL,
  Ending.KILL,
  Ending.DRAIN,
  Ending.DRAIN,
  Ending.CALM,
  Ending.START,
  Ending.STOP,
  Ending.STOP_KILL,
];
/** Of so many later rounds one is about compaction: it takes long. */
const COMPACT_ONE_IN = 40;
const BULK_MESSAGES = 340;
const COMPACT_MS_MAX = 15_000;
const COMPACT_KILL_MS_MAX = 40;
const BOOT_MS_GUESS = 500;
const LOAD_MS_MAX = 400;
const DRAIN_MS_MAX = 80;
const STOP_MS_MAX = 40;
const QUOTA_MAX = 240;
const CALM_QUOTA_MAX = 60;
/** A round that is killed by what was done is killed after less than this. */
const ACKNOWLEDGED_MAX = 400;
const ACKNOWLEDGED_MS_MAX = 3_000;
const GUESTS_MAX = 3;
const FLAPS_MAX = 5;
const FLAP_PACKETS_MAX = 60;
/** What stderr may say of a start that takes long. */
const PROGRESS = /reading the spool|the spool was read/;

export interface CampaignOptions {
  readonly folder: string;
  readonly seed: number;
  /** Another one than the build. */
  readonly program?: Program;
  readonly rounds: number;
  /** Called after each round. */
  readonly onRound?: (campaign: Campaign) => void;
}

export class Campaign {
  readonly ledger = new Ledger();
  round = 0;
  ending: Ending = Ending.KILL;
  /** Rounds that were killed while the data file was written anew. */
  compactions = 0;
  bootMs = BOOT_MS_GUESS;
  readonly #options: CampaignOptions;
  readonly #random: SeededRandom;
  readonly #cast: Cast;
  readonly #passing: Promise<unknown>[] = [];

  constructor(options: CampaignOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#cast = new Cast(this.#random, this.ledger);
  }

  /** Messages that some session waits for, counted per session. */
  get outstanding(): number {
    return this.#cast.subscribers.reduce((sum, { plan }) => sum + this.ledger.outstanding(plan.name), 0);
  }

  /** Runs until all rounds are over or something was wrong; returns what was wrong. */
  async run(): Promise<readonly string[]> {
    const { folder, rounds, onRound } = this.#options;
    const { violations } = this.ledger;
    try {
      this.ledger.chapter = 'before the rounds';
      await this.#begin();
      while (this.round < rounds && violations.length === 0) {
        this.ending = FIRST[this.round] ?? (this.#random.below(COMPACT_ONE_IN) === 0 ? Ending.COMPACT : this.#draw(DRAWN));
        this.round++;
        this.ledger.chapter = `round ${this.round} (${this.ending})`;
        await this.#playRound();
        onRound?.(this);
      }
      if (violations.length > 0) return violations;
      this.ledger.chapter = 'at the end';
      await new Aftermath(folder, this.#cast, this.ledger).judge();
    } finally {
      this.#cast.cutAll();
    }
    return violations;
  }

  /**
   * The first starts of all are killed. Then everybody but the guests connects and subscribes, and the broker is killed the moment it
   * has confirmed that.
   */
  async #begin(): Promise<void> {
    for (let starts = 0; starts < 2; starts++) await this.#killWhileStarting();
    const { victim, port } = await this.#start();
    const { subscribers, sources } = this.#cast;
    await Promise.all(
      subscribers.map(async (subscriber) => {
        await subscriber.connect(port, Manner.PROMPT);
        await subscriber.peer.until('it is subscribed', () => subscriber.isSubscribed);
      }),
    );
    await Promise.all(sources.map(({ sender }) => sender.peer.connect(port)));
    victim.kill('SIGKILL');
    await this.#over(victim, { code: null, signal: 'SIGKILL' });
  }

  async #playRound(): Promise<void> {
    if (this.ending === Ending.START) {
      for (let starts = 1 + this.#random.below(2); starts > 0; starts--) await this.#killWhileStarting();
    }
    const { victim, port } = await this.#start();
    if (!(await this.#cast.notices.look(port))) this.ledger.violation('the broker did not give its retained messages');
    if (this.ending === Ending.COMPACT) {
      await this.#compact(port);
      victim.kill('SIGKILL');
      await this.#over(victim, { code: null, signal: 'SIGKILL' });
      return;
    }
    const isCalm = this.ending === Ending.CALM;
    this.#load(port, isCalm ? CALM_QUOTA_MAX : QUOTA_MAX);
    if (isCalm) {
      await this.#calmDown(port);
    } else {
      // In most rounds by what was done, so that a slow machine has a load too; in some by time alone, connecting included.
      if (this.#random.below(4) > 0) await this.#untilAcknowledged(this.#random.below(ACKNOWLEDGED_MAX));
      else await sleep(this.#random.below(LOAD_MS_MAX));
    }
    if (this.ending === Ending.DRAIN) {
      for (const player of this.#cast.players) if (!player.subscriber.peer.isConnected) this.#attend(player, port);
      await sleep(this.#random.below(DRAIN_MS_MAX));
    }
    const isStop = this.ending === Ending.STOP || this.ending === Ending.STOP_KILL;
    if (isStop) victim.kill('SIGTERM');
    if (this.ending === Ending.STOP_KILL) await sleep(this.#random.below(STOP_MS_MAX));
    if (this.ending !== Ending.STOP) victim.kill('SIGKILL');
    const killed: Exit = { code: null, signal: 'SIGKILL' };
    const stopped: Exit = { code: 0, signal: null };
    await this.#over(victim, ...(this.ending === Ending.STOP ? [stopped] : isStop ? [stopped, killed] : [killed]));
  }

  /** Starts the broker and waits until it serves. */
  async #start(): Promise<{ victim: Victim; port: number }> {
    const startedMs = performance.now();
    const victim = this.#spawn();
    const port = await victim.port();
    if (port === 0) {
      await victim.exited;
      throw new Error(`${this.ledger.chapter}: the broker did not start:\n${victim.stderr}`);
    }
    this.bootMs = performance.now() - startedMs;
    return { victim, port };
  }

  #spawn(): Victim {
    const windowMs = this.#draw([0, 3, 3, 20]);
    const eraseMs = this.#draw([100, 100, 400, 1_000]);
    const { folder, program = { command: [process.execPath, LETHE_MAIN], folder } } = this.#options;
    return new Victim(program, [`spool.commit_window_ms=${windowMs}`, `spool.erase_within_ms=${eraseMs}`]);
  }

  async #killWhileStarting(): Promise<void> {
    const victim = this.#spawn();
    // Most of a start is the runtime's own; what matters comes late in it.
    await sleep(this.bootMs / 2 + this.#random.below(this.bootMs * 0.6));
    victim.kill('SIGKILL');
    await this.#over(victim, { code: null, signal: 'SIGKILL' });
  }

  /** Waits until the process and every line to it are gone, and judges how it ended. */
  async #over(victim: Victim, ...expected: readonly Exit[]): Promise<void> {
    const exit = await victim.exited;
    const { subscribers, sources } = this.#cast;
    await Promise.all([...subscribers, ...sources.map(({ sender }) => sender)].map(({ peer }) => peer.untilGone()));
    await Promise.all(this.#passing.splice(0));
    if (!expected.some(({ code, signal }) => exit.code === code && exit.signal === signal)) {
      this.ledger.violation(`the broker ended with ${exit.code ?? exit.signal}`);
    }
    for (const line of victim.stderr.split('\n'))
      if (line !== '' && !PROGRESS.test(line)) this.ledger.violation(`it said: ${line}`);
  }

  /** Everybody whose turn it is connects, and the publishers begin. Returns at once. */
  #load(port: number, quotaMax: number): void {
    const { players, guests, sources } = this.#cast;
    for (const player of players) {
      if (player.temper !== Temper.RARE || this.#random.below(6) === 0) this.#attend(player, port);
    }
    for (const guest of guests) if (this.#random.below(3) === 0) this.#pass(guest.connect(port, Manner.PROMPT));
    for (const source of sources) this.#pass(source.sender.peer.connect(port));
    this.#cast.encourage(quotaMax);
    if (this.#random.below(2) === 0) this.#pass(this.#flapSource(this.#draw(sources), port));
    if (guests.length < GUESTS_MAX) this.#pass(this.#cast.invite().connect(port, Manner.PROMPT));
  }

  /** Waits until so many messages were acknowledged, or there are no more, or it takes too long. */
  async #untilAcknowledged(count: number): Promise<void> {
    const { ledger } = this;
    const { sources } = this.#cast;
    const enough = ledger.acknowledgements + count;
    const startedMs = performance.now();
    const isOver = () => ledger.acknowledgements >= enough || sources.every(({ isIdle }) => isIdle);
    while (!isOver() && performance.now() - startedMs < ACKNOWLEDGED_MS_MAX) await sleep(1);
  }

  #attend({ subscriber, temper, manners }: Player, port: number): void {
    const manner = this.#draw(manners);
    const isFlapping = temper === Temper.FLAPPING && this.ending !== Ending.CALM;
    this.#pass(isFlapping ? this.#flap(subscriber, port, manner) : subscriber.connect(port, manner));
  }

  /** Connects, loses the line after some packets, and connects again at once. */
  async #flap(subscriber: Subscriber, port: number, manner: Manner): Promise<void> {
    const random = this.#fork();
    for (let flaps = random.below(FLAPS_MAX); flaps > 0; flaps--) {
      if (!(await subscriber.connect(port, manner, 1 + random.below(FLAP_PACKETS_MAX)))) return;
      await subscriber.peer.untilGone();
      if (!subscriber.hasCut) return; // it was the broker's end
    }
    await subscriber.connect(port, manner);
  }

  /** Cuts the line of a source and connects it again, twice. */
  async #flapSource({ sender }: Publisher | Notices, port: number): Promise<void> {
    const random = this.#fork();
    for (let flaps = 0; flaps < 2; flaps++) {
      if (!(await sender.peer.until('it is open', () => sender.peer.isOpen))) return;
      await sleep(random.below(LOAD_MS_MAX / 4));
      if (!sender.peer.isOpen) return;
      sender.peer.cut();
      if (!(await sender.peer.connect(port))) return;
    }
  }

  /** Lets everything come to its end, and notes what may not come back; then some load again, or none. */
  async #calmDown(port: number): Promise<void> {
    const { ledger } = this;
    const { sources, publishers, guests } = this.#cast;
    await Promise.all(this.#passing.splice(0));
    for (const { sender } of sources)
      if (!(await sender.untilIdle())) ledger.violation(`${sender.peer.name} has lost the broker`);
    const present = this.#cast.subscribers.filter(({ peer }) => peer.isOpen);
    const settle = present.map(({ plan }) => ledger.settling(plan.name));
    for (const { peer } of present) if (!(await peer.ping())) ledger.violation(`${peer.name} has lost the broker`);
    if (guests.length === GUESTS_MAX) await this.#bidFarewell(guests.shift()!, port);
    // Its acknowledgement says that everything before it is durable.
    const barrier = publishers[0]!;
    barrier.quota = 1;
    barrier.sender.fill();
    await barrier.sender.untilIdle();
    for (const settled of settle) settled();
    if (this.#random.below(2) === 0) return;
    this.#cast.encourage(QUOTA_MAX);
    await sleep(this.#random.below(LOAD_MS_MAX / 2));
  }

  /** Much is stored for one session, which takes all of it; returns when the broker is giving the space back. */
  async #compact(port: number): Promise<void> {
    const { folder } = this.#options;
    const [publisher] = this.#cast.publishers;
    const { bulk } = this.#cast;
    publisher!.bulk = BULK_MESSAGES;
    await publisher!.sender.peer.connect(port);
    await publisher!.sender.untilIdle();
    if (!(await bulk.connect(port, Manner.PROMPT)) || !(await bulk.drain())) {
      this.ledger.violation(`the bulk did not arrive: ${this.ledger.outstanding(bulk.plan.name)} messages`);
    }
    const startedMs = performance.now();
    const isUnderWay = () => existsSync(join(folder, `${DATA_FILE}.new`));
    while (!isUnderWay() && performance.now() - startedMs < COMPACT_MS_MAX) await sleep(1);
    this.compactions += isUnderWay() ? 1 : 0;
    await sleep(this.#random.below(COMPACT_KILL_MS_MAX));
  }

  /** A guest takes what it is owed and leaves for good. */
  async #bidFarewell(guest: Subscriber, port: number): Promise<void> {
    const { name } = guest.plan;
    guest.peer.cut();
    if (!(await guest.connect(port, Manner.PROMPT)) || !(await guest.drain())) {
      this.ledger.violation(`${name} did not get ${this.ledger.outstanding(name)} messages`);
    }
    this.ledger.ended(name);
    await guest.leave(port);
  }

  #pass(doing: Promise<unknown>): void {
    this.#passing.push(doing);
  }

  /** Chance for what runs beside the round: the plan must not depend on who comes first. */
  #fork(): SeededRandom {
    return new SeededRandom(this.#random.below(2 ** 31));
  }

  #draw<T>(among: readonly T[]): T {
    return among[this.#random.below(among.length)]!;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
