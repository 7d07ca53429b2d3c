// A hierarchical timing wheel (Varghese and Lauck, 1987): O(1) to set and to cancel, for keep alives, connect timeouts,
// session expiry and will delays. Deadlines are on the monotonic clock, in ms, and fire up to one tick late, never early.
// A timer belongs to its owner, who may set it again at any time; the wheel links it while it is set.
import type { Clock } from './clock.ts';

const TICK_MS = 50;
const SLOT_BITS = 6;
const SLOTS = 1 << SLOT_BITS;
const LEVELS = 5;
/** Ticks that the whole wheel spans: a later deadline waits in the last slot and is placed again. */
const SPAN_TICKS = 2 ** (SLOT_BITS * LEVELS) - 1;

/** One reusable alarm, owned by the thing that it wakes. */
export class Timer {
  /** Called with the timer unset; it may set itself again. */
  readonly fire: () => void;
  deadlineTick = 0;
  previous: Timer | null = null;
  next: Timer | null = null;
  /** Slot list that holds it, null while unset. */
  list: TimerList | null = null;

  constructor(fire: () => void) {
    this.fire = fire;
  }

  get isSet(): boolean {
    return this.list !== null;
  }
}

class TimerList {
  first: Timer | null = null;

  add(timer: Timer): void {
    timer.list = this;
    timer.previous = null;
    timer.next = this.first;
    if (this.first !== null) this.first.previous = timer;
    this.first = timer;
  }

  remove(timer: Timer): void {
    if (timer.previous === null) this.first = timer.next;
    else timer.previous.next = timer.next;
    if (timer.next !== null) timer.next.previous = timer.previous;
    timer.previous = null;
    timer.next = null;
    timer.list = null;
  }
}

export class TimerWheel {
  readonly #clock: Clock;
  readonly #slots: TimerList[] = Array.from({ length: LEVELS * SLOTS }, () => new TimerList());
  readonly #originMs: number;
  #tick = 0;
  #count = 0;
  #disarm: (() => void) | null = null;
  #armedTick = Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#originMs = clock.monotonicMs();
  }

  /** Sets `timer` to fire `delayMs` from now; a timer that was set before is moved. */
  set(timer: Timer, delayMs: number): void {
    this.cancel(timer);
    const now = this.#clock.monotonicMs() - this.#originMs;
    if (this.#count === 0) this.#tick = Math.floor(now / TICK_MS);
    timer.deadlineTick = Math.max(Math.ceil((now + delayMs) / TICK_MS), this.#tick + 1);
    this.#place(timer);
    this.#count++;
    this.#arm();
  }

  cancel(timer: Timer): void {
    if (timer.list === null) return;
    timer.list.remove(timer);
    this.#count--;
  }

  /** Forgets the wake-up; timers that are set never fire. */
  stop(): void {
    this.#disarm?.();
    this.#disarm = null;
    this.#armedTick = Infinity;
    this.#count = 0;
    for (const slot of this.#slots) while (slot.first !== null) slot.remove(slot.first);
  }

  #place(timer: Timer): void {
    const ahead = Math.min(timer.deadlineTick - this.#tick, SPAN_TICKS);
    let level = 0;
    while (level < LEVELS - 1 && ahead >= 2 ** (SLOT_BITS * (level + 1))) level++;
    const slot = Math.floor((this.#tick + ahead) / 2 ** (SLOT_BITS * level)) & (SLOTS - 1);
    this.#slots[level * SLOTS + slot]!.add(timer);
  }

  /** Asks the clock for a wake-up at the next slot that holds something. */
  #arm(): void {
    if (this.#count === 0) return;
    let tick = this.#tick + 1;
    const turn = (Math.floor(this.#tick / SLOTS) + 1) * SLOTS;
    while (tick < turn && this.#slots[tick & (SLOTS - 1)]!.first === null) tick++;
    if (tick >= this.#armedTick && this.#disarm !== null) return;
    this.#disarm?.();
    this.#armedTick = tick;
    const delayMs = this.#originMs + tick * TICK_MS - this.#clock.monotonicMs();
    this.#disarm = this.#clock.after(Math.max(1, Math.ceil(delayMs)), () => {
      this.#disarm = null;
      this.#armedTick = Infinity;
      this.#advance();
    });
  }

  #advance(): void {
    const now = Math.floor((this.#clock.monotonicMs() - this.#originMs) / TICK_MS);
    while (this.#tick < now && this.#count > 0) {
      this.#tick++;
      for (let level = 1; level < LEVELS && this.#tick % 2 ** (SLOT_BITS * level) === 0; level++) this.#cascade(level);
      const slot = this.#slots[this.#tick & (SLOTS - 1)]!;
      // Timers set by a firing one land in later ticks, so the slot only shrinks here.
      for (let timer = slot.first; timer !== null; timer = slot.first) {
        slot.remove(timer);
        this.#count--;
        timer.fire();
      }
    }
    this.#arm();
  }

  #cascade(level: number): void {
    const slot = this.#slots[level * SLOTS + (Math.floor(this.#tick / 2 ** (SLOT_BITS * level)) & (SLOTS - 1))]!;
    let timer = slot.first;
    slot.first = null;
    while (timer !== null) {
      const next = timer.next;
      this.#place(timer);
      timer = next;
    }
  }
}
