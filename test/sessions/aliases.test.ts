// Topic aliases in both directions, against maps. Topics are borrowed for the call: the tests wipe them afterwards.
import fc from 'fast-check';
import { test } from 'vitest';
import { InboundAliases, OutboundAliases } from '../../engine/sessions/aliases.ts';
import { agree, check } from '../check.ts';

const topic = fc.oneof(
  fc.constantFrom('a', 'b', 'a/b', 'b/a', 'sensor/1', 'sensor/2', 'ü'),
  fc.string({ minLength: 1, maxLength: 40 }),
);

/** Calls `use` with a topic that lies in the middle of a buffer which is then used for something else. */
function borrowed<Result>(name: string, use: (bytes: Uint8Array, from: number, to: number) => Result): Result {
  const buffer = Buffer.from(`xx${name}xx`);
  const result = use(buffer, 2, buffer.length - 2);
  buffer.fill(0x78);
  return result;
}

test('an inbound alias stands for the last topic that it was given', () => {
  const step = fc.record({ alias: fc.integer({ min: 1, max: 5 }), topic: fc.option(topic) });
  return check(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const aliases = new InboundAliases(5);
      const naive = new Map<number, string>();
      agree(aliases.maximum, 5);
      for (const { alias, topic: name } of steps) {
        if (name !== null) {
          borrowed(name, (bytes, from, to) => aliases.set(alias, bytes, from, to));
          naive.set(alias, name);
        }
        const found = aliases.get(alias);
        agree(found === null ? undefined : Buffer.from(found).toString(), naive.get(alias));
      }
    }),
    200,
  );
});

test('outbound aliases go to the first topics, which are named once', () =>
  check(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(topic, { maxLength: 80, size: 'max' }), (maximum, topics) => {
      const aliases = new OutboundAliases(maximum);
      const naive = new Map<string, number>();
      for (const name of topics) {
        const known = naive.get(name);
        const isNew = known === undefined && naive.size < maximum;
        if (isNew) naive.set(name, naive.size + 1);
        const expected = isNew ? -naive.size : (known ?? 0);
        agree(
          borrowed(name, (bytes, from, to) => aliases.use(bytes, from, to)),
          expected,
        );
      }
    }),
    300,
  ));

test('all 65,535 outbound aliases can be had', () => {
  const aliases = new OutboundAliases(65_535);
  for (const isFirst of [true, false]) {
    for (let at = 1; at <= 65_535; at++) {
      const bytes = Buffer.from(`topic/${at}`);
      agree(aliases.use(bytes, 0, bytes.length), isFirst ? -at : at);
    }
  }
  agree(aliases.use(Buffer.from('one/more'), 0, 8), 0);
});
