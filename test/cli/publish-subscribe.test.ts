// `lethe pub` and `lethe sub` as MQTT clients: with each other, with Mosquitto's clients and with Mosquitto's broker.
import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { type Level, mosquittoPub, mosquittoSub } from '../end-to-end/mosquitto.ts';
import { temporaryFile } from '../security/temporary.ts';
import { run, shell, start, succeed, unique, until, useLethe, useMosquitto } from './command-line.ts';

const lethe = useLethe();
const mosquitto = useMosquitto();

const fine = { code: 0, signal: null };
const versions: readonly (readonly [version: string, level: Level])[] = [
  ['mqttv31', 3],
  ['311', 4],
  ['5', 5],
];
/** Every byte, with what text mode would spoil: line ends, U+0000, and what is not UTF-8. */
const binary = Buffer.concat([Buffer.from('\n\0\r\n\xff\xfe'), randomBytes(512), Buffer.from([0, 10])]);

describe.each(versions)('-V %s', (version, level) => {
  describe.each([0, 1, 2])('at QoS %i', (qos) => {
    test('pub reaches mosquitto_sub', async () => {
      const topic = unique('out');
      const sub = await mosquittoSub({ port: lethe.port, level }, '-q', '2', '-t', topic, '-C', '1');
      await succeed(['pub', ...lethe.at, '-V', version, '-q', `${qos}`, '-t', topic, '-m', 'höre']);
      expect(await sub.exited).toEqual(fine);
      expect(sub.messages).toMatchObject([{ topic, qos, retain: 0, payload: 'höre' }]);
    });

    test('sub receives from mosquitto_pub', async () => {
      const topic = unique('in');
      const before = lethe.broker.counts().subscriptions;
      const args = ['-V', version, '-q', `${qos}`, '-t', `${topic}/#`, '-F', '%t %q %r %l %x', '-C', '2'];
      const sub = start(['sub', ...lethe.at, ...args]);
      await lethe.subscribed(before + 1);
      await mosquittoPub({ port: lethe.port, level }, ['-q', '2', '-t', `${topic}/a`, '-s'], binary);
      await mosquittoPub({ port: lethe.port, level }, ['-q', '2', '-t', `${topic}/b`, '-n']);
      expect(await sub.exited).toEqual(fine);
      expect(sub.stdout).toBe(`${topic}/a ${qos} 0 ${binary.length} ${binary.toString('hex')}\n${topic}/b ${qos} 0 0 \n`);
    });
  });

  test.each([
    ['Lethe', lethe],
    ['mosquitto', mosquitto],
  ])('a session at %s keeps for sub what pub sends while it is away', async (_name, broker) => {
    const topic = unique('away');
    const session = ['-V', version, '-c', '-i', unique('s'), '-q', '2', '-t', topic];
    await succeed(['sub', ...broker.at, ...session, '-E']);
    for (const qos of ['1', '2']) await succeed(['pub', ...broker.at, '-V', version, '-q', qos, '-t', topic, '-m', `at ${qos}`]);
    expect((await succeed(['sub', ...broker.at, ...session, '-C', '2'])).stdout).toBe('at 1\nat 2\n');
  });
});

test.each(['0', '1', '2'])('a payload passes byte for byte from a file and from standard input at QoS %s', async (qos) => {
  const topic = unique('bytes');
  for (const [source, input] of [
    [['-f', temporaryFile(binary)], ''],
    [['-s'], binary],
  ] as const) {
    await succeed(['pub', ...lethe.at, '-q', qos, '-r', '-t', topic, ...source], { input });
    const sub = await succeed(['sub', ...lethe.at, '-q', qos, '-t', topic, '-N', '-C', '1']);
    expect(sub.stdoutBytes).toEqual(binary);
  }
});

