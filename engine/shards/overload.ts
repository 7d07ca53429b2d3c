// Overload: while the event loop of a shard is late by more than limits.overload_delay_ms, the shard takes no new connections, so that those it has are served. Looked at a few times a
// second; twice in a row late begins it, so that a single long turn does not, and some looks in a row at less than half end it.

import type { Shard } from '../routing/shard.ts';
import { Timer } from '../timers.ts';

const LOOK_EVERY_MS = 250;
const LATE_LOOKS = 2;
const CALM_LOOKS = 8;

export class OverloadWatch {
  readonly #shard: Shard;
  readonly #timer: Timer;
  #dueMs = 0;
  #lateLooks = 0;
  #calmLooks = 0;

  constructor(shard: Shard) {
    this.#shard = shard;
    this.#timer = new Timer(() => this.#look());
  }

  start(): void {
    const { clock, timers } = this.#shard;
    this.#dueMs = clock.monotonicMs() + LOOK_EVERY_MS;
    timers.set(this.#timer, LOOK_EVERY_MS);
  }

  stop(): void {
    this.#shard.timers.cancel(this.#timer);
  }

  #look(): void {
    const { clock, limits } = this.#shard;
    this.judge(clock.monotonicMs() - this.#dueMs, limits.overloadDelayMs);
    this.start();
  }

  /** Takes one look: how late it came, and how late it may come (0: as late as it likes). */
  judge(lateMs: number, delayMaxMs: number): void {
    const { admission, counters, log } = this.#shard;
    const isLate = delayMaxMs > 0 && lateMs > delayMaxMs;
    const isCalm = delayMaxMs === 0 || lateMs < delayMaxMs / 2;
    this.#lateLooks = isLate ? this.#lateLooks + 1 : 0;
    this.#calmLooks = isCalm ? this.#calmLooks + 1 : 0;
    if (!admission.isOverloaded && this.#lateLooks >= LATE_LOOKS) {
      admission.isOverloaded = true;
      counters.overloads++;
      log.warn('overloaded: no new connections are taken until the event loop keeps up', { lateMs: Math.round(lateMs) });
    } else if (admission.isOverloaded && (this.#calmLooks >= CALM_LOOKS || delayMaxMs === 0)) {
      admission.isOverloaded = false;
      log.info('the event loop keeps up again: new connections are taken');
    }
  }
}
