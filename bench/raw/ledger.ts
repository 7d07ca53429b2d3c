// HOT: no allocation, closures, strings, try or async per message (but for a coverage where a stream first goes wrong).
// What has come on each stream, and what each number is when it comes: the next one, one that leaves a gap, one that fills a gap, or one
// that was there before. Nothing is kept for a stream but the number that comes next, until a gap has to be remembered.
//
// Numbers come with 32 bits and are kept whole: a number is taken for the one closest to what came last.
import { Coverage } from './coverage.ts';

export const Arrival = {
  NEXT: 0,
  /** Behind it are numbers that have not come: lost, or late. */
  AHEAD: 1,
  /** It had been jumped over. */
  LATE: 2,
  DUPLICATE: 3,
} as const;
export type Arrival = (typeof Arrival)[keyof typeof Arrival];

export class Ledger {
  /** Of each stream, one more than the highest number that came. */
  #next: Float64Array;
  readonly #coverages: (Coverage | null)[];

  constructor(streams: number) {
    this.#next = new Float64Array(streams);
    this.#coverages = new Array<Coverage | null>(streams).fill(null);
  }

  /** Adds a stream, of which nothing before `first` is expected; returns its place. */
  add(first: number): number {
    const place = this.#coverages.length;
    this.#coverages.push(null);
    if (place === this.#next.length) {
      const wide = new Float64Array(Math.max(16, place * 2));
      wide.set(this.#next);
      this.#next = wide;
    }
    this.#next[place] = first;
    return place;
  }

  /** @param number its low 32 bits */
  arrive(place: number, number: number): Arrival {
    const next = this.#next[place]!;
    const ahead = (number - next) | 0;
    const coverage = this.#coverages[place]!;
    if (coverage === null) {
      if (ahead === 0) {
        this.#next[place] = next + 1;
        return Arrival.NEXT;
      }
      if (ahead < 0) return Arrival.DUPLICATE;
      this.#coverages[place] = new Coverage(next);
    }
    return this.#arriveCarefully(place, next + ahead);
  }

  /**
   * For a member of a shared subscription, which gets some of the numbers only: whether `number` comes behind a higher one. Nothing else is
   * kept of the stream.
   */
  isBehind(place: number, number: number): boolean {
    const ahead = (number - this.#next[place]!) | 0;
    if (ahead >= 0) this.#next[place] = this.#next[place]! + ahead + 1;
    return ahead < 0;
  }

  /** Numbers that have come, each counted once, from 0 or from where the stream was added. */
  distinct(place: number): number {
    return this.#coverages[place]?.count ?? this.#next[place]!;
  }

  /** Numbers that were jumped over and have not come, of all streams. */
  get gaps(): number {
    let gaps = 0;
    for (let place = 0; place < this.#coverages.length; place++) gaps += this.#next[place]! - this.distinct(place);
    return gaps;
  }

  /** As a coverage, to be put together with those of other threads. */
  coverage(place: number): Coverage {
    return this.#coverages[place] ?? new Coverage(this.#next[place]!);
  }

  #arriveCarefully(place: number, number: number): Arrival {
    const coverage = this.#coverages[place]!;
    if (number < 0 || !coverage.add(number)) return Arrival.DUPLICATE;
    const next = this.#next[place]!;
    if (number < next) return Arrival.LATE;
    this.#next[place] = number + 1;
    return number === next ? Arrival.NEXT : Arrival.AHEAD;
  }
}
