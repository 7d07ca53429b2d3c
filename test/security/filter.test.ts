// How filters relate: by hand where it matters, then against every topic there is over a small alphabet.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { covers, overlaps } from '../../engine/security/filter.ts';
import { naiveMatch } from '../topics/naive.ts';
import { everyTopic, filters, topics } from './names.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const relate = (relation: typeof covers, rule: string, filter: string) => {
  const padded = bytes(`#/${filter}/+`); // the range is what counts, not the buffer
  return relation(bytes(rule), padded, 2, padded.length - 2);
};

test.each([
  ['a/#', 'a', true],
  ['a/#', 'a/', true],
  ['a/+', 'a', false],
  ['a/+', 'a/', true],
  ['+/+', '/', true],
  ['#', '$SYS', false],
  ['+/x', '$SYS/x', false],
  ['$SYS/#', '$SYS/x', true],
  ['a/+', 'a/$x', true],
  ['#', '#', true],
  ['#', '+/#', true],
  ['+', '#', false],
  ['a', 'a/#', false],
  ['a/#', 'a/#', true],
  ['a/#', 'a/+/b', true],
  ['+/#', '#', true],
  ['a/+/#', 'a/#', false],
])('%s covers %s: %s [MQTT-4.7.2-1]', (rule, filter, expected) => {
  expect(relate(covers, rule, filter)).toBe(expected);
});

test.each([
  ['a/+', '+/b', true],
  ['a', 'a/#', true],
  ['a/#', 'a', true],
  ['a', 'a/+', false],
  ['a', 'a/+/#', false],
  ['#', '$SYS/x', false],
  ['$SYS/x', '#', false],
  ['$SYS/#', '+/x', false],
  ['$SYS/#', '$SYS/+', true],
  ['a/b', 'a/c', false],
  ['+/b/#', 'a/+/c', true],
])('%s overlaps %s: %s', (rule, filter, expected) => {
  expect(relate(overlaps, rule, filter)).toBe(expected);
});

test('covers a topic name exactly when a naive matcher matches it', () => {
  fc.assert(
    fc.property(filters, topics, (rule, topic) => relate(covers, rule, topic) === naiveMatch(rule, topic)),
    { numRuns: 20_000 },
  );
});

test('covers and overlaps agree with the sets of topics that the filters stand for', () => {
  const all = everyTopic(5);
  fc.assert(
    fc.property(filters, filters, (rule, filter) => {
      const own = all.filter((topic) => naiveMatch(filter, topic));
      expect(relate(covers, rule, filter)).toBe(own.every((topic) => naiveMatch(rule, topic)));
      expect(relate(overlaps, rule, filter)).toBe(own.some((topic) => naiveMatch(rule, topic)));
    }),
    { numRuns: 1_000 },
  );
});
