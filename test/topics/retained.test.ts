// The retained index against a map and the naive matcher.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntList } from '../../engine/memory/int-list.ts';
import { NO_RETAINED, RetainedIndex } from '../../engine/topics/retained.ts';
import { fault, Reason } from '../../protocol/packet.ts';
import { naiveMatch, randomFilter, randomTopic, seeded, topicFilters, topicNames } from './naive.ts';

function set(index: RetainedIndex, topic: string, message: number): number {
  const bytes = Buffer.from(topic);
  return index.set(bytes, 0, bytes.length, message);
}

function remove(index: RetainedIndex, topic: string): number {
  const bytes = Buffer.from(topic);
  return index.remove(bytes, 0, bytes.length);
}

function get(index: RetainedIndex, topic: string): number {
  const bytes = Buffer.from(`/${topic}/`);
  return index.get(bytes, 1, bytes.length - 1);
}

function match(index: RetainedIndex, filter: string): number[] {
  const out = new IntList();
  const bytes = Buffer.from(`/${filter}/`);
  expect(index.match(bytes, 1, bytes.length - 1, out)).toBe(out.count);
  return Array.from(out.values.subarray(0, out.count)).sort((a, b) => a - b);
}

describe('retained index', () => {
  it('holds what a map holds and matches as the naive matcher does', () => {
    const step = fc.record({ on: fc.boolean(), topic: topicNames });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.array(topicFilters, { maxLength: 30 }), (steps, filters) => {
        const index = new RetainedIndex(1_000);
        const model = new Map<string, number>();
        for (const [message, { on, topic }] of steps.entries()) {
          const before = model.get(topic) ?? NO_RETAINED;
          expect(get(index, topic)).toBe(before);
          expect(on ? set(index, topic, message) : remove(index, topic)).toBe(before);
          if (on) model.set(topic, message);
          else model.delete(topic);
          expect(index.count).toBe(model.size);
        }
        for (const filter of filters) {
          const expected = [...model].filter(([topic]) => naiveMatch(filter, topic)).map(([, message]) => message);
          expect(match(index, filter)).toEqual(expected.sort((a, b) => a - b));
        }
        for (const topic of model.keys()) remove(index, topic);
        expect([index.count, index.nodes, index.levelBytes]).toEqual([0, 0, 0]);
      }),
      { numRuns: 200 },
    );
  });

  it('matches as the naive matcher does in a million comparisons', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = seeded(seed);
        const topics = [...new Set(Array.from({ length: 400 }, () => randomTopic(random)))];
        const index = new RetainedIndex(1_000);
        for (const [message, topic] of topics.entries()) set(index, topic, message);
        for (let i = 0; i < 300; i++) {
          const filter = randomFilter(random);
          const expected: number[] = [];
          for (let at = 0; at < topics.length; at++) if (naiveMatch(filter, topics[at]!)) expected.push(at);
          const found = match(index, filter);
          if (found.join() !== expected.join()) expect({ filter, found }).toEqual({ filter, found: expected });
        }
      }),
      { numRuns: 12 },
    );
  });

  it('[MQTT-4.7.2-1] keeps $ topics from filters that begin with a wildcard', () => {
    const index = new RetainedIndex(100);
    for (const [message, topic] of ['$SYS/a', 'x/a', '$SYS', 'x', '/a', 'x/$a'].entries()) set(index, topic, message);
    expect(match(index, '#')).toEqual([1, 3, 4, 5]);
    expect(match(index, '+/a')).toEqual([1, 4]);
    expect(match(index, '+/#')).toEqual([1, 3, 4, 5]);
    expect(match(index, '$SYS/#')).toEqual([0, 2]);
    expect(match(index, '$SYS/+')).toEqual([0]);
    expect(match(index, 'x/#')).toEqual([1, 3, 5]);
  });

  it('appends to the list it is given', () => {
    const index = new RetainedIndex(100);
    set(index, 'a', 7);
    const out = new IntList();
    for (let at = 0; at < 100; at++) expect(index.match(Buffer.from('#'), 0, 1, out)).toBe(1);
    expect([out.count, out.values[99]]).toEqual([100, 7]);
    out.clear();
    expect(out.count).toBe(0);
  });

  it('refuses a topic beyond its messages or nodes and leaves nothing of it', () => {
    const QUOTA = fault(Reason.QUOTA_EXCEEDED);
    const two = new RetainedIndex(2);
    expect([set(two, 'a', 1), set(two, 'b', 2), set(two, 'c', 3), set(two, 'a', 4)]).toEqual([
      NO_RETAINED,
      NO_RETAINED,
      QUOTA,
      1,
    ]);
    expect([two.count, two.nodes]).toEqual([2, 2]);
    const narrow = new RetainedIndex(100, 3);
    expect([set(narrow, 'a/b', 1), set(narrow, 'a/c/d', 2)]).toEqual([NO_RETAINED, QUOTA]);
    expect([narrow.count, narrow.nodes, get(narrow, 'a/c')]).toEqual([1, 2, NO_RETAINED]);
    expect(set(new RetainedIndex(0), 'a', 1)).toBe(QUOTA);
  });

  it('holds topics of 1,024 levels and refuses deeper ones', () => {
    const index = new RetainedIndex(100);
    const deepest = '/'.repeat(1_023);
    expect(set(index, deepest, 1)).toBe(NO_RETAINED);
    expect(set(index, `${deepest}/`, 2)).toBe(fault(Reason.TOPIC_NAME_INVALID));
    expect([get(index, `${deepest}/`), remove(index, '/'.repeat(65_535))]).toEqual([NO_RETAINED, NO_RETAINED]);
    expect(match(index, '#')).toEqual([1]);
    expect(match(index, `${'+/'.repeat(1_023)}+`)).toEqual([1]);
    expect(match(index, `${'+/'.repeat(1_024)}+`)).toEqual([]);
    expect(remove(index, deepest)).toBe(1);
    expect(index.nodes).toBe(0);
  });
});
