// The subscription trie against a naive matcher, through random histories, to the end of its reserve and of its depth.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MatchList, SubscriptionTrie } from '../../engine/topics/trie.ts';
import { fault, Reason } from '../../protocol/packet.ts';
import { naiveMatch, randomFilter, randomTopic, seeded, topicFilters, topicNames } from './naive.ts';

const QUOTA = fault(Reason.QUOTA_EXCEEDED);

function smallTrie(nodesMax = 8_192, subscriptionsMax = 8_192): SubscriptionTrie {
  return new SubscriptionTrie({ nodesMax, subscriptionsMax, seed: 7 });
}

function subscribe(trie: SubscriptionTrie, filter: string, subscriber: number, options = 0, identifier = 0): number {
  const bytes = Buffer.from(filter);
  return trie.subscribe(bytes, 0, bytes.length, subscriber, options, identifier);
}

function unsubscribe(trie: SubscriptionTrie, filter: string, subscriber: number): number {
  const bytes = Buffer.from(filter);
  return trie.unsubscribe(bytes, 0, bytes.length, subscriber);
}

const list = new MatchList();

/** Subscribers that match, one for each filter, in ascending order. */
function match(trie: SubscriptionTrie, topic: string): number[] {
  const bytes = Buffer.from(`??${topic}?`);
  const found = trie.match(bytes, 2, bytes.length - 1, list);
  expect(found).toBe(list.count + list.groupCount);
  return Array.from(list.subscriber.subarray(0, list.count)).sort((a, b) => a - b);
}

function expectEmpty(trie: SubscriptionTrie): void {
  expect([trie.nodes, trie.subscriptions, trie.levelBytes]).toEqual([0, 0, 0]);
}

describe('matching', () => {
  it('matches as the naive matcher does', () => {
    fc.assert(
      fc.property(fc.uniqueArray(topicFilters, { maxLength: 24 }), fc.array(topicNames, { maxLength: 24 }), (filters, topics) => {
        const trie = smallTrie(1_024, 64);
        for (const [at, filter] of filters.entries()) expect(subscribe(trie, filter, at)).toBe(1);
        for (const topic of topics) {
          expect(match(trie, topic)).toEqual([...filters.keys()].filter((at) => naiveMatch(filters[at]!, topic)));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('matches as the naive matcher does in two million comparisons', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = seeded(seed);
        const filters = [...new Set(Array.from({ length: 320 }, () => randomFilter(random)))];
        const trie = smallTrie();
        for (const [at, filter] of filters.entries()) subscribe(trie, filter, at);
        for (let i = 0; i < 320; i++) {
          const topic = randomTopic(random);
          const expected: number[] = [];
          for (let at = 0; at < filters.length; at++) if (naiveMatch(filters[at]!, topic)) expected.push(at);
          const found = match(trie, topic);
          if (found.join() !== expected.join()) expect({ topic, found }).toEqual({ topic, found: expected });
        }
      }),
      { numRuns: 24 },
    );
  });

  it('[MQTT-4.7.2-1] keeps $ topics from filters that begin with a wildcard', () => {
    const trie = smallTrie();
    for (const [at, filter] of ['#', '+/x', '+/#', '$SYS/#', '$SYS/+', 'a/#', 'a/+'].entries()) subscribe(trie, filter, at);
    expect(match(trie, '$SYS/x')).toEqual([3, 4]);
    expect(match(trie, '$SYS')).toEqual([3]);
    expect(match(trie, 'a/$x')).toEqual([0, 2, 5, 6]);
  });

  it('[MQTT-4.7.3-4] compares bytes and normalises nothing', () => {
    const trie = smallTrie();
    for (const [at, filter] of ['a', 'A', '/a', 'a/', 'a//b', 'a/b', '\u00e9', 'e\u0301'].entries()) subscribe(trie, filter, at);
    expect(['a', 'A', '/a', 'a/', 'a//b', 'a/b', '\u00e9', 'e\u0301'].map((topic) => match(trie, topic))).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7].map((at) => [at]),
    );
  });

  it('gives options and identifier of each overlapping subscription', () => {
    const trie = smallTrie();
    subscribe(trie, 'a/+', 5, 0x1234, 268_435_455);
    subscribe(trie, 'a/#', 5, 2, 1);
    match(trie, 'a/b');
    const rows = [0, 1].map((row) => [list.subscriber[row], list.options[row], list.subscriptionId[row]].join());
    expect(rows.sort()).toEqual(['5,2,1', '5,4660,268435455']);
  });

  it('replaces options and identifier, and tells', () => {
    const trie = smallTrie();
    expect(subscribe(trie, 'a', 1, 1, 10)).toBe(1);
    expect(subscribe(trie, 'a', 1, 2, 20)).toBe(0);
    expect(match(trie, 'a')).toEqual([1]);
    expect([list.options[0], list.subscriptionId[0], trie.subscriptions]).toEqual([2, 20, 1]);
  });

  it('has a new generation after every change and after no failure', () => {
    const trie = smallTrie();
    const seen = [trie.generation];
    subscribe(trie, 'a', 1);
    seen.push(trie.generation);
    subscribe(trie, 'a', 1, 2);
    seen.push(trie.generation);
    unsubscribe(trie, 'a', 1);
    seen.push(trie.generation);
    trie.bump();
    seen.push(trie.generation);
    expect(new Set(seen).size).toBe(5);
    unsubscribe(trie, 'a', 1);
    expect(trie.generation).toBe(seen[4]);
  });
});

