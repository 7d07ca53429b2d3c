// How many files and sockets this process may have open at one time (setrlimit(2), RLIMIT_NOFILE): each connection takes one. Some are kept for the broker itself, so that it can still read its files at a reload, write its spool
// and answer its operator, and so that accepting never fails for want of one: uWebSockets would try again for ever, at the cost of a core.
//
// A new descriptor is always the lowest that is free (open(2)), so that its number tells how many are in use at the least.
import { closeSync, openSync } from 'node:fs';
import type { Clock } from './clock.ts';
import type { Log } from './log.ts';
import { processLimit } from './process-limit.ts';

/** What a broker has open without any connection: itself, and listeners, bells and loop of each thread. */
const OWN_DESCRIPTORS = 28;
const OWN_DESCRIPTORS_PER_THREAD = 8;
/** Connections that one thread takes between two looks: all threads together take fewer than are spare. */
const LOOK_EVERY = 4;
const SPARE_DESCRIPTORS_MIN = 32;
/** Of what is spare, what no thread takes between two looks. */
const NEVER_TAKEN = 8;
const ANY_FILE = '/dev/null';
/** At its limit a broker has and lacks one in turn. */
const TOLD_EVERY_MS = 60_000;

/** How many stay free when connections take as many as they can. */
function spareDescriptors(threads: number): number {
  return Math.max(SPARE_DESCRIPTORS_MIN, LOOK_EVERY * threads + NEVER_TAKEN);
}

/** Kept for the broker itself: the rest is for connections. */
export function reservedDescriptors(threads: number): number {
  return OWN_DESCRIPTORS + OWN_DESCRIPTORS_PER_THREAD * threads + spareDescriptors(threads);
}

/** Null: this system does not say. Node raises its own limit to what it may have when it starts. */
export function descriptorLimit(): number | null {
  return processLimit('Max open files');
}

/** Whether there are descriptors to spare, asked for each new connection. */
export class SpareDescriptors {
  readonly #most: number;
  readonly #clock: Clock;
  readonly #log: Log;
  #toldMs = Number.NEGATIVE_INFINITY;
  #untilLook = 0;
  #areFew = false;

  constructor(limit: number, threads: number, clock: Clock, log: Log) {
    this.#most = limit - Math.min(spareDescriptors(threads), Math.floor(limit / 4));
    this.#clock = clock;
    this.#log = log;
  }

  /** Whether a connection that was just accepted must be closed again. */
  areFew(): boolean {
    if (this.#most === Infinity || (!this.#areFew && --this.#untilLook > 0)) return false;
    this.#untilLook = LOOK_EVERY;
    this.#areFew = lowestFree() >= this.#most;
    if (this.#areFew) this.#tell(this.#clock.monotonicMs());
    return this.#areFew;
  }

  #tell(nowMs: number): void {
    if (nowMs - this.#toldMs < TOLD_EVERY_MS) return;
    this.#toldMs = nowMs;
    this.#log.warn('nearly all file descriptors are in use: new connections are closed (LimitNOFILE=, ulimit -n)');
  }
}

/** Infinity when there is none. */
function lowestFree(): number {
  let descriptor: number;
  try {
    descriptor = openSync(ANY_FILE, 'r');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EMFILE' || code === 'ENFILE' ? Infinity : -1;
  }
  closeSync(descriptor);
  return descriptor;
}
