// HOT: no allocation, closures, strings, try or async per message.
// A growable list of 32-bit integers that is filled, read and cleared again and again. It grows by doubling and never shrinks.

const CAPACITY_MIN = 64;

export class IntList {
  /** Valid in [0, count). Replaced when the list grows: read it anew after a push. */
  values = new Int32Array(CAPACITY_MIN);
  count = 0;

  push(value: number): void {
    if (this.count === this.values.length) {
      const wide = new Int32Array(this.values.length * 2);
      wide.set(this.values);
      this.values = wide;
    }
    this.values[this.count++] = value;
  }

  clear(): void {
    this.count = 0;
  }
}
