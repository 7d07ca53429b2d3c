// A clock that stands still until it is told to move: time, wake-ups and ends of turn happen when a test says so, in an order that
// depends on nothing else.
import type { Clock } from '../engine/clock.ts';

/** Wall clock when the virtual one starts: 2026-01-01 UTC. */
const WALL_START_MS = 1_767_225_600_000;
const TURNS_MAX = 100_000;

interface Alarm {
  readonly atMs: number;
  readonly wake: () => void;
}

export class VirtualClock implements Clock {
  #nowMs = 0;
  readonly #alarms: Alarm[] = [];
  #turn: (() => void)[] = [];

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return WALL_START_MS + this.#nowMs;
  }

  keptMs(): number {
    return this.wallMs();
  }

  after(delayMs: number, wake: () => void): () => void {
    const alarm: Alarm = { atMs: this.#nowMs + delayMs, wake };
    let at = this.#alarms.length;
    while (at > 0 && this.#alarms[at - 1]!.atMs > alarm.atMs) at--;
    this.#alarms.splice(at, 0, alarm);
    return () => {
      const found = this.#alarms.indexOf(alarm);
      if (found >= 0) this.#alarms.splice(found, 1);
    };
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.after(delayMs, resolve));
  }

  endOfTurn(wake: () => void): void {
    this.#turn.push(wake);
  }

  /** Alarms that are set. */
  get alarms(): number {
    return this.#alarms.length;
  }

  /** Ends the turn: what was asked for is called once. False when there was nothing. */
  endTurn(): boolean {
    const wakes = this.#turn;
    this.#turn = [];
    for (const wake of wakes) wake();
    return wakes.length > 0;
  }

  /** Lets time pass; every alarm on the way goes off at its time, in order, and is followed by ends of turn until there is none. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    while (this.#alarms.length > 0 && this.#alarms[0]!.atMs <= untilMs) {
      const alarm = this.#alarms.shift()!;
      this.#nowMs = Math.max(this.#nowMs, alarm.atMs);
      alarm.wake();
      for (let turns = 0; this.endTurn(); turns++) if (turns > TURNS_MAX) throw new Error('the turns do not end');
    }
    this.#nowMs = untilMs;
  }
}
