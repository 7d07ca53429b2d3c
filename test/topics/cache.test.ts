// The topic cache: finds what was put in the same generation and nothing else, within its bound.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hashTopic, TOPIC_BYTES_MAX, TopicCache } from '../../engine/topics/cache.ts';

function find(cache: TopicCache<number>, topic: string, generation: number): number | null {
  const bytes = Buffer.from(`<${topic}>`);
  const slot = cache.find(bytes, 1, bytes.length - 1, generation);
  return slot < 0 ? null : cache.values[slot]!;
}

function put(cache: TopicCache<number>, topic: string, generation: number, value: number): number {
  const bytes = Buffer.from(topic);
  return cache.put(bytes, 0, bytes.length, generation, value);
}

describe('topic cache', () => {
  it('finds a value in its generation only', () => {
    const cache = new TopicCache<number>(16);
    const slot = put(cache, 'a/b', 1, 42);
    expect(cache.values[slot]).toBe(42);
    expect([find(cache, 'a/b', 1), find(cache, 'a/b', 2), find(cache, 'a/c', 1), find(cache, '', 1)]).toEqual([
      42,
      null,
      null,
      null,
    ]);
    expect([cache.hits, cache.misses]).toEqual([1, 3]);
    expect(put(cache, 'a/b', 2, 43)).toBe(slot);
    expect([find(cache, 'a/b', 1), find(cache, 'a/b', 2)]).toEqual([null, 43]);
  });

  it('takes topics of 256 bytes and no longer ones', () => {
    const cache = new TopicCache<number>(16);
    expect(put(cache, 'x'.repeat(TOPIC_BYTES_MAX), 1, 1)).toBeGreaterThanOrEqual(0);
    expect(put(cache, 'x'.repeat(TOPIC_BYTES_MAX + 1), 1, 2)).toBe(-1);
    expect(put(cache, '', 1, 3)).toBe(-1);
    expect(find(cache, 'x'.repeat(TOPIC_BYTES_MAX), 1)).toBe(1);
    expect(find(cache, 'x'.repeat(TOPIC_BYTES_MAX + 1), 1)).toBe(null);
  });

  it('never holds more than its bound, a power of two', () => {
    expect([1, 16, 100, 65_536].map((entries) => new TopicCache<number>(entries).capacity)).toEqual([4, 16, 64, 65_536]);
    const cache = new TopicCache<number>(64);
    for (let at = 0; at < 10_000; at++) put(cache, `topic/${at}`, 1, at);
    let held = 0;
    for (let at = 0; at < 10_000; at++) if (find(cache, `topic/${at}`, 1) === at) held++;
    expect(held).toBeGreaterThan(32);
    expect(held).toBeLessThanOrEqual(64);
    expect(cache.values).toHaveLength(64);
  });

  it('uses stale slots before it drops a live topic', () => {
    const cache = new TopicCache<number>(4);
    for (let at = 0; at < 4; at++) put(cache, `old/${at}`, 1, at);
    for (let at = 0; at < 4; at++) put(cache, `new/${at}`, 2, at);
    expect([0, 1, 2, 3].map((at) => find(cache, `new/${at}`, 2))).toEqual([0, 1, 2, 3]);
  });

  it('keeps what is used again from being pushed out by what is used once, and yet renews itself', () => {
    const cache = new TopicCache<number>(4);
    for (let at = 0; at < 4; at++) put(cache, `kept/${at}`, 1, at);
    const kept = () => [0, 1, 2, 3].filter((at) => find(cache, `kept/${at}`, 1) === at).length;
    for (let at = 0; at < 7; at++) expect(put(cache, `once/${at}`, 1, at)).toBe(-1);
    expect(kept()).toBe(4);
    expect(put(cache, 'again', 1, 5)).toBeGreaterThanOrEqual(0); // the eighth
    expect(kept()).toBe(3);
    expect(put(cache, 'twice', 1, 6)).toBe(-1);
    expect(put(cache, 'twice', 1, 6)).toBeGreaterThanOrEqual(0);
    expect(find(cache, 'twice', 1)).toBe(6);
  });

  it('forgets everything when it is cleared', () => {
    const cache = new TopicCache<number>(16);
    put(cache, 'a', 1, 1);
    cache.clear();
    expect(find(cache, 'a', 1)).toBe(null);
    expect(cache.values.some((value) => value !== undefined)).toBe(false);
  });

  it('gives what a map would give, or nothing', () => {
    const step = fc.record({ topic: fc.string({ maxLength: 6 }), generation: fc.integer({ min: 0, max: 3 }), value: fc.nat() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const cache = new TopicCache<number>(16);
        const model = new Map<string, { generation: number; value: number }>();
        for (const { topic, generation, value } of steps) {
          const known = model.get(topic);
          const found = find(cache, topic, generation);
          if (found !== null) expect(known).toEqual({ generation, value: found });
          if (put(cache, topic, generation, value) < 0) continue;
          model.set(topic, { generation, value });
          expect(find(cache, topic, generation)).toBe(value);
        }
      }),
    );
  });

  it('hashes equal bytes alike, wherever they lie, and spreads similar topics', () => {
    const bytes = Buffer.from('xxsensor/1/temperature');
    const [words, same] = [new Int32Array(64), new Int32Array(64)];
    const hash = hashTopic(bytes, 2, bytes.length, words);
    expect(hashTopic(bytes.subarray(2), 0, bytes.length - 2, same)).toBe(hash);
    expect(Buffer.from(words.buffer, 0, bytes.length - 2)).toEqual(bytes.subarray(2));
    expect(same).toEqual(words);
    const sets = new Set<number>();
    for (let at = 0; at < 4_096; at++) {
      const topic = Buffer.from(`sensor/${at}/temperature`);
      sets.add(hashTopic(topic, 0, topic.length, words) & 4_095);
    }
    expect(sets.size).toBeGreaterThan(2_400); // 4,096 at random fill 2,589 of 4,096
  });
});
