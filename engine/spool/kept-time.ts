// Time for what is kept (`Clock.keptMs`) over restarts, in a small file of the data directory: what it was, and what the wall clock said then. While the process runs kept time goes on as the monotonic clock does, and
// steps of the wall clock do not move it. What passed while no broker ran only the wall clock can say, and it may be wrong: a machine without a battery starts in 1970, a broken one in 2038.
//
// Invariant: kept time never goes back, so nothing is kept for ever; and it goes ahead only by what has passed or may well have passed, so nothing is lost because a clock was wrong for a while.
//
//   away = wall clock now - wall clock when it was noted last - time that this process has run
//   0 to 366 days           believed: kept time goes on by as much
//   below 0, or more        in doubt: kept time goes on from what was noted, until the wall clock is set to something that is believed,
//                           or has not been set for a day: then it is believed, but that it has never gone back
//
// Data without a note that can be read (of a version before this file, restored, half written) has one all the same: the time at which it was written last.
//
// While it is in doubt the wall clock is not noted; what is noted instead is what it would be if no time had passed without the process, which is the least that it can be.
import { readFileSync, statSync } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KEYS_FILE } from '../../storage/folder.ts';
import { DATA_FILE } from '../../storage/lmdb-disk.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';

const FILE = 'spool.time';
const FORMAT = 'lethe time v1';
const DAY_MS = 86_400_000;
const BELIEVED_MS_MAX = 366 * DAY_MS;
/** A clock that is set back by so little has been put right. */
const BACK_MS_MAX = 60_000;
const DOUBT_MS_MAX = DAY_MS;
const LOOK_EVERY_MS = 1_000;
/** A step is told and noted; less is how clocks are kept right. */
const STEP_MS_MIN = 10_000;
/** How old what is noted may be, steps apart: it only tells then that a clock has gone back by more. */
const NOTE_EVERY_MS = 600_000;
/** Likewise while the clock is in doubt: of a run that is killed nothing else tells how long it was. */
const NOTE_IN_DOUBT_EVERY_MS = 60_000;

/** What was noted: two clocks at the same moment. */
interface Note {
  readonly keptMs: number;
  readonly wallMs: number;
}

export class KeptTime {
  readonly #path: string;
  /** Of kept time before the monotonic clock, as `clock` has it (clock.ts). */
  readonly #ahead: Float64Array;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Wall clock that was noted last before this process, when it began, and since when the wall clock has not been set; null: it is not in doubt. */
  #doubt: { readonly wallMs: number; readonly sinceMs: number; steadySinceMs: number } | null = null;
  #lastWallMs: number;
  #lastMs: number;
  #notedMs = Number.NEGATIVE_INFINITY;
  #noting: Promise<void> = Promise.resolve();
  #wasTold = false;
  #stop: () => void = () => {};