describe('histories', () => {
  it('counts exactly and comes back to nothing', () => {
    const step = fc.record({ on: fc.boolean(), filter: topicFilters, subscriber: fc.integer({ min: 0, max: 5 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.array(topicNames, { maxLength: 8 }), (steps, topics) => {
        const trie = smallTrie(1_024, 256);
        const model = new Map<string, [filter: string, subscriber: number]>();
        for (const { on, filter, subscriber } of steps) {
          const key = `${subscriber} ${filter}`;
          if (on) expect(subscribe(trie, filter, subscriber)).toBe(model.has(key) ? 0 : 1);
          else expect(unsubscribe(trie, filter, subscriber)).toBe(model.has(key) ? 1 : 0);
          if (on) model.set(key, [filter, subscriber]);
          else model.delete(key);
          expect(trie.subscriptions).toBe(model.size);
        }
        const prefixes = new Set<string>();
        for (const [filter] of model.values()) {
          const parts = filter.split('/');
          for (let depth = 1; depth <= parts.length; depth++) prefixes.add(JSON.stringify(parts.slice(0, depth)));
        }
        expect(trie.nodes).toBe(prefixes.size);
        for (const topic of topics) {
          const expected = [...model.values()]
            .filter(([filter]) => naiveMatch(filter, topic))
            .map(([, subscriber]) => subscriber);
          expect(match(trie, topic)).toEqual(expected.sort((a, b) => a - b));
        }
        for (const [filter, subscriber] of model.values()) expect(unsubscribe(trie, filter, subscriber)).toBe(1);
        expectEmpty(trie);
      }),
      { numRuns: 150 },
    );
  });

  it('lets 100,000 subscribers of one filter come and go in constant time each', () => {
    const trie = smallTrie(1_024, 100_000);
    for (let subscriber = 0; subscriber < 100_000; subscriber++) subscribe(trie, 'one/filter', subscriber);
    expect(match(trie, 'one/filter')).toHaveLength(100_000);
    for (let i = 0; i < 100_000; i++) unsubscribe(trie, 'one/filter', (i * 7_919) % 100_000);
    expectEmpty(trie);
  });
});

describe('the reserve', () => {
  it('refuses a subscription that finds no node and leaves nothing of it', () => {
    const trie = smallTrie(4, 16);
    expect(subscribe(trie, 'a/b', 1)).toBe(1);
    expect(subscribe(trie, 'a/c/d/e', 1)).toBe(QUOTA);
    expect([trie.nodes, trie.levelBytes, trie.subscriptions]).toEqual([2, 2, 1]);
    expect(subscribe(trie, 'a/c/d', 1)).toBe(1);
    expect(subscribe(trie, 'a/b', 2)).toBe(1);
    expect(match(trie, 'a/c/d')).toEqual([1]);
    unsubscribe(trie, 'a/b', 1);
    unsubscribe(trie, 'a/b', 2);
    unsubscribe(trie, 'a/c/d', 1);
    expectEmpty(trie);
  });

  it('refuses a subscription that finds no entry and leaves nothing of it', () => {
    const trie = smallTrie(64, 2);
    expect([subscribe(trie, 'a', 1), subscribe(trie, 'a', 2), subscribe(trie, 'b/c', 1), subscribe(trie, 'a', 3)]).toEqual([
      1,
      1,
      QUOTA,
      QUOTA,
    ]);
    expect([trie.nodes, trie.subscriptions]).toEqual([1, 2]);
    expect(subscribe(trie, 'a', 2, 1)).toBe(0);
    const shared = Buffer.from('b');
    expect(trie.subscribeShared(shared, 0, 1, shared, 0, 1, 1, 0, 0)).toBe(QUOTA);
    expect([trie.nodes, trie.subscriptions]).toEqual([1, 2]);
  });

  it('refuses levels beyond its bytes, and has them all again afterwards', () => {
    const trie = new SubscriptionTrie({ nodesMax: 1_024, subscriptionsMax: 1_024, levelBytesMax: 4_096 });
    const fill = (bytes: number): number => {
      for (let made = 0; ; made++) if (subscribe(trie, String(made).padStart(bytes, 'x'), 1) !== 1) return made;
    };
    const empty = (bytes: number, made: number): void => {
      for (let at = 0; at < made; at++) unsubscribe(trie, String(at).padStart(bytes, 'x'), 1);
      expectEmpty(trie);
    };
    expect(fill(1_000)).toBe(4);
    empty(1_000, 4);
    expect(fill(60)).toBe(64); // the large cells are split
    empty(60, 64);
    expect(fill(60)).toBe(64);
    empty(60, 64);
    expect(subscribe(trie, 'x'.repeat(1_000), 1)).toBe(QUOTA);
    expect(fill(16)).toBe(1_024); // short ones take no cell
    empty(16, 1_024);
  });

  it('keeps a level of 65,535 bytes', () => {
    const trie = smallTrie();
    const level = 'é'.repeat(32_767);
    expect(subscribe(trie, `${level}x`, 1)).toBe(1);
    expect(match(trie, `${level}x`)).toEqual([1]);
    expect(match(trie, `${level}y`)).toEqual([]);
    unsubscribe(trie, `${level}x`, 1);
    expectEmpty(trie);
  });
});

describe('depth', () => {
  it('holds filters of 1,024 levels and refuses deeper ones', () => {
    const trie = smallTrie();
    const deepest = '/'.repeat(1_023);
    expect(subscribe(trie, deepest, 1)).toBe(1);
    expect(subscribe(trie, `${'+/'.repeat(1_023)}+`, 2)).toBe(1);
    expect(subscribe(trie, `${'+/'.repeat(1_023)}#`, 3)).toBe(1);
    expect(subscribe(trie, '#', 4)).toBe(1);
    expect(match(trie, deepest)).toEqual([1, 2, 3, 4]);
    expect(match(trie, `${deepest}/`)).toEqual([3, 4]);
    expect(subscribe(trie, `${deepest}/`, 1)).toBe(fault(Reason.TOPIC_FILTER_INVALID));
    expect(unsubscribe(trie, `${deepest}/`, 1)).toBe(0);
    expect(match(trie, '/'.repeat(65_535))).toEqual([3, 4]);
    for (const [subscriber, filter] of [deepest, `${'+/'.repeat(1_023)}+`, `${'+/'.repeat(1_023)}#`, '#'].entries()) {
      expect(unsubscribe(trie, filter, subscriber + 1)).toBe(1);
    }
    expectEmpty(trie);
  });

  it('opens a branch at every level without growing', () => {
    const trie = smallTrie(32_768);
    const deepest = Array<string>(1_024).fill('a');
    for (let depth = 0; depth < 1_024; depth++) {
      expect(subscribe(trie, [...deepest.slice(0, depth), '+'].join('/'), depth)).toBe(1);
    }
    for (let depth = 0; depth < 1_024; depth += 64) {
      expect(subscribe(trie, deepest.with(depth, '+').join('/'), depth)).toBe(1);
    }
    expect(subscribe(trie, deepest.join('/'), 1_024)).toBe(1);
    expect(match(trie, deepest.join('/'))).toHaveLength(18);
  });
});
