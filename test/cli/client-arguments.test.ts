// The arguments of `lethe pub` and `lethe sub` that commander does not read by itself: -D with its several words, and URLs.
import { Option } from 'commander';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressOf, showAddress } from '../../engine/cli/client-address.ts';
import { addProperty, foldProperties, type PropertySet } from '../../engine/cli/client-properties.ts';
import { check } from '../check.ts';

const options = ['-D, --property <words>', '-m, --message <payload>', '-t, --topic <topic>', '-v, --verbose', '-r'].map(
  (flags) => new Option(flags),
);

test('the words of -D become one argument', () => {
  const words = ['publish', 'content-type', '-m'];
  const pair = ['publish', 'user-property', '-D', '--'];
  expect(foldProperties(['-D', ...words, '-v', '--property', ...pair, '-t', 'a'], options)).toEqual([
    '-D',
    JSON.stringify(words),
    '-v',
    '--property',
    JSON.stringify(pair),
    '-t',
    'a',
  ]);
  expect(foldProperties(['-D'], options)).toEqual(['-D', '[]']);
  expect(foldProperties(['-D', 'publish', 'user-property', 'a'], options)).toEqual(['-D', '["publish","user-property","a"]']);
});

test.each([
  [['-m', '-D', 'x']],
  [['--message', '-D', '-v']],
  [['-vm', '-D']],
  [['-rvt', '-D', '-m', '--property']],
  [['-mD', '-v']],
  [['--message=-D', '-v']],
  [['--', '-D', 'a', 'b', 'c']],
  [['-m']],
])('%j holds no -D', (args) => {
  expect(foldProperties(args, options)).toEqual(args);
});

test('folding changes nothing but -D, and loses no word', () => {
  const arg = fc.constantFrom(
    '-D',
    '--property',
    '-m',
    '-v',
    '-vm',
    '-mx',
    '--',
    'publish',
    'user-property',
    'x',
    '--message',
    '-r',
  );
  check(
    fc.property(fc.array(arg, { maxLength: 12 }), (args) => {
      const folded = foldProperties(args, options);
      const unfolded = folded.flatMap((each) => (each.startsWith('[') ? (JSON.parse(each) as string[]) : [each]));
      expect(unfolded).toEqual(args);
    }),
    2_000,
  );
});

test('values of every kind, in their range and no further', () => {
  const set: PropertySet = {};
  const add = (...words: string[]) => addProperty(words, ['connect', 'publish', 'subscribe'], set);
  add('publish', 'message-expiry-interval', '4294967295');
  add('PUBLISH', 'payload-format-indicator', '0');
  add('subscribe', 'subscription-identifier', '268435455');
  add('publish', 'user-property', '__proto__', '1');
  add('publish', 'user-property', '__proto__', '2');
  expect(set.publish).toMatchObject({ messageExpiryInterval: 4_294_967_295, payloadFormatIndicator: false });
  expect(Object.entries(set.publish!.userProperties!)).toEqual([['__proto__', ['1', '2']]]);
  expect(set.subscribe).toEqual({ subscriptionIdentifier: 268_435_455 });
  expect(() => add('publish', 'payload-format-indicator', '1')).toThrow('is given twice');
  for (const [words, message] of [
    [['publish', 'message-expiry-interval', '4294967296'], 'from 0 to 4294967295'],
    [['publish', 'payload-format-indicator', '2'], 'from 0 to 1'],
    [['publish', 'topic-alias', '65536'], 'from 1 to 65535'],
    [['subscribe', 'subscription-identifier', '0'], 'from 1 to 268435455'],
    [['publish', 'topic-alias', '1.5'], 'whole number'],
    [['publish', 'topic-alias', ''], 'whole number'],
    [['publish', 'toString', '1'], 'must be one of: content-type'],
    [['will', 'content-type', '1'], 'must be one of: connect, publish, subscribe'],
  ] as const)
    expect(() => addProperty(words, ['connect', 'publish', 'subscribe'], {})).toThrow(message);
});

function refuse(message: string): never {
  throw new Error(message);
}

test.each([
  [{}, 'mqtt://localhost:1883'],
  [{ host: '::1' }, 'mqtt://[::1]:1883'],
  [{ host: '[::1]', port: 1 }, 'mqtt://[::1]:1'],
  [{ port: 8883 }, 'mqtts://localhost:8883'],
  [{ tls: true }, 'mqtts://localhost:8883'],
  [{ cafile: 'x', port: 1 }, 'mqtts://localhost:1'],
  [{ insecure: true }, 'mqtts://localhost:8883'],
  [{ ws: true }, 'ws://localhost:8083'],
  [{ ws: true, port: 8883 }, 'ws://localhost:8883'],
  [{ ws: true, cert: 'x' }, 'wss://localhost:443'],
  [{ url: 'mqtt://h' }, 'mqtt://h:1883'],
  [{ url: 'mqtts://u:p@h' }, 'mqtts://h:8883'],
  [{ url: 'ws://h' }, 'ws://h:80'],
  [{ url: 'wss://[fe80::1]:9/x' }, 'wss://[fe80::1]:9'],
] as const)('%j leads to %s', (flags, shown) => {
  expect(showAddress(addressOf(flags, refuse))).toBe(shown);
});

test.each([
  '',
  'h',
  'mqtt:h',
  'mqtt://',
  'mqtt://:1',
  'mqtt://a@b@c',
  'mqtt://h:x',
  'mqtt://h:123456',
  'tcp://h',
  'mqtt://a b',
  'mqtt://[::1',
])("the URL '%s' is refused", (url) => {
  expect(() => addressOf({ url }, refuse)).toThrow('-L must be written as');
});

test('a URL says what it was made of', () => {
  const part = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 });
  const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6());
  const topic = part.filter((each) => !each.startsWith('/'));
  check(
    fc.property(part, part, host, fc.integer({ min: 1, max: 65_535 }), topic, (username, password, name, port, path) => {
      const bracketed = name.includes(':') ? `[${name}]` : name;
      const url = `mqtt://${encodeURIComponent(username)}:${encodeURIComponent(password)}@${bracketed}:${port}/${path}`;
      expect(addressOf({ url }, refuse)).toMatchObject({ username, password, host: name, port, topic: path });
    }),
    1_000,
  );
});
