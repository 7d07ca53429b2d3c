// A counter that outgrows 2^31 must not change the shape of its object: V8 throws away all code that it has compiled around one (engine/counters.ts).
import v8 from 'node:v8';
import { expect, test } from 'vitest';
import { Counters } from '../../engine/counters.ts';
import { TopicCache } from '../../engine/topics/cache.ts';

v8.setFlagsFromString('--allow-natives-syntax');
const haveSameShape = new Function('a', 'b', 'return %HaveSameMap(a, b)') as (a: object, b: object) => boolean;

const PER_MESSAGE = [
  'bytesReceived',
  'bytesSent',
  'packetsReceived',
  'packetsSent',
  'publishReceived',
  'publishSent',
  'publishBytesReceived',
  'publishBytesSent',
] as const;

/** Counts each of the fields of one of two like objects beyond 2^31; whether they are still of one shape. */
function keepsShape<Name extends string>(make: () => Record<Name, number>, names: readonly Name[]): boolean {
  const [one, other] = [make(), make()];
  for (const name of names) for (let at = 0; at < 3; at++) one[name] += 2 ** 30;
  for (const name of names) expect(one[name]).toBe(3 * 2 ** 30);
  return haveSameShape(one, other);
}

test('counters of what happens with each message are wide from the start', () => {
  expect(keepsShape(() => new Counters(), PER_MESSAGE)).toBe(true);
  expect(keepsShape(() => new TopicCache<object>(16), ['hits', 'misses'])).toBe(true);
});

test('the test sees one that is not', () => {
  class Narrow {
    count = 0;
  }
  expect(keepsShape(() => new Narrow(), ['count'])).toBe(false);
});
