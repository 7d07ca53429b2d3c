// The node table by itself: against a map, with hashes that collide on purpose, and at the bounds of its region.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  Levels,
  type LevelsCapacity,
  levelsBytes,
  NodeKind,
  OWNER,
  REFERENCES,
  ROOT,
  ROW_SHIFT,
} from '../../engine/topics/levels.ts';
import { hashLevel, LEVELS_MAX, LevelScan } from '../../engine/topics/scan.ts';
import { SubscriptionTrie } from '../../engine/topics/trie.ts';
import { limitRanges } from '../../protocol/limits.ts';
import { topicFilters } from './naive.ts';

function table(nodesMax: number, levelBytesMax: number): Levels {
  const capacity: LevelsCapacity = { nodesMax, levelBytesMax, participantsMax: 1 };
  return new Levels(new SharedArrayBuffer(64 + levelsBytes(capacity)), 64, capacity, 0);
}

function references(levels: Levels, node: number): number {
  return levels.rows[(node << ROW_SHIFT) + REFERENCES]!;
}

describe('node table', () => {
  it('does what a map does, though every hash collides', () => {
    const level = fc.oneof(
      fc.string({ maxLength: 3 }),
      fc.integer({ min: 10, max: 80 }).map((length) => 'x'.repeat(length)),
    );
    const step = fc.record({ on: fc.boolean(), kind: fc.constantFrom(NodeKind.LEVEL, NodeKind.GROUP), level });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const levels = table(64, 4_096);
        const model = new Map<string, number>();
        let bytesHeld = 0;
        for (const { on, kind, level } of steps) {
          const key = `${kind} ${level}`;
          const bytes = Buffer.from(level);
          const known = model.get(key) ?? 0;
          expect(levels.find(ROOT, kind, 1, bytes, 0, bytes.length)).toBe(known);
          if (on && known === 0) {
            levels.acquire(ROOT);
            const node = levels.add(ROOT, kind, 1, bytes, 0, bytes.length);
            if (node === 0) {
              levels.release(ROOT);
              continue;
            }
            expect(references(levels, node)).toBe(1);
            expect([levels.kind(node), levels.firstByte(node)]).toEqual([kind, bytes[0] ?? -1]);
            expect([...model.values()]).not.toContain(node);
            expect(levels.rows[(node << ROW_SHIFT) + OWNER]).toBe(0);
            levels.rows[(node << ROW_SHIFT) + OWNER] = 1;
            model.set(key, node);
            bytesHeld += bytes.length;
          } else if (!on && known !== 0) {
            expect(levels.acquire(known)).toBe(true);
            expect([levels.release(known), levels.release(known), levels.acquire(known)]).toEqual([false, true, false]);
            expect([levels.remove(known), levels.release(ROOT)]).toEqual([ROOT, false]);
            levels.retire(known);
            model.delete(key);
            bytesHeld -= bytes.length;
          }
          expect([levels.nodes, levels.levelBytes, references(levels, ROOT)]).toEqual([model.size, bytesHeld, model.size]);
        }
      }),
    );
  });

  it('can be reserved at the upper bounds of the limits without touching it', () => {
    const before = process.memoryUsage.rss();
    const trie = new SubscriptionTrie({
      nodesMax: limitRanges.trieNodesMax[1],
      subscriptionsMax: limitRanges.trieSubscriptionsMax[1],
    });
    const filter = Buffer.from('a/level that is longer than a row has room for/+/#');
    const entry = trie.subscribe(filter, 0, filter.length, 1, 0, 0);
    expect(entry).toBeGreaterThan(0);
    trie.unsubscribe(entry);
    expect(trie.nodes).toBe(0);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1_048_576);
  });
});

describe('level scan', () => {
  it('finds the levels that splitting finds, with their hashes', () => {
    const scan = new LevelScan();
    fc.assert(
      fc.property(topicFilters, fc.integer(), (filter, seed) => {
        const bytes = Buffer.from(`/${filter}/`);
        expect(scan.read(bytes, 1, bytes.length - 1, seed)).toBe(true);
        const found = Array.from({ length: scan.count }, (_, at) => bytes.toString('utf8', scan.from[at], scan.to[at]));
        expect(found).toEqual(filter.split('/'));
        for (let at = 0; at < scan.count; at++) {
          expect(scan.hash[at]).toBe(hashLevel(bytes, scan.from[at]!, scan.to[at]!, seed) | 0);
        }
      }),
    );
  });

  it('stops at the greatest depth', () => {
    const scan = new LevelScan();
    const slashes = Buffer.alloc(LEVELS_MAX, '/');
    expect([scan.read(slashes, 0, LEVELS_MAX - 1, 0), scan.count, scan.deeper]).toEqual([true, LEVELS_MAX, false]);
    expect([scan.read(slashes, 0, LEVELS_MAX, 0), scan.count, scan.deeper]).toEqual([false, LEVELS_MAX, true]);
  });
});