test.each(['0', '1', '2'])('-l sends each line in order at QoS %s, more than are on their way at once', async (qos) => {
  const topic = unique('lines');
  const lines = Array.from({ length: 200 }, (_, index) => (index % 7 === 2 ? '' : `line ${index} ü`)).join('\n');
  const before = lethe.broker.counts().subscriptions;
  const sub = start(['sub', ...lethe.at, '-q', qos, '-t', topic, '-C', '200']);
  await lethe.subscribed(before + 1);
  await succeed(['pub', ...lethe.at, '-q', qos, '-t', topic, '-l', '-M', '3'], { input: lines });
  expect(await sub.exited).toEqual(fine);
  expect(sub.stdout).toBe(`${lines}\n`);
});

test('-l keeps to the Receive Maximum of the broker', async () => {
  const topic = unique('lines');
  const { broker, at } = narrow;
  const before = broker.counts().subscriptions;
  const sub = start(['sub', ...at, '-q', '1', '-t', topic, '-C', '20']);
  await narrow.subscribed(before + 1);
  const input = Array.from({ length: 20 }, (_, index) => `${index}\n`).join('');
  await succeed(['pub', ...at, '-V', '5', '-q', '2', '-t', topic, '-l'], { input });
  expect(await sub.exited).toEqual(fine);
  expect(sub.stdout).toBe(input);
});

const narrow = useLethe(['limits.receive_maximum=2']);

test('-r retains, -n -r forgets, --remove-retained forgets what arrives', async () => {
  const topic = unique('retained');
  for (const name of ['a', 'b', 'c']) await succeed(['pub', ...lethe.at, '-r', '-t', `${topic}/${name}`, '-m', name]);
  const first = await succeed(['sub', ...lethe.at, '-t', `${topic}/+`, '-F', '%p%r', '-C', '3']);
  expect(first.stdout.split('\n').sort()).toEqual(['', 'a1', 'b1', 'c1']);
  await succeed(['pub', ...lethe.at, '-r', '-t', `${topic}/a`, '-n']);
  const removed = ['-t', `${topic}/+`, '-T', `${topic}/c`, '--remove-retained', '--retained-only', '-C', '1'];
  expect((await succeed(['sub', ...lethe.at, ...removed])).stdout).toBe('b\n');
  const left = await run(['sub', ...lethe.at, '-t', `${topic}/+`, '-v', '-C', '1', '-W', '20']);
  expect(left.stdout).toBe(`${topic}/c c\n`);
});

test('--retained-only ends with the first message that was not retained, -R shows those alone', async () => {
  const topic = unique('fresh');
  await succeed(['pub', ...lethe.at, '-r', '-t', topic, '-m', 'old']);
  const before = lethe.broker.counts().subscriptions;
  const old = start(['sub', ...lethe.at, '-t', topic, '--retained-only']);
  const fresh = start(['sub', ...lethe.at, '-t', topic, '-R', '-C', '1']);
  await lethe.subscribed(before + 2);
  await old.until('the retained message is there', () => old.stdout !== '');
  await succeed(['pub', ...lethe.at, '-t', topic, '-m', 'new']);
  expect(await old.exited).toEqual(fine);
  expect(await fresh.exited).toEqual(fine);
  expect([old.stdout, fresh.stdout]).toEqual(['old\n', 'new\n']);
});

test('-T hides topics, which do not count', async () => {
  const topic = unique('hidden');
  const before = lethe.broker.counts().subscriptions;
  const sub = start([
    'sub',
    ...lethe.at,
    '-t',
    `${topic}/#`,
    '-T',
    `${topic}/+/no`,
    '-T',
    `${topic}/deep/#`,
    '-q',
    '2',
    '-C',
    '2',
    '-v',
  ]);
  await lethe.subscribed(before + 1);
  for (const [index, name] of ['a/no', 'a/yes', 'deep', 'deep/down', 'b'].entries())
    await succeed(['pub', ...lethe.at, '-t', `${topic}/${name}`, '-m', 'x', '-q', `${index % 3}`]);
  expect(await sub.exited).toEqual(fine);
  expect(sub.stdout).toBe(`${topic}/a/yes x\n${topic}/b x\n`);
});

