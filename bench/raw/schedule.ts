// HOT: no allocation, closures, strings, try or async per message.
// When the messages of one publisher are due in an open loop: evenly, and evenly between those of the other publishers of its group.

export class Schedule {
  readonly #firstUs: number;
  readonly #everyUs: number;

  /** @param gapUs between two messages of the group, whose `count` publishers take turns; this one is at `position` */
  constructor(startUs: number, gapUs: number, position: number, count: number) {
    this.#firstUs = startUs + gapUs * position;
    this.#everyUs = gapUs * count;
  }

  /** Messages that are due by `now`. */
  due(now: number): number {
    return now < this.#firstUs ? 0 : Math.floor((now - this.#firstUs) / this.#everyUs) + 1;
  }

  /** When message `number`, counted from 0, is due. */
  dueAt(number: number): number {
    return this.#firstUs + number * this.#everyUs;
  }
}
