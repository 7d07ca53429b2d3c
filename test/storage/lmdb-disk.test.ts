// LMDB behind the spool's seam: an ordered map like the double's, whole steps or none, files that shrink, and faults as codes. On a small
// file system of its own, where the tests may make one, it is filled to the last page.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { type Disk, DiskError, DiskFault } from '../../storage/disk.ts';
import { DATA_FILE, LmdbDisk } from '../../storage/lmdb-disk.ts';
import { rowKey } from '../../storage/rows.ts';
import { check } from '../check.ts';
import { SeededRandom } from '../seeded-random.ts';
import { MemoryDisk } from './memory-disk.ts';

const top = mkdtempSync(join(tmpdir(), 'lethe-lmdb-'));
const mounts: string[] = [];
afterAll(() => {
  for (const mount of mounts) execFileSync('umount', ['--lazy', mount]);
  rmSync(top, { recursive: true, force: true });
});

let folders = 0;

function newFolder(): string {
  const folder = join(top, `disk-${++folders}`);
  mkdirSync(folder);
  return folder;
}

function faultOf(act: () => unknown): DiskError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(DiskError);
    return error as DiskError;
  }
  throw new Error('nothing failed');
}

function contentOf(disk: Disk): Map<string, string> {
  const content = new Map<string, string>();
  disk.range(Buffer.of(0), Buffer.of(0xff), (key, value) => {
    content.set(Buffer.from(key).toString('hex'), Buffer.from(value).toString('hex'));
    return true;
  });
  return content;
}

test('does what an ordered map does, over steps, restarts and compactions', () => {
  const key = fc
    .tuple(fc.constantFrom(3, 4, 9), fc.nat(3), fc.nat(5))
    .map(([kind, session, number]) => rowKey(kind as 3, session, number));
  const value = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.nat(9_000).map((size) => new Uint8Array(size).fill(size)),
  );
  const change = fc.tuple(key, fc.option(value, { nil: null }));
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.array(change, { maxLength: 8 }) },
    { weight: 1, arbitrary: fc.constantFrom('reopen' as const, 'compact' as const, 'failing step' as const) },
  );
  check(
    fc.property(fc.array(step, { maxLength: 20 }), key, key, (steps, one, other) => {
      const folder = newFolder();
      let disk = new LmdbDisk(folder);
      const model = new MemoryDisk(new SeededRandom(1));
      for (const changes of steps) {
        if (changes === 'reopen') {
          disk.close();
          disk = new LmdbDisk(folder);
        } else if (changes === 'compact') {
          disk.compact();
        } else if (changes === 'failing step') {
          const act = () =>
            disk.transact((writer) => {
              writer.put(one, Buffer.from('half of it'));
              throw new Error('in the middle');
            });
          expect(act).toThrow();
        } else {
          for (const target of [disk, model]) {
            target.transact((writer) => {
              for (const [at, content] of changes) {
                if (content === null) writer.remove(at);
                else writer.put(at, content);
              }
            });
          }
        }
        expect(contentOf(disk)).toEqual(contentOf(model));
        const [from, to] = Buffer.compare(one, other) <= 0 ? [one, other] : [other, one];
        for (const target of [one, other]) expect(copyOf(disk.get(target))).toEqual(copyOf(model.get(target)));
        const last = [disk, model].map((target) => {
          const entry = target.last(from, to);
          return entry === null ? null : [copyOf(entry.key), copyOf(entry.value)];
        });
        expect(last[0]).toEqual(last[1]);
        const first = [disk, model].map((target) => {
          const found: string[] = [];
          target.range(from, to, (at) => found.push(Buffer.from(at).toString('hex')) < 3);
          return found;
        });
        expect(first[0]).toEqual(first[1]);
      }
      disk.close();
      rmSync(folder, { recursive: true });
    }),
    60,
  );
});

function copyOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString('hex');
}

test('a walk may look at other rows on its way', () => {
  const disk = new LmdbDisk(newFolder());
  disk.transact((writer) => {
    for (let number = 0; number < 50; number++) writer.put(rowKey(3, 1, number), Buffer.alloc(1_000, number));
  });
  let seen = 0;
  disk.range(rowKey(3, 1, 0), rowKey(3, 2, 0), (_key, value) => {
    const content = Buffer.from(value);
    expect(disk.get(rowKey(3, 1, 49 - seen))?.[0]).toBe(49 - seen);
    expect(disk.last(rowKey(3, 1, 0), rowKey(3, 1, seen + 1))?.value[0]).toBe(seen);
    expect(content.equals(Buffer.alloc(1_000, seen))).toBe(true);
    seen++;
    return true;
  });
  expect(seen).toBe(50);
  disk.close();
});