test('several -t, and -U for a session that has a subscription too many', async () => {
  const [one, two] = [unique('one'), unique('two')];
  const session = ['-c', '-i', unique('s'), '-q', '1'];
  await succeed(['sub', ...lethe.at, ...session, '-t', one, '-t', two, '-E']);
  await succeed(['sub', ...lethe.at, ...session, '-U', one]);
  for (const topic of [one, two]) await succeed(['pub', ...lethe.at, '-q', '1', '-t', topic, '-m', topic]);
  expect((await succeed(['sub', ...lethe.at, ...session, '-t', two, '-C', '1'])).stdout).toBe(`${two}\n`);
});

test.each([
  ['1', '311'],
  ['2', '311'],
  ['1', '5'],
  ['2', '5'],
])('what -C does not take at QoS %s, MQTT %s, the session keeps for the next one', async (qos, version) => {
  const topic = unique('rest');
  const session = ['-V', version, '-c', '-i', unique('s'), '-q', qos, '-t', topic];
  await succeed(['sub', ...lethe.at, ...session, '-E']);
  await succeed(['pub', ...lethe.at, '-q', qos, '-t', topic, '-l'], { input: '1\n2\n3\n4\n5\n' });
  const taken: string[] = [];
  for (const count of ['1', '2', '2']) taken.push((await succeed(['sub', ...lethe.at, ...session, '-C', count])).stdout);
  expect(taken).toEqual(['1\n', '2\n3\n', '4\n5\n']);
});

test('a reader that goes away ends sub, and what it did not read stays with the broker', async () => {
  const topic = unique('head');
  const session = [...lethe.at, '-c', '-i', unique('s'), '-q', '1', '-t', topic];
  await succeed(['sub', ...session, '-E']);
  const lines = Array.from({ length: 500 }, (_, index) => `${index} ${'x'.repeat(1_000)}`);
  await succeed(['pub', ...lethe.at, '-q', '1', '-t', topic, '-l'], { input: lines.join('\n') });
  const head = shell('{ "$@"; echo "ended with $?" >&2; } | head -n 2', ['sub', ...session]);
  await head.exited;
  expect(head.stdout).toBe(`${lines[0]}\n${lines[1]}\n`);
  expect(head.stderr).toBe('ended with 0\n');
  const rest = start(['sub', ...session]);
  await rest.until('the last line is there', () => rest.stdout.includes(lines[499]!));
  rest.kill('SIGTERM');
  expect(await rest.exited).toEqual(fine);
  const [first] = rest.stdout.split(' ');
  // What the pipe took before the reader went was written; nothing behind it was acknowledged.
  expect(rest.stdout).toBe(`${lines.slice(Number(first)).join('\n')}\n`);
  expect(Number(first)).toBeLessThan(499);
});

test('a message that nobody can be given any more is not acknowledged', async () => {
  const topic = unique('broken');
  const session = [...lethe.at, '-c', '-i', unique('s'), '-q', '1', '-t', topic];
  await succeed(['sub', ...session, '-E']);
  await succeed(['pub', ...lethe.at, '-q', '1', '-t', topic, '-l'], { input: '1\n2\n3\n' });
  // Standard output is a pipe whose reader has gone before the program starts.
  const pipe = `${temporaryFile('')}.pipe`;
  const script = `mkfifo '${pipe}'; exec 4<>'${pipe}'; exec 5>'${pipe}'; exec 4<&-; "$@" >&5 5>&-; echo "ended with $?"`;
  const broken = shell(script, ['sub', ...session]);
  await broken.exited;
  expect([broken.stdout, broken.stderr]).toEqual(['ended with 0\n', '']);
  expect((await succeed(['sub', ...session, '-C', '3'])).stdout).toBe('1\n2\n3\n');
});

