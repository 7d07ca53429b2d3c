// Coverages of one shared subscription from several threads, put together: how many numbers came at all, and how many came twice.
import { BLOCK_NUMBERS, BLOCK_WORDS, type Coverage } from './coverage.ts';

/** A coverage as it is sent to another thread. */
export interface CoverageParts {
  readonly floor: number;
  readonly count: number;
  /** Bits by block, empty where all numbers have come. */
  readonly blocks: ReadonlyMap<number, Uint32Array>;
}

export function partsOf({ floor, count, blocks }: Coverage): CoverageParts {
  return { floor, count, blocks: new Map([...blocks].map(([number, { bits }]) => [number, bits])) };
}

export interface Union {
  readonly distinct: number;
  /** How many more came than are distinct. */
  readonly twice: number;
}

export function unite(parts: readonly CoverageParts[]): Union {
  if (parts.length === 1) return { distinct: parts[0]!.count, twice: 0 };
  const blocks = new Set(parts.flatMap((part) => [...part.blocks.keys()]));
  for (const { floor } of parts) for (let block = 0; block * BLOCK_NUMBERS < floor; block++) blocks.add(block);
  let distinct = 0;
  const united = new Uint32Array(BLOCK_WORDS);
  for (const block of blocks) {
    united.fill(0);
    for (const part of parts) addBlock(part, block, united);
    for (const word of united) distinct += bitsOf(word);
  }
  return { distinct, twice: parts.reduce((sum, { count }) => sum + count, 0) - distinct };
}

function addBlock(part: CoverageParts, block: number, united: Uint32Array): void {
  const below = part.floor - block * BLOCK_NUMBERS;
  const bits = part.blocks.get(block);
  if (below >= BLOCK_NUMBERS || bits?.length === 0) {
    united.fill(0xffff_ffff);
    return;
  }
  // A block holds what is below the floor too, when it is there at all.
  if (bits !== undefined) for (let word = 0; word < BLOCK_WORDS; word++) united[word]! |= bits[word]!;
  else for (let at = 0; at < below; at++) united[at >> 5]! |= 1 << (at & 31);
}

function bitsOf(word: number): number {
  let rest = word - ((word >>> 1) & 0x5555_5555);
  rest = (rest & 0x3333_3333) + ((rest >>> 2) & 0x3333_3333);
  return Math.imul((rest + (rest >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