test('a compaction gives space back, holds everything, and leaves no second file', () => {
  const folder = newFolder();
  const disk = new LmdbDisk(folder);
  const keys = Array.from({ length: 400 }, (_, number) => rowKey(3, 1, number));
  disk.transact((writer) => {
    for (const key of keys) writer.put(key, Buffer.alloc(16_000, 7));
  });
  disk.transact((writer) => {
    for (const key of keys.slice(3)) writer.remove(key);
  });
  const before = disk.usage();
  expect(before.fileBytes).toBeGreaterThan(400 * 16_000);
  expect(before.freeBytes).toBeGreaterThan(390 * 16_000);
  disk.compact();
  expect(disk.usage().fileBytes).toBeLessThan(200_000);
  expect(contentOf(disk).size).toBe(3);
  disk.transact((writer) => writer.put(keys[9]!, Buffer.from('it goes on')));
  expect(Buffer.from(disk.get(keys[9]!)!).toString()).toBe('it goes on');
  expect(readdirSync(folder).filter((name) => name.includes('new'))).toEqual([]);
  for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  disk.close();
});

describe('a file that is none of LMDB is an error, and not the end of the process', () => {
  test.each([
    ['text', Buffer.alloc(16_384, 'something else')],
    ['zeros', Buffer.alloc(16_384)],
    ['one byte', Buffer.of(1)],
    ['half a page', Buffer.alloc(2_048, 1)],
  ])('%s', (_name, bytes) => {
    const folder = newFolder();
    writeFileSync(join(folder, DATA_FILE), bytes);
    expect(faultOf(() => new LmdbDisk(folder)).fault).toBe(DiskFault.BROKEN);
  });

  test('one whose first pages were cut off, or whose second one is damaged', () => {
    const folder = newFolder();
    const disk = new LmdbDisk(folder);
    disk.transact((writer) => writer.put(rowKey(3, 1, 1), Buffer.alloc(100)));
    disk.close();
    const path = join(folder, DATA_FILE);
    const whole = Buffer.from(execFileSync('cat', [path]));
    for (const damaged of [whole.subarray(4_096), whole.subarray(0, 4_096), whole.subarray(0, 5_000)]) {
      writeFileSync(path, damaged);
      expect(faultOf(() => new LmdbDisk(folder)).message).toMatch(/it is no data file of Lethe, or its header is damaged/);
    }
    writeFileSync(path, whole);
    new LmdbDisk(folder).close();
  });
});

const MOUNT_BYTES = 8 * 1_048_576;

/** A file system of its own, where the tests may make one; null elsewhere. */
function smallFileSystem(): string | null {
  const folder = newFolder();
  const done = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${MOUNT_BYTES}`, 'tmpfs', folder]).status === 0;
  if (done) mounts.push(folder);
  return done ? folder : null;
}

describe('a file system without room', () => {
  const folder = smallFileSystem();

  test.skipIf(folder === null)('a step that does not fit is FULL and changes nothing; what is removed makes room again', () => {
    let disk = new LmdbDisk(folder!);
    const held = new Map<number, number>();
    const key = (number: number) => rowKey(3, 1, number);
    const put = (number: number, size: number) => {
      disk.transact((writer) => writer.put(key(number), Buffer.alloc(size, number & 0xff)));
      held.set(number, size);
    };
    /** Puts until nothing fits for a while; returns how many did. */
    const fill = (size: number) => {
      let put_ = 0;
      for (let failures = 0, number = Math.max(-1, ...held.keys()) + 1; failures < 50; ) {
        try {
          put(number, size);
          number++;
          put_++;
        } catch (error) {
          expect((error as DiskError).fault).toBe(DiskFault.FULL);
          failures++;
        }
      }
      return put_;
    };
    const expectHeld = () => {
      const content = contentOf(disk);
      expect(content.size).toBe(held.size);
      for (const [number, size] of held) {
        expect(content.get(key(number).toString('hex'))).toBe(Buffer.alloc(size, number & 0xff).toString('hex'));
      }
    };
    expect(fill(200_000)).toBeGreaterThan(5);
    expectHeld();
    expect(fill(16_000)).toBeGreaterThan(10); // what is kept back for small steps
    expect(disk.availableBytes()).toBeLessThan(MOUNT_BYTES / 4);
    expectHeld();
    // No second file fits either: a compaction says so, and the first one is as it was.
    expect(faultOf(() => disk.compact()).fault).toBe(DiskFault.FULL);
    expectHeld();
    disk.close();
    disk = new LmdbDisk(folder!);
    expectHeld();
    // A full disk takes removals, again and again, and then has room.
    for (let round = 0; round < 5; round++) {
      const numbers = [...held.keys()].slice(0, Math.ceil(held.size / 2));
      for (const number of numbers) {
        disk.transact((writer) => writer.remove(key(number)));
        held.delete(number);
      }
      expectHeld();
      expect(fill(16_000)).toBeGreaterThan(0);
      expectHeld();
    }
    disk.close();
    disk = new LmdbDisk(folder!);
    expectHeld();
    disk.close();
  });
});