test.each(['0', '1', '2'])('topics that come as an alias are shown by name at QoS %s', async (qos) => {
  const topic = unique('alias');
  const before = lethe.broker.counts().subscriptions;
  const aliases = ['-D', 'connect', 'topic-alias-maximum', '5', '-F', '%t %p %A'];
  const sub = start(['sub', ...lethe.at, ...aliases, '-q', qos, '-t', topic, '-T', 'other', '-C', '3']);
  await lethe.subscribed(before + 1);
  await succeed(['pub', ...lethe.at, '-q', qos, '-t', topic, '-l'], { input: '1\n2\n3\n' });
  expect(await sub.exited).toEqual(fine);
  expect(sub.stdout).toBe(`${topic} 1 1\n${topic} 2 1\n${topic} 3 1\n`);
});

test.each([
  ['pub', ['-t', 'other', '-m', 'x', '--repeat', '2', '--repeat-delay', '600']],
  ['sub', ['-t', 'other']],
] as const)('the will of %s goes out when it is killed', async (command, args) => {
  const topic = unique('will');
  const watch = await mosquittoSub({ port: lethe.port, level: 5 }, '-q', '2', '-t', topic, '-C', '1');
  const { sessions } = lethe.broker.counts();
  const will = ['--will-topic', topic, '--will-payload', 'gone', '--will-qos', '1', '--will-retain'];
  const properties = ['-D', 'will', 'content-type', 'text/plain', '-D', 'will', 'user-property', 'of', command];
  const doomed = start([command, ...lethe.at, ...args, ...will, ...properties]);
  await until('it is connected', () => lethe.broker.counts().sessions > sessions);
  doomed.kill('SIGKILL');
  await watch.exited;
  expect(watch.messages).toMatchObject([
    { payload: 'gone', qos: 1, properties: { 'content-type': 'text/plain', 'user-properties': { of: command } } },
  ]);
  expect((await succeed(['sub', ...lethe.at, '-t', topic, '-C', '1', '-F', '%p %r'])).stdout).toBe('gone 1\n');
});

test('no will goes out when the client ends in order', async () => {
  const topic = unique('will');
  const before = lethe.broker.counts().subscriptions;
  const watch = start(['sub', ...lethe.at, '-t', topic, '-C', '1']);
  const sub = start(['sub', ...lethe.at, '-t', 'other', '--will-topic', topic, '--will-payload', 'gone']);
  await lethe.subscribed(before + 2);
  sub.kill('SIGINT');
  expect(await sub.exited).toEqual(fine);
  await succeed(['pub', ...lethe.at, '-t', topic, '-m', 'after']);
  await watch.exited;
  expect(watch.stdout).toBe('after\n');
});

test('--repeat sends the message again', async () => {
  const topic = unique('again');
  const before = lethe.broker.counts().subscriptions;
  const sub = start(['sub', ...lethe.at, '-t', topic, '-C', '3']);
  await lethe.subscribed(before + 1);
  await succeed(['pub', ...lethe.at, '-t', topic, '-m', 'x', '--repeat', '3', '--repeat-delay', '0.01', '-q', '1']);
  expect(await sub.exited).toEqual(fine);
  expect(sub.stdout).toBe('x\nx\nx\n');
});

test('a shared subscription gives each message to one of two', async () => {
  const topic = unique('shared');
  const before = lethe.broker.counts().subscriptions;
  const members = [1, 2].map(() => start(['sub', ...lethe.at, '-q', '1', '-t', `$share/g/${topic}`, '-C', '5']));
  await lethe.subscribed(before + 2);
  const input = Array.from({ length: 10 }, (_, index) => `${index}\n`).join('');
  await succeed(['pub', ...lethe.at, '-q', '1', '-t', topic, '-l'], { input });
  await Promise.all(members.map((member) => member.exited));
  const shown = members.flatMap(({ stdout }) => stdout.trim().split('\n')).sort();
  expect(shown).toEqual(input.trim().split('\n'));
});
