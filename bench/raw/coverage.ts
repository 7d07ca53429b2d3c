// HOT: no allocation, closures, strings, try or async per message (but for a block of bits every 32,768 numbers).
// Which numbers of a stream have come, when they do not come one after the other: everything below a floor, and bits above it.

const BLOCK_SHIFT = 15;
export const BLOCK_NUMBERS = 1 << BLOCK_SHIFT;
export const BLOCK_WORDS = BLOCK_NUMBERS >> 5;
const NO_BITS = new Uint32Array(0);

/** One bit for each number, until all of them have come. */
export class Block {
  count = 0;
  /** Empty when all of them have come. */
  bits = new Uint32Array(BLOCK_WORDS);
}

export class Coverage {
  /** Everything below it has come. */
  floor: number;
  /** Numbers that have come, those below the floor included. */
  count: number;
  /** Blocks that reach above the floor, by number / BLOCK_NUMBERS. */
  readonly blocks = new Map<number, Block>();
  /** The block that was used last. */
  #number = -1;
  #block: Block | null = null;

  constructor(floor: number) {
    this.floor = floor;
    this.count = floor;
  }

  /** Whether `number` comes for the first time. */
  add(number: number): boolean {
    if (number < this.floor) return false;
    const block = this.#at(Math.floor(number / BLOCK_NUMBERS));
    if (block.count === BLOCK_NUMBERS) return false;
    const at = number % BLOCK_NUMBERS;
    const bit = 1 << (at & 31);
    if ((block.bits[at >> 5]! & bit) !== 0) return false;
    block.bits[at >> 5]! |= bit;
    this.count++;
    if (++block.count === BLOCK_NUMBERS) block.bits = NO_BITS;
    if (number === this.floor) this.#raise();
    return true;
  }

  #at(number: number): Block {
    if (number === this.#number) return this.#block!;
    let block = this.blocks.get(number);
    if (block === undefined) {
      block = new Block();
      const below = this.floor - number * BLOCK_NUMBERS;
      for (; block.count < below; block.count++) block.bits[block.count >> 5]! |= 1 << (block.count & 31);
      this.blocks.set(number, block);
    }
    this.#number = number;
    this.#block = block;
    return block;
  }

  /** The floor's number has come: raises the floor over all that came before it, and forgets the blocks that it leaves behind. */
  #raise(): void {
    let number = Math.floor(this.floor / BLOCK_NUMBERS);
    let block = this.blocks.get(number);
    while (block !== undefined && block.count === BLOCK_NUMBERS) {
      this.blocks.delete(number);
      if (this.#number === number) this.#number = -1;
      this.floor = ++number * BLOCK_NUMBERS;
      block = this.blocks.get(number);
    }
    if (block === undefined) return;
    let at = this.floor - number * BLOCK_NUMBERS;
    while (((block.bits[at >> 5]! >>> (at & 31)) & 1) === 1) at++;
    this.floor = number * BLOCK_NUMBERS + at;
  }
}
