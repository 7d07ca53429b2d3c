// What must be known of the deliveries in one sealed value when they are finished: the size of each message, and the shared message that it
// refers to. It stays true when the value is sealed anew, since positions never change.
import type { RecordBuffer } from './records.ts';

export class Directory {
  readonly first: number;
  readonly last: number;
  readonly #positions: Float64Array;
  readonly #sizes: Int32Array;
  /** By index; null when none is a reference. */
  readonly #references: Float64Array | null;

  constructor(records: RecordBuffer) {
    const positions: number[] = [];
    const sizes: number[] = [];
    const references: number[] = [];
    let any = false;
    for (let at = 0; at < records.end; at += records.length(at)) {
      const reference = records.reference(at);
      if (reference >= 0) any = true;
      positions.push(records.number(at));
      sizes.push(records.messageBytes(at));
      references.push(reference);
    }
    this.#positions = Float64Array.from(positions);
    this.#sizes = Int32Array.from(sizes);
    this.#references = any ? Float64Array.from(references) : null;
    this.first = positions[0] ?? 0;
    this.last = positions[positions.length - 1] ?? -1;
  }

  /** Index of a position, -1 when the value did not hold it. */
  indexOf(position: number): number {
    const positions = this.#positions;
    let low = Math.min(positions.length - 1, position - this.first);
    if (low < 0) return -1;
    if (positions[low] === position) return low;
    // Positions are missing before it: it stands further to the left.
    let high = low - 1;
    low = 0;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      if (positions[middle]! < position) low = middle + 1;
      else if (positions[middle]! > position) high = middle - 1;
      else return middle;
    }
    return -1;
  }

  size(index: number): number {
    return this.#sizes[index]!;
  }

  reference(index: number): number {
    return this.#references === null ? -1 : this.#references[index]!;
  }
}
