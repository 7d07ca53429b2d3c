// The oracle of the topic tests: MQTT 5.0 §4.7 in strings, as plain as possible, and generators that make matches likely.
import fc from 'fast-check';

export function naiveMatch(filter: string, topic: string): boolean {
  const filterLevels = filter.split('/');
  const topicLevels = topic.split('/');
  if (topic.startsWith('$') && (filterLevels[0] === '+' || filterLevels[0] === '#')) return false;
  for (const [at, level] of filterLevels.entries()) {
    if (level === '#') return true;
    if (at === topicLevels.length) return false;
    if (level !== '+' && level !== topicLevels[at]) return false;
  }
  return filterLevels.length === topicLevels.length;
}
// `x/#` matches `x`: the loop above meets `#` before it looks for a level of the topic.

const longLevel = 'long-'.repeat(60);
const levels = ['', 'a', 'b', 'ab', 'ü', '水', '$', '$SYS', 'exactly16bytes!!', 'seventeen bytes!!', longLevel];
const topicLevel = fc.constantFrom(...levels);
const filterLevel = fc.oneof({ weight: 3, arbitrary: topicLevel }, { weight: 2, arbitrary: fc.constant('+') });

/** Topic names of one to five levels; never empty. */
export const topicNames = fc
  .array(topicLevel, { minLength: 1, maxLength: 5 })
  .map((parts) => parts.join('/'))
  .filter((name) => name !== '');

/** Topic filters of one to five levels, a third of which end in `#`. */
export const topicFilters = fc
  .tuple(fc.array(filterLevel, { minLength: 0, maxLength: 4 }), fc.oneof(filterLevel, filterLevel, fc.constant('#')))
  .map(([parts, last]) => [...parts, last].join('/'))
  .filter((filter) => filter !== '');

/** Small seeded generator (mulberry32) for the tests that are too large to shrink. */
export function seeded(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export function randomTopic(random: (below: number) => number): string {
  const parts = Array.from({ length: 1 + random(5) }, () => levels[random(levels.length)]!);
  return parts.join('/') || 'a';
}

export function randomFilter(random: (below: number) => number): string {
  const parts = Array.from({ length: 1 + random(5) }, () => (random(5) < 2 ? '+' : levels[random(levels.length)]!));
  if (random(3) === 0) parts[parts.length - 1] = '#';
  return parts.join('/') || '+';
}
