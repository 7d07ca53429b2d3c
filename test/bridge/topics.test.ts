// Topic lines: how they are read, and what they make of names, against a model that works on strings.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TopicMap } from '../../engine/bridge/topic-map.ts';
import { type BridgeTopic, parseTopicLine } from '../../engine/config/bridge-topics.ts';
import { defaultLimits } from '../../protocol/limits.ts';

function lineOf(text: string): BridgeTopic {
  const parsed = parseTopicLine(text, defaultLimits);
  if (typeof parsed === 'string') throw new Error(parsed);
  return parsed;
}

describe('a line', () => {
  test.each([
    ['sensors/#', { pattern: 'sensors/#', direction: 'out', qos: 0, localPrefix: '', remotePrefix: '' }],
    ['  a/+  both  1 ', { pattern: 'a/+', direction: 'both', qos: 1, localPrefix: '', remotePrefix: '' }],
    ['# in 2 local/ far/', { pattern: '#', direction: 'in', qos: 2, localPrefix: 'local/', remotePrefix: 'far/' }],
    ['# out 0 "" far/', { pattern: '#', direction: 'out', qos: 0, localPrefix: '', remotePrefix: 'far/' }],
    ['"" out 1 here there', { pattern: '', direction: 'out', qos: 1, localPrefix: 'here', remotePrefix: 'there' }],
    ['# out 0 "my site/" far/', { pattern: '#', direction: 'out', qos: 0, localPrefix: 'my site/', remotePrefix: 'far/' }],
  ])('%s', (text, topic) => expect(lineOf(text)).toEqual(topic));

  test.each([
    ['', /is empty/],
    ['a out 1 b c d', /more than/],
    ['a sideways', /out, in or both/],
    ['a out 3', /0, 1 or 2/],
    ['"a out 1', /quote/],
    ['"a"b out 1', /quote/],
    ['"" out 1 here', /both prefixes/],
    ['"" out 1', /both prefixes/],
    ['a out 1 b/+/', /wildcards/],
    ['a/#/b', /valid topic filter/],
    ['a+', /valid topic filter/],
    ['$share/group/a in', /shared/],
    ['a in 1 "" $share/group/', /shared/],
    ['broker/# in 0 $SYS/', /below \$SYS/],
    ['$SYS/# both', /below \$SYS/],
  ])('%s is refused', (text, problem) => expect(parseTopicLine(text, defaultLimits)).toMatch(problem));

  test('of any text is read or refused, and never throws', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => void parseTopicLine(text, defaultLimits)));
  });
});

/** The name at the other side, by strings and a regular expression; null for none. */
function modelOf(topics: readonly BridgeTopic[], way: 'out' | 'in', name: string): string | null {
  for (const { pattern, direction, localPrefix, remotePrefix } of topics) {
    if (direction !== way && direction !== 'both') continue;
    const [prefix, newPrefix] = way === 'out' ? [localPrefix, remotePrefix] : [remotePrefix, localPrefix];
    if (!matches(prefix + pattern, name)) continue;
    const isAbove = !name.startsWith(prefix);
    if (isAbove && !(name === prefix.slice(0, -1) && newPrefix.endsWith('/') && newPrefix !== '/')) return null;
    const renamed = isAbove ? newPrefix.slice(0, -1) : newPrefix + name.slice(prefix.length);
    const isHidden = renamed.startsWith('$') && !(newPrefix + pattern).startsWith('$');
    return renamed === '' || isHidden ? null : renamed;
  }
  return null;
}

function matches(filter: string, name: string): boolean {
  if (name.startsWith('$') && /^[+#]/.test(filter)) return false;
  const levels = filter.split('/');
  const hasHash = levels.at(-1) === '#';
  const names = name.split('/');
  const fixed = hasHash ? levels.slice(0, -1) : levels;
  if (hasHash ? names.length < fixed.length : names.length !== fixed.length) return false;
  return fixed.every((level, at) => level === '+' || level === names[at]);
}

const level = fc.constantFrom('a', 'b', '', '$a', 'ü');
const prefix = fc.array(level, { maxLength: 2 }).map((levels) => levels.map((text) => `${text}/`).join(''));
const pattern = fc
  .array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 3 })
  .chain((levels) => fc.constantFrom(levels.join('/'), [...levels, '#'].join('/'), '#', ''));
const topic = fc
  .record<BridgeTopic>({
    pattern,
    direction: fc.constantFrom('out', 'in', 'both'),
    qos: fc.constant(0),
    localPrefix: prefix,
    remotePrefix: prefix,
  })
  .filter(({ pattern: of, localPrefix, remotePrefix }) => localPrefix + of !== '' && remotePrefix + of !== '');
const name = fc
  .array(level, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((text) => text !== '');

test('a name has at the other side the name that the model gives it', () => {
  fc.assert(
    fc.property(fc.array(topic, { minLength: 1, maxLength: 4 }), fc.constantFrom('out', 'in'), name, (topics, way, text) => {
      const map = new TopicMap(topics, way);
      const bytes = Buffer.from(`xx${text}yy`);
      const length = map.rename(bytes, 2, bytes.length - 2);
      const renamed = length < 0 ? null : Buffer.from(map.name.subarray(0, length)).toString();
      expect(renamed).toBe(modelOf(topics, way, text));
      if (renamed !== null) expect(length - (bytes.length - 4)).toBeLessThanOrEqual(map.growthBytesMax);
    }),
    { numRuns: 1_000 },
  );
});

test.each([
  ['sensors/# out 1 site-7/ plants/site-7/', 'out', 'site-7/sensors/1', 'plants/site-7/sensors/1'],
  ['# in 2 local/ plants/', 'in', 'plants/a/b', 'local/a/b'],
  ['# in 2 local/ plants/', 'in', 'plants', 'local'],
  ['# in 2 "" plants/', 'in', 'plants', null],
  ['# in 2 "" plants/', 'in', 'plants/$SYS/broker/x', null],
  ['# in 0', 'in', '$SYS/broker/uptime', null],
  ['$SYS/# in 0 remote/', 'in', '$SYS/broker/uptime', 'remote/$SYS/broker/uptime'],
  ['"" out 1 here there', 'out', 'here', 'there'],
  ['a/# out', 'out', 'b/c', null],
] as const)('%s, %s: %s becomes %s', (line, way, from, to) => {
  const map = new TopicMap([lineOf(line)], way);
  const length = map.rename(Buffer.from(from), 0, Buffer.byteLength(from));
  expect(length < 0 ? null : Buffer.from(map.name.subarray(0, length)).toString()).toBe(to);
});
