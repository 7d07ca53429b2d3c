// A set of whole numbers as sorted, disjoint ranges: positions that were finished out of order, packet identifiers in use. Small while
// its members stand close together, whatever their number.

export class Ranges {
  /** Pairs of first member and the number after the last one, rising. */
  #bounds: number[] = [];

  get isEmpty(): boolean {
    return this.#bounds.length === 0;
  }

  /** Pairs [from, to), as `Ranges.of` takes them. */
  get bounds(): readonly number[] {
    return this.#bounds;
  }

  /** A set from pairs that another one gave; throws when they are not sorted and disjoint. */
  static of(bounds: readonly number[]): Ranges {
    const ranges = new Ranges();
    for (let i = 1; i < bounds.length; i++) if (!(bounds[i]! > bounds[i - 1]!)) throw new Error('ranges: bounds must rise');
    if (bounds.length % 2 !== 0) throw new Error('ranges: bounds come in pairs');
    ranges.#bounds = [...bounds];
    return ranges;
  }

  has(value: number): boolean {
    return (this.#countUpTo(value) & 1) === 1;
  }

  add(value: number): void {
    this.addRange(value, value + 1);
  }

  /** Adds [from, to). */
  addRange(from: number, to: number): void {
    if (to <= from) return;
    const bounds = this.#bounds;
    // Bounds that fall inside the new range, or touch it, go; its own ends stay where they are not inside another range.
    const first = this.#countBelow(from);
    const last = this.#countUpTo(to);
    const ends: number[] = [];
    if ((first & 1) === 0) ends.push(from);
    if ((last & 1) === 0) ends.push(to);
    bounds.splice(first, last - first, ...ends);
  }

  remove(value: number): void {
    const bounds = this.#bounds;
    const at = this.#countUpTo(value);
    if ((at & 1) === 0) return;
    const from = bounds[at - 1]!;
    const to = bounds[at]!;
    const left: number[] = [];
    if (from < value) left.push(from, value);
    if (value + 1 < to) left.push(value + 1, to);
    bounds.splice(at - 1, 2, ...left);
  }

  /** Forgets every member below `value`. */
  removeBelow(value: number): void {
    const bounds = this.#bounds;
    const at = this.#countUpTo(value);
    if ((at & 1) === 1) bounds.splice(0, at, value);
    else bounds.splice(0, at);
  }

  /** Whether a member lies in [from, to). */
  intersects(from: number, to: number): boolean {
    const at = this.#countUpTo(from);
    return from < to && ((at & 1) === 1 || (at < this.#bounds.length && this.#bounds[at]! < to));
  }

  /** The first number from `value` on that is not a member. */
  firstAbsent(value: number): number {
    const at = this.#countUpTo(value);
    return (at & 1) === 1 ? this.#bounds[at]! : value;
  }

  /** The number after the largest member; 0 when empty. */
  get end(): number {
    return this.#bounds.length === 0 ? 0 : this.#bounds[this.#bounds.length - 1]!;
  }

  *[Symbol.iterator](): IterableIterator<number> {
    for (let i = 0; i < this.#bounds.length; i += 2)
      for (let value = this.#bounds[i]!; value < this.#bounds[i + 1]!; value++) yield value;
  }

  /** Bounds below `value`. */
  #countBelow(value: number): number {
    let low = 0;
    let high = this.#bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#bounds[middle]! < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Bounds at or below `value`: odd when `value` is a member. */
  #countUpTo(value: number): number {
    let low = 0;
    let high = this.#bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#bounds[middle]! <= value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
