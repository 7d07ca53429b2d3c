// Topic names, topic filters and shared filters against a naive model over strings.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fault, Reason } from '../../protocol/packet.ts';
import { shareFilterFrom, validateTopicFilter, validateTopicName } from '../../protocol/topic.ts';

const NAME_INVALID = fault(Reason.TOPIC_NAME_INVALID);
const FILTER_INVALID = fault(Reason.TOPIC_FILTER_INVALID);
const MALFORMED = fault(Reason.MALFORMED_PACKET);

const nameModel = (name: string, bytesMax: number, levelsMax: number) => {
  const levels = name.split('/').length;
  const fits = name !== '' && Buffer.byteLength(name) <= bytesMax && levels <= levelsMax;
  return fits && !/[+#]/.test(name) ? levels : NAME_INVALID;
};

const filterModel = (filter: string, bytesMax: number, levelsMax: number) => {
  const levels = filter.split('/');
  const fits = filter !== '' && Buffer.byteLength(filter) <= bytesMax && levels.length <= levelsMax;
  const wellPlaced = levels.every((level, index) =>
    level === '#' ? index === levels.length - 1 : level === '+' || !/[+#]/.test(level),
  );
  return fits && wellPlaced ? levels.length : FILTER_INVALID;
};

const shareModel = (filter: string) => {
  if (!filter.startsWith('$share/')) return 0;
  const match = /^\$share\/([^/+#]+)\/(?=.)/su.exec(filter);
  return match === null ? FILTER_INVALID : Buffer.byteLength(match[0]);
};

/** Strings in which separators and wildcards are as frequent as anything else. */
const topics = fc
  .array(fc.constantFrom('/', '+', '#', 'a', 'ä', '$', ' ', '😀'), { maxLength: 9 })
  .map((parts) => parts.join(''));
const shared = fc
  .tuple(fc.constantFrom('$share/', '$share', '$Share/', '$share/g/', '$share//'), topics)
  .map((parts) => parts.join(''));
const bounds = [fc.constantFrom(3, 8, 100), fc.constantFrom(1, 2, 100)] as const;

/** The validator's answer for `value` when it lies inside other bytes. */
function within(value: string, judge: (buffer: Uint8Array, from: number, to: number) => number): number {
  const bytes = Buffer.from(`+${value}+`);
  return judge(bytes, 1, bytes.length - 1);
}

describe('topics', () => {
  test('names are judged as the model does [MQTT-4.7.0-1] [MQTT-4.7.3-1]', () => {
    fc.assert(
      fc.property(topics, ...bounds, (name, bytesMax, levelsMax) => {
        expect(within(name, (b, from, to) => validateTopicName(b, from, to, bytesMax, levelsMax))).toBe(
          nameModel(name, bytesMax, levelsMax),
        );
      }),
      { numRuns: 5_000 },
    );
  });

  test('filters are judged as the model does [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1]', () => {
    fc.assert(
      fc.property(topics, ...bounds, (filter, bytesMax, levelsMax) => {
        const expected = filterModel(filter, bytesMax, levelsMax);
        expect(within(filter, (b, from, to) => validateTopicFilter(b, from, to, bytesMax, levelsMax))).toBe(expected);
      }),
      { numRuns: 10_000 },
    );
  });

  test('shared filters are taken apart as the model does [MQTT-4.8.2-1] [MQTT-4.8.2-2]', () => {
    fc.assert(
      fc.property(fc.oneof(shared, topics), (filter) => {
        const expected = shareModel(filter);
        expect(within(filter, shareFilterFrom)).toBe(expected < 0 ? expected : expected + 1);
      }),
      { numRuns: 5_000 },
    );
  });

  test.each(['$share/', '$share//t', '$share/g', '$share/g/', '$share/+/t', '$share/g#/t'])(
    '%s is no shared filter',
    (filter) => {
      expect(shareFilterFrom(Buffer.from(filter), 0, filter.length)).toBe(FILTER_INVALID);
    },
  );

  test('$share alone is a filter like any other', () => {
    expect(shareFilterFrom(Buffer.from('$share'), 0, 6)).toBe(0);
  });

  test('U+0000 and bad UTF-8 make the packet malformed [MQTT-4.7.3-2]', () => {
    for (const bytes of [Uint8Array.of(0x61, 0, 0x62), Uint8Array.of(0x61, 0xc3, 0x28)]) {
      expect(validateTopicName(bytes, 0, 3, 10, 10)).toBe(MALFORMED);
      expect(validateTopicFilter(bytes, 0, 3, 10, 10)).toBe(MALFORMED);
    }
  });

  test('65,535 slashes are refused by the number of levels', () => {
    const slashes = new Uint8Array(65_535).fill(0x2f);
    expect(validateTopicName(slashes, 0, slashes.length, 65_535, 128)).toBe(NAME_INVALID);
    expect(validateTopicFilter(slashes, 0, slashes.length, 65_535, 128)).toBe(FILTER_INVALID);
    expect(validateTopicName(slashes, 0, slashes.length, 65_535, 65_536)).toBe(65_536);
  });
});
