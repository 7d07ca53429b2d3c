// The look at a data file before lmdb has it: every file that lmdb wrote is right, at any time and whatever happened to its pages, and no damage is more than an error.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { checkDataFile } from '../../storage/data-file.ts';
import { DiskError } from '../../storage/disk.ts';
import { DATA_FILE, LmdbDisk } from '../../storage/lmdb-disk.ts';
import { check } from '../check.ts';
import { SeededRandom } from '../seeded-random.ts';

const top = mkdtempSync(join(tmpdir(), 'lethe-data-file-'));
afterAll(() => rmSync(top, { recursive: true, force: true }));

const PAGE_BYTES = 4_096;
/** Values inside a leaf, around its bound, on one page of their own and on many. */
const SIZES = [0, 1, 40, 900, 1_900, 2_020, 2_040, 4_050, 4_072, 4_073, 16_384, 100_000];

/** Makes keys come and go in `disk`, and calls `look` after each step. */
function live(disk: LmdbDisk, random: SeededRandom, steps: number, look: (step: number) => void): void {
  const keys: Buffer[] = [];
  for (let step = 0; step < steps; step++) {
    // It grows, and then shrinks to nothing, again and again.
    const grows = step % 100 < 60;
    disk.transact((writer) => {
      for (let changes = 1 + random.below(40); changes > 0; changes--) {
        if (grows && random.below(4) > 0) {
          const key = Buffer.from(random.bytes(4 + random.below(30)));
          keys.push(key);
          writer.put(key, random.bytes(SIZES[random.below(SIZES.length)]!));
        } else if (keys.length > 0) {
          writer.remove(keys.splice(random.below(keys.length), 1)[0]!);
        }
      }
      if (step % 100 === 99) for (const key of keys.splice(0)) writer.remove(key);
    });
    look(step);
  }
}

describe('what lmdb has written', () => {
  test.each([1, 2])('is right after each of 200 steps, after a compaction and when opened anew (seed %i)', (seed) => {
    const folder = mkdtempSync(join(top, 'good-'));
    const path = join(folder, DATA_FILE);
    checkDataFile(path);
    const random = new SeededRandom(seed);
    let disk = new LmdbDisk(folder);
    checkDataFile(path);
    live(disk, random, 200, () => checkDataFile(path));
    disk.compact();
    checkDataFile(path);
    disk.close();
    disk = new LmdbDisk(folder);
    live(disk, random, 30, () => checkDataFile(path));
    disk.close();
    checkDataFile(path);
  });
});

describe('damage', () => {
  const folder = mkdtempSync(join(top, 'damaged-'));
  const path = join(folder, DATA_FILE);
  const disk = new LmdbDisk(folder);
  live(disk, new SeededRandom(4), 50, () => {});
  disk.close();
  const good = readFileSync(path);

  const write = (at: number, bytes: Uint8Array) => {
    const descriptor = openSync(path, 'r+');
    writeSync(descriptor, bytes, 0, bytes.length, at);
    closeSync(descriptor);
  };
  /** What is said of a file of these bytes; null: of the file as it is. */
  const outcome = (bytes: Uint8Array | null): string | null => {
    if (bytes !== null) writeFileSync(path, bytes);
    try {
      checkDataFile(path);
      return null;
    } catch (error) {
      if (error instanceof DiskError) return error.message;
      throw error;
    }
  };

  test('undamaged it is right', () => expect(outcome(good)).toBeNull());

  test('a file that is cut short is found, down to one page; an empty one will be made', () => {
    for (const share of [0.9, 0.5, 0.1])
      expect(outcome(good.subarray(0, Math.floor(good.length * share)))).toMatch(/cut short or damaged/);
    for (const bytes of [2 * PAGE_BYTES, 3 * PAGE_BYTES])
      expect(outcome(good.subarray(0, bytes))).toMatch(/cut short or damaged/);
    for (const bytes of [1, 100, PAGE_BYTES]) expect(outcome(good.subarray(0, bytes))).toMatch(/no data file/);
    expect(outcome(good.subarray(0, 0))).toBeNull();
  });

  test('whatever is written over any of its pages is an error or of no account, and never more [fuzz]', () => {
    writeFileSync(path, good);
    return check(
      fc.property(
        fc.nat(good.length / PAGE_BYTES - 1),
        fc.nat(PAGE_BYTES - 1),
        fc.uint8Array({ minLength: 1, maxLength: 64 }),
        (page, at, noise) => {
          const place = page * PAGE_BYTES + at;
          const fitting = noise.subarray(0, good.length - place);
          write(place, fitting);
          outcome(null);
          write(place, good.subarray(place, place + fitting.length));
        },
      ),
      1_000,
    );
  });

  test('a root, an end or a child that points back, beyond the file or at itself is found', () => {
    const newest = good.readBigUInt64LE(152) < good.readBigUInt64LE(PAGE_BYTES + 152) ? PAGE_BYTES : 0;
    for (const root of [0n, 1n, 1n << 40n, BigInt(good.length / PAGE_BYTES)]) {
      const bytes = Buffer.from(good);
      bytes.writeBigUInt64LE(root, newest + 136);
      expect(outcome(bytes), `root ${root}`).toMatch(/cut short or damaged/);
    }
    const root = Number(good.readBigUInt64LE(newest + 136));
    expect(good.readUInt16LE(root * PAGE_BYTES + 18), 'the root is a branch').toBe(1);
    const node = root * PAGE_BYTES + 24 + good.readUInt16LE(root * PAGE_BYTES + 24);
    for (const child of [root, 0, 2 ** 40]) {
      const bytes = Buffer.from(good);
      bytes.writeUIntLE(child, node, 6);
      expect(outcome(bytes), `child ${child}`).toMatch(/cut short or damaged/);
    }
  });
});
