// The subscription trie against a naive matcher, through random histories, to the end of its reserve and of its depth.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SubscriptionTrie } from '../../engine/topics/trie.ts';
import { fault, Reason } from '../../protocol/packet.ts';
import { Clients } from './clients.ts';
import { naiveMatch, randomFilter, randomTopic, seeded, topicFilters, topicNames } from './naive.ts';

const QUOTA = fault(Reason.QUOTA_EXCEEDED);

describe.each([1, 2])('a trie of %i participants', (participantsMax) => {
  function smallTrie(nodesMax = 8_192, subscriptionsMax = 8_192): Clients {
    return new Clients(new SubscriptionTrie({ nodesMax, subscriptionsMax, seed: 7, participantsMax }));
  }

  function expectEmpty({ trie }: Clients): void {
    expect([trie.nodes, trie.subscriptions, trie.levelBytes]).toEqual([0, 0, 0]);
  }

  describe('matching', () => {
    it('matches as the naive matcher does', () => {
      fc.assert(
        fc.property(
          fc.uniqueArray(topicFilters, { maxLength: 24 }),
          fc.array(topicNames, { maxLength: 24 }),
          (filters, topics) => {
            const clients = smallTrie(1_024, 64);
            for (const [at, filter] of filters.entries()) expect(clients.subscribe(filter, at)).toBe(1);
            for (const topic of topics) {
              expect(clients.match(topic)).toEqual([...filters.keys()].filter((at) => naiveMatch(filters[at]!, topic)));
            }
          },
        ),
        { numRuns: 300 },
      );
    });

    it('matches as the naive matcher does in two million comparisons', () => {
      fc.assert(
        fc.property(fc.integer(), (seed) => {
          const random = seeded(seed);
          const filters = [...new Set(Array.from({ length: 320 }, () => randomFilter(random)))];
          const clients = smallTrie();
          for (const [at, filter] of filters.entries()) clients.subscribe(filter, at);
          for (let i = 0; i < 320; i++) {
            const topic = randomTopic(random);
            const expected: number[] = [];
            for (let at = 0; at < filters.length; at++) if (naiveMatch(filters[at]!, topic)) expected.push(at);
            const found = clients.match(topic);
            if (found.join() !== expected.join()) expect({ topic, found }).toEqual({ topic, found: expected });
          }
        }),
        { numRuns: 24 },
      );
    });

    it('[MQTT-4.7.2-1] keeps $ topics from filters that begin with a wildcard', () => {
      const clients = smallTrie();
      for (const [at, filter] of ['#', '+/x', '+/#', '$SYS/#', '$SYS/+', 'a/#', 'a/+'].entries()) clients.subscribe(filter, at);
      expect(clients.match('$SYS/x')).toEqual([3, 4]);
      expect(clients.match('$SYS')).toEqual([3]);
      expect(clients.match('a/$x')).toEqual([0, 2, 5, 6]);
    });

    it('[MQTT-4.7.3-4] compares bytes and normalises nothing', () => {
      const clients = smallTrie();
      for (const [at, filter] of ['a', 'A', '/a', 'a/', 'a//b', 'a/b', '\u00e9', 'e\u0301'].entries())
        clients.subscribe(filter, at);
      expect(['a', 'A', '/a', 'a/', 'a//b', 'a/b', '\u00e9', 'e\u0301'].map((topic) => clients.match(topic))).toEqual(
        [0, 1, 2, 3, 4, 5, 6, 7].map((at) => [at]),
      );
    });

    it('gives options and identifier of each overlapping subscription', () => {
      const clients = smallTrie();
      clients.subscribe('a/+', 5, 0x1234, 268_435_455);
      clients.subscribe('a/#', 5, 2, 1);
      clients.match('a/b');
      const rows = [0, 1].map((row) =>
        [clients.list.subscriber[row], clients.list.options[row], clients.list.subscriptionId[row]].join(),
      );
      expect(rows.sort()).toEqual(['5,2,1', '5,4660,268435455']);
    });

    it('replaces options and identifier, and tells', () => {
      const clients = smallTrie();
      expect(clients.subscribe('a', 1, 1, 10)).toBe(1);
      expect(clients.subscribe('a', 1, 2, 20)).toBe(0);
      expect(clients.match('a')).toEqual([1]);
      expect([clients.list.options[0], clients.list.subscriptionId[0], clients.trie.subscriptions]).toEqual([2, 20, 1]);
    });

    it('has a new generation after every change and after no failure', () => {
      const clients = smallTrie();
      const seen = [clients.trie.generation];
      clients.subscribe('a', 1);
      seen.push(clients.trie.generation);
      clients.subscribe('a', 1, 2);
      seen.push(clients.trie.generation);
      clients.unsubscribe('a', 1);
      seen.push(clients.trie.generation);
      clients.trie.bump();
      seen.push(clients.trie.generation);
      expect(new Set(seen).size).toBe(5);
      clients.unsubscribe('a', 1);
      expect(clients.trie.generation).toBe(seen[4]);
    });
  });

  describe('histories', () => {
    it('counts exactly and comes back to nothing', () => {
      const step = fc.record({ on: fc.boolean(), filter: topicFilters, subscriber: fc.integer({ min: 0, max: 5 }) });
      fc.assert(
        fc.property(fc.array(step, { maxLength: 120 }), fc.array(topicNames, { maxLength: 8 }), (steps, topics) => {
          const clients = smallTrie(1_024, 256);
          const model = new Map<string, [filter: string, subscriber: number]>();
          for (const { on, filter, subscriber } of steps) {
            const key = `${subscriber} ${filter}`;
            if (on) expect(clients.subscribe(filter, subscriber)).toBe(model.has(key) ? 0 : 1);
            else expect(clients.unsubscribe(filter, subscriber)).toBe(model.has(key) ? 1 : 0);
            if (on) model.set(key, [filter, subscriber]);
            else model.delete(key);
            expect(clients.trie.subscriptions).toBe(model.size);
          }
          const prefixes = new Set<string>();
          for (const [filter] of model.values()) {
            const parts = filter.split('/');
            for (let depth = 1; depth <= parts.length; depth++) prefixes.add(JSON.stringify(parts.slice(0, depth)));
          }
          expect(clients.trie.nodes).toBe(prefixes.size);
          for (const topic of topics) {
            const expected = [...model.values()]
              .filter(([filter]) => naiveMatch(filter, topic))
              .map(([, subscriber]) => subscriber);
            expect(clients.match(topic)).toEqual(expected.sort((a, b) => a - b));
          }
          for (const [filter, subscriber] of model.values()) expect(clients.unsubscribe(filter, subscriber)).toBe(1);
          expectEmpty(clients);
        }),
        { numRuns: 150 },
      );
    });

    it('lets 100,000 subscribers of one filter come and go in constant time each', () => {
      const clients = smallTrie(1_024, 100_000);
      for (let subscriber = 0; subscriber < 100_000; subscriber++) clients.subscribe('one/filter', subscriber);
      expect(clients.match('one/filter')).toHaveLength(100_000);
      for (let i = 0; i < 100_000; i++) clients.unsubscribe('one/filter', (i * 7_919) % 100_000);
      expectEmpty(clients);
    });
  });

  describe('the reserve', () => {
    it('refuses a subscription that finds no node and leaves nothing of it', () => {
      const clients = smallTrie(4, 16);
      expect(clients.subscribe('a/b', 1)).toBe(1);
      expect(clients.subscribe('a/c/d/e', 1)).toBe(QUOTA);
      expect([clients.trie.nodes, clients.trie.levelBytes, clients.trie.subscriptions]).toEqual([2, 2, 1]);
      expect(clients.subscribe('a/c/d', 1)).toBe(1);
      expect(clients.subscribe('a/b', 2)).toBe(1);
      expect(clients.match('a/c/d')).toEqual([1]);
      clients.unsubscribe('a/b', 1);
      clients.unsubscribe('a/b', 2);
      clients.unsubscribe('a/c/d', 1);
      expectEmpty(clients);
    });

    it('refuses a subscription that finds no entry and leaves nothing of it', () => {
      const clients = smallTrie(64, 2);
      expect([
        clients.subscribe('a', 1),
        clients.subscribe('a', 2),
        clients.subscribe('b/c', 1),
        clients.subscribe('a', 3),
      ]).toEqual([1, 1, QUOTA, QUOTA]);
      expect([clients.trie.nodes, clients.trie.subscriptions]).toEqual([1, 2]);
      expect(clients.subscribe('a', 2, 1)).toBe(0);
      expect(clients.subscribe('$share/b/b', 1)).toBe(QUOTA);
      expect([clients.trie.nodes, clients.trie.subscriptions]).toEqual([1, 2]);
    });

    it('refuses levels beyond its bytes, and has them all again afterwards', () => {
      const clients = new Clients(
        new SubscriptionTrie({ nodesMax: 1_024, subscriptionsMax: 1_024, levelBytesMax: 4_096, participantsMax }),
      );
      const fill = (bytes: number): number => {
        for (let made = 0; ; made++) if (clients.subscribe(String(made).padStart(bytes, 'x'), 1) !== 1) return made;
      };
      const empty = (bytes: number, made: number): void => {
        for (let at = 0; at < made; at++) clients.unsubscribe(String(at).padStart(bytes, 'x'), 1);
        expectEmpty(clients);
      };
      expect(fill(1_000)).toBe(4);
      empty(1_000, 4);
      expect(fill(60)).toBe(64); // the large cells are split
      empty(60, 64);
      expect(fill(60)).toBe(64);
      empty(60, 64);
      expect(clients.subscribe('x'.repeat(1_000), 1)).toBe(QUOTA);
      expect(fill(16)).toBe(1_024); // short ones take no cell
      empty(16, 1_024);
    });

    it('keeps a level of 65,535 bytes', () => {
      const clients = smallTrie();
      const level = 'é'.repeat(32_767);
      expect(clients.subscribe(`${level}x`, 1)).toBe(1);
      expect(clients.match(`${level}x`)).toEqual([1]);
      expect(clients.match(`${level}y`)).toEqual([]);
      clients.unsubscribe(`${level}x`, 1);
      expectEmpty(clients);
    });
  });

  describe('depth', () => {
    it('holds filters of 1,024 levels and refuses deeper ones', () => {
      const clients = smallTrie();
      const deepest = '/'.repeat(1_023);
      expect(clients.subscribe(deepest, 1)).toBe(1);
      expect(clients.subscribe(`${'+/'.repeat(1_023)}+`, 2)).toBe(1);
      expect(clients.subscribe(`${'+/'.repeat(1_023)}#`, 3)).toBe(1);
      expect(clients.subscribe('#', 4)).toBe(1);
      expect(clients.match(deepest)).toEqual([1, 2, 3, 4]);
      expect(clients.match(`${deepest}/`)).toEqual([3, 4]);
      expect(clients.subscribe(`${deepest}/`, 1)).toBe(fault(Reason.TOPIC_FILTER_INVALID));
      expect(clients.unsubscribe(`${deepest}/`, 1)).toBe(0);
      expect(clients.match('/'.repeat(65_535))).toEqual([3, 4]);
      for (const [subscriber, filter] of [deepest, `${'+/'.repeat(1_023)}+`, `${'+/'.repeat(1_023)}#`, '#'].entries()) {
        expect(clients.unsubscribe(filter, subscriber + 1)).toBe(1);
      }
      expectEmpty(clients);
    });

    it('opens a branch at every level without growing', () => {
      const clients = smallTrie(32_768);
      const deepest = Array<string>(1_024).fill('a');
      for (let depth = 0; depth < 1_024; depth++) {
        expect(clients.subscribe([...deepest.slice(0, depth), '+'].join('/'), depth)).toBe(1);
      }
      for (let depth = 0; depth < 1_024; depth += 64) {
        expect(clients.subscribe(deepest.with(depth, '+').join('/'), depth)).toBe(1);
      }
      expect(clients.subscribe(deepest.join('/'), 1_024)).toBe(1);
      expect(clients.match(deepest.join('/'))).toHaveLength(18);
    });
  });
});