  /** Continues the kept time that `memory` is for, which `clock` tells, where the file in `folder` left it. The folder is this process's alone. */
  constructor(folder: string, memory: SharedArrayBuffer, clock: Clock, log: Log) {
    this.#path = join(folder, FILE);
    this.#ahead = new Float64Array(memory);
    this.#clock = clock;
    this.#log = log;
    this.#lastWallMs = clock.wallMs();
    this.#lastMs = clock.monotonicMs();
    const note = readNote(this.#path, log) ?? noteOfData(folder);
    if (note !== null) this.#goOnFrom(note);
  }

  /** Looks at the clock from time to time, and notes it; the folder exists by now. */
  start(): void {
    this.look();
    this.#stop = this.#clock.after(LOOK_EVERY_MS, () => this.start());
  }

  /** One look at the clock. */
  look(): void {
    const wallMs = this.#clock.wallMs();
    const nowMs = this.#clock.monotonicMs();
    const stepMs = wallMs - this.#lastWallMs - (nowMs - this.#lastMs);
    this.#lastWallMs = wallMs;
    this.#lastMs = nowMs;
    const isStep = Math.abs(stepMs) >= STEP_MS_MIN;
    if (isStep)
      this.#log.info('the clock was set; what is kept goes by the time that passes', { seconds: Math.round(stepMs / 1_000) });
    if (isStep && this.#doubt !== null) this.#doubt.steadySinceMs = nowMs;
    this.#resolve(wallMs, nowMs);
    const everyMs = this.#doubt === null ? NOTE_EVERY_MS : NOTE_IN_DOUBT_EVERY_MS;
    if (isStep || nowMs - this.#notedMs >= everyMs) this.#note();
  }

  /** Notes the time a last time. */
  async close(): Promise<void> {
    this.#stop();
    this.#note();
    await this.#noting;
  }

  #goOnFrom({ keptMs, wallMs }: Note): void {
    const awayMs = this.#lastWallMs - wallMs;
    const isBelieved = awayMs >= -BACK_MS_MAX && awayMs <= BELIEVED_MS_MAX;
    this.#advance(keptMs + (isBelieved ? Math.max(0, awayMs) : 0) - this.#clock.keptMs());
    if (isBelieved) return;
    this.#doubt = { wallMs, sinceMs: this.#lastMs, steadySinceMs: this.#lastMs };
    const days = Math.round(awayMs / DAY_MS);
    if (awayMs < 0) this.#log.warn('the clock has gone back since the broker ran last and is not believed: set it', { days });
    else
      this.#log.warn('the clock is far ahead of when the broker ran last and is not believed before a day has passed', { days });
  }

  /** Ends the doubt when the clock says something that can be believed, or has not been set for long. */
  #resolve(wallMs: number, nowMs: number): void {
    if (this.#doubt === null) return;
    const ranMs = nowMs - this.#doubt.sinceMs;
    const awayMs = wallMs - this.#doubt.wallMs - ranMs;
    const isBelieved = awayMs >= -BACK_MS_MAX && awayMs <= BELIEVED_MS_MAX;
    if (!isBelieved && nowMs - this.#doubt.steadySinceMs < DOUBT_MS_MAX) return;
    this.#doubt = null;
    this.#advance(Math.max(0, awayMs));
    this.#log.info('the clock is believed: time that passed while no broker ran is counted', {
      seconds: Math.round(Math.max(0, awayMs) / 1_000),
    });
    this.#note();
  }

  #advance(ms: number): void {
    this.#ahead[0] = this.#ahead[0]! + ms;
  }

  #note(): void {
    const { keptMs, wallMs } = this.#now();
    this.#notedMs = this.#clock.monotonicMs();
    const text = `${FORMAT} ${Math.round(keptMs)} ${Math.round(wallMs)}\n`;
    this.#noting = this.#noting
      .then(() => write(this.#path, text))
      .catch((error: NodeJS.ErrnoException) => {
        if (!this.#wasTold)
          this.#log.warn('the time could not be noted in the data directory', { code: error.code ?? 'unknown' });
        this.#wasTold = true;
      });
  }

  #now(): Note {
    const keptMs = this.#clock.keptMs();
    if (this.#doubt === null) return { keptMs, wallMs: this.#clock.wallMs() };
    return { keptMs, wallMs: this.#doubt.wallMs + this.#clock.monotonicMs() - this.#doubt.sinceMs };
  }
}

/** Null: there is none, or none that can be read, which is told. */
function readNote(path: string, log: Log): Note | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') log.warn('the time that was noted in the data directory cannot be read', { code: code ?? 'unknown' });
    return null;
  }
  const found = new RegExp(`^${FORMAT} (-?\\d{1,15}) (-?\\d{1,15})\n$`).exec(text);
  return found === null ? null : { keptMs: Number(found[1]), wallMs: Number(found[2]) };
}

/** What stands for a note where there is data: when it was written last, by the wall clock of then. Null: there is none. */
function noteOfData(folder: string): Note | null {
  let newestMs = 0;
  for (const name of [DATA_FILE, KEYS_FILE])
    newestMs = Math.max(newestMs, statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0);
  return newestMs === 0 ? null : { keptMs: newestMs, wallMs: newestMs };
}

/** The file is the old or the new one at every moment, and whose the folder is: a command of root's looks into it too. */
async function write(path: string, text: string): Promise<void> {
  const next = `${path}.next`;
  const { uid, gid } = await stat(dirname(path));
  // One that a kill has left may be somebody else's.
  await rm(next, { force: true });
  const file = await open(next, 'wx', 0o600);
  try {
    if (process.geteuid?.() === 0) await file.chown(uid, gid);
    await file.writeFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(next, path);
}
