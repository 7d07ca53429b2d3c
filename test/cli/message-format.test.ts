// The formats of `lethe sub`, with mosquitto_sub's -F as the oracle.
import fc from 'fast-check';
import type { IPublishPacket } from 'mqtt';
import { expect, test } from 'vitest';
import { formatPayload, formatVerbose, parseFormat, type ReceivedMessage } from '../../engine/cli/message-format.ts';
import { check } from '../check.ts';
import { Child } from '../end-to-end/child.ts';
import { succeed, unique, useMosquitto } from './command-line.ts';

const mosquitto = useMosquitto();

function message(fields: Partial<IPublishPacket> = {}, payload: string | Buffer = 'ab'): ReceivedMessage {
  const bytes = Buffer.from(payload);
  const packet = { cmd: 'publish', topic: 'f/a', payload: bytes, qos: 0, retain: false, dup: false, ...fields } as IPublishPacket;
  return { topic: packet.topic, payload: bytes, packet, received: new Date(2031, 1, 3, 4, 5, 6, 78) };
}

const show = (format: string, ...of: Parameters<typeof message>) => parseFormat(format)(message(...of)).toString();

test('mosquitto_sub writes the same', async () => {
  const topic = unique('format');
  const at = ['-h', '127.0.0.1', '-p', `${mosquitto.port}`];
  const payload = '{"a": "é"}';
  const properties = [
    ['user-property', 'k', 'v'],
    ['user-property', 'k2', 'v 2'],
    ['content-type', 'text/x'],
    ['correlation-data', 'abc'],
    ['response-topic', 'r/t'],
    ['payload-format-indicator', '1'],
  ].flatMap((words) => ['-D', 'publish', ...words]);
  await succeed(['pub', ...at, '-V', '5', '-q', '2', '-r', '-t', topic, '-m', payload, ...properties]);
  await succeed(['pub', ...at, '-q', '1', '-r', '-t', `${topic}/empty`, '-m', ' ']);
  const formats = [
    '%t|%p|%q|%r|%l|%x|%X|%P|%C|%D|%F|%R|%%|%A|%S|%E',
    '%60t|%-60t|%060l|%5.2t|%.3t|%40p|%-40p|%.1p|%.4C|%-9C|%020F|%-5l|%5r|%05q|%9D|%-9P|%9%',
    '@@|\\t|\\\\|\\e|\\a|\\v|\\r|\\n|\\0|ü',
    '@Y-@m-@d @F @y @j @z',
  ];
  for (const format of formats) {
    for (const filter of [topic, `${topic}/empty`]) {
      const args = ['-V', '5', '-q', '1', '-t', filter, '-C', '1', '-F', format];
      const theirs = new Child('mosquitto_sub', [...at, ...args]);
      await theirs.exited;
      const ours = await succeed(['sub', ...at, ...args]);
      expect(ours.stdoutBytes, `${format} of ${filter}`).toEqual(theirs.stdoutBytes);
    }
  }
  const json = ['-V', '5', '-q', '1', '-t', topic, '-C', '1', '-F', '%j'];
  const theirs = new Child('mosquitto_sub', [...at, ...json]);
  await theirs.exited;
  const ours = (await succeed(['sub', ...at, ...json])).stdout;
  // Times differ, in value and in that mosquitto_sub 2.0.11 writes `Z+0000`.
  const withoutTime = (text: string) => text.replace(/"tst":"[^"]*",/, '');
  expect(withoutTime(ours)).toBe(withoutTime(theirs.stdout));
});

test('times are local, with the offset', () => {
  const at = new Date(2031, 1, 3, 4, 5, 6, 78);
  expect(show('%I')).toMatch(/^2031-02-03T04:05:06[+-]\d{4}$/);
  expect(show('@F @T @H@M@S @N @s @j')).toBe(`2031-02-03 04:05:06 040506 078000000 ${Math.floor(at.getTime() / 1_000)} 034`);
  expect(show('%U')).toBe(`${Math.floor(at.getTime() / 1_000)}.078000000`);
  expect(JSON.parse(show('%j')).tst).toMatch(/^2031-02-03T04:05:06\.078000[+-]\d{4}$/);
});

test('%j holds everything; a payload is text, or null when there is none', () => {
  const properties = {
    userProperties: { k: ['1', '2'] },
    topicAlias: 3,
    messageExpiryInterval: 9,
    subscriptionIdentifier: [4, 5],
    correlationData: Buffer.from('c'),
  };
  const fields = { qos: 1, retain: true, messageId: 8, properties } as const;
  expect(JSON.parse(show('%j', fields, '"x"\n'))).toMatchObject({
    topic: 'f/a',
    qos: 1,
    retain: 1,
    payloadlen: 4,
    mid: 8,
    properties: {
      'user-properties': { k: ['1', '2'] },
      'topic-alias': 3,
      'message-expiry-interval': 9,
      'subscription-identifier': [4, 5],
      'correlation-data': 'c',
    },
    payload: '"x"\n',
  });
  expect(JSON.parse(show('%j', {}, '')).payload).toBeNull();
  expect(show('%P %S', fields)).toBe('k:1 k:2 4 5');
});

test('%J holds the payload as the JSON that it is, digit for digit, in one line', () => {
  const line = show('%J', {}, '{"id": 12345678901234567890,\n\t"x": 1.0}');
  expect(line).toContain('"payload":{"id": 12345678901234567890,  "x": 1.0}}');
  expect(JSON.parse(line).payload.x).toBe(1);
  expect(JSON.parse(show('%J', {}, '')).payload).toBeNull();
  expect(() => show('%J', {}, 'no')).toThrow('the payload on topic f/a is not JSON');
});

test('the two plain formats', () => {
  expect(formatPayload(message({}, '\0\xff'))).toEqual(Buffer.from('\0\xff'));
  expect(formatVerbose(message()).toString()).toBe('f/a ab');
  expect(formatVerbose(message({}, '')).toString()).toBe('f/a (null)');
});

test.each(['%', '%5', '%-', '%k', 'a%5.2', '@', '@Q', '\\', 'x\\q', '%--t'])("'%s' is refused", (format) => {
  expect(() => parseFormat(format)).toThrow(/^'.*' means nothing; there are: /);
});

test('any format is read whole or refused by name; payloads pass byte for byte', () => {
  const piece = fc.oneof(
    fc.constantFrom('%p', '%%', '@@', '\\\\', '%t', '%5p', '%-9.3t', '%0l', '%', '@', '\\', '.', '-'),
    fc.string({ unit: 'binary', maxLength: 4 }),
  );
  check(
    fc.property(fc.array(piece, { maxLength: 8 }), fc.uint8Array({ maxLength: 40 }), (pieces, bytes) => {
      const payload = Buffer.from(bytes);
      let format: ReturnType<typeof parseFormat>;
      try {
        format = parseFormat(pieces.join(''));
      } catch (error) {
        expect((error as Error).message).toContain('means nothing; there are: ');
        return;
      }
      const written = format(message({}, payload));
      if (pieces.includes('%p') && !pieces.some((each) => each.endsWith('%') && each !== '%%'))
        expect(written.includes(payload)).toBe(true);
    }),
    2_000,
  );
});

test('text without sequences is written as it is', () => {
  const text = fc.string({ unit: 'binary' }).filter((each) => !/[%@\\]/.test(each));
  check(
    fc.property(text, (plain) => {
      expect(parseFormat(plain)(message())).toEqual(Buffer.from(plain));
    }),
    500,
  );
});
