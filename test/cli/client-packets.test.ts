// What the flags of `lethe pub` and `lethe sub` become on the wire, as mqtt-packet reads it.
import { createServer, type Server } from 'node:net';
import { generate, type IConnectPacket, type Packet, parser } from 'mqtt-packet';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { start, succeed, until } from './command-line.ts';

let server: Server;
let seen: Packet[] = [];
/** Sends packets to the newest client, in one piece. */
let send: (...packets: Packet[]) => void = () => {};

beforeEach(() => {
  seen = [];
});

/** Accepts everything, and keeps it. */
beforeAll(async () => {
  server = createServer((socket) => {
    socket.on('error', () => {});
    // The CONNECT tells the parser the version; answers are written in it.
    const read = parser();
    send = (...packets) => socket.write(Buffer.concat(packets.map((packet) => generate(packet))));
    read.on('packet', (packet) => {
      seen.push(packet);
      const { protocolVersion = 4 } = seen[0] as IConnectPacket;
      const answer = answerTo(packet, protocolVersion);
      if (answer !== null) socket.write(generate(answer, { protocolVersion }));
    });
    socket.on('data', (bytes) => read.parse(bytes));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  server.close();
});

function answerTo(packet: Packet, version: 3 | 4 | 5): Packet | null {
  const messageId = packet.messageId ?? 0;
  if (packet.cmd === 'connect')
    return {
      cmd: 'connack',
      sessionPresent: false,
      ...(version === 5 ? { reasonCode: 0, properties: { topicAliasMaximum: 5 } } : { returnCode: 0 }),
    };
  if (packet.cmd === 'subscribe') return { cmd: 'suback', messageId, granted: packet.subscriptions.map(({ qos }) => qos) };
  if (packet.cmd === 'unsubscribe') return { cmd: 'unsuback', messageId, granted: packet.unsubscriptions.map(() => 0) };
  if (packet.cmd === 'publish' && packet.qos === 1) return { cmd: 'puback', messageId };
  if (packet.cmd === 'publish' && packet.qos === 2) return { cmd: 'pubrec', messageId };
  return packet.cmd === 'pubrel' ? { cmd: 'pubcomp', messageId } : null;
}

function at(): string[] {
  const address = server.address();
  return ['-h', '127.0.0.1', '-p', typeof address === 'object' && address !== null ? `${address.port}` : ''];
}

function sent(cmd: Packet['cmd']): Packet {
  const found = seen.find((packet) => packet.cmd === cmd);
  if (found === undefined) throw new Error(`no ${cmd} was sent`);
  return found;
}

const pub = ['pub', '-t', 'a', '-m', 'x'];

describe('CONNECT', () => {
  const cases: readonly (readonly [args: readonly string[], fields: object])[] = [
    [
      [],
      {
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        keepalive: 60,
        clientId: expect.stringMatching(/^lethe-[0-9a-f]{12}$/),
      },
    ],
    [['-V', 'mqttv31'], { protocolId: 'MQIsdp', protocolVersion: 3, clientId: expect.stringMatching(/^lethe-[0-9a-f]{12}$/) }],
    [['-V', '3'], { protocolVersion: 3 }],
    [['-V', '4'], { protocolVersion: 4 }],
    [['-V', 'mqttv311'], { protocolVersion: 4 }],
    [['-V', 'mqttv5'], { protocolVersion: 5, clientId: '', clean: true }],
    [['-i', 'me', '-k', '7', '-c'], { clientId: 'me', keepalive: 7, clean: false }],
    [['-i', 'me', '-V', '5', '-c'], { clean: false, properties: { sessionExpiryInterval: 4_294_967_295 } }],
    [['-i', 'me', '-c', '-x', '60'], { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 60 } }],
    [['-x', '60'], { protocolVersion: 5, clean: true, properties: { sessionExpiryInterval: 60 } }],
    [['-i', 'me', '-x', '∞'], { properties: { sessionExpiryInterval: 4_294_967_295 } }],
    [['-i', 'me', '-c', '-D', 'connect', 'session-expiry-interval', '5'], { properties: { sessionExpiryInterval: 5 } }],
    [['-k', '0'], { keepalive: 0 }],
    [['-u', 'ada', '-P', 'ü'], { username: 'ada', password: Buffer.from('ü') }],
    [
      ['--will-topic', 'w', '--will-payload', 'gone', '--will-qos', '2', '--will-retain'],
      { will: { topic: 'w', payload: Buffer.from('gone'), qos: 2, retain: true } },
    ],
    [['--will-topic', 'w'], { will: { topic: 'w', payload: Buffer.alloc(0), qos: 0, retain: false } }],
    [
      ['--will-topic', 'w', '-D', 'will', 'will-delay-interval', '9', '-D', 'WILL', 'response-topic', 'r'],
      { protocolVersion: 5, will: { properties: { willDelayInterval: 9, responseTopic: 'r' } } },
    ],
    [
      [
        '-D',
        'connect',
        'receive-maximum',
        '3',
        '-D',
        'connect',
        'maximum-packet-size',
        '999',
        '-D',
        'connect',
        'topic-alias-maximum',
        '4',
      ],
      { properties: { receiveMaximum: 3, maximumPacketSize: 999, topicAliasMaximum: 4 } },
    ],
    [
      ['-D', 'connect', 'request-problem-information', '0', '-D', 'connect', 'request-response-information', '1'],
      { properties: { requestProblemInformation: false, requestResponseInformation: true } },
    ],
  ];

  test.each(cases)('of %j', async (args, fields) => {
    await succeed([...pub, ...at(), ...args]);
    expect(sent('connect')).toMatchObject(fields);
  });

  test('-I makes the client id of the prefix and the process id', async () => {
    const { pid } = await succeed([...pub, ...at(), '-I', 'unit-']);
    expect(sent('connect')).toMatchObject({ clientId: `unit-${pid}` });
  });

  test('LETHE_PASSWORD goes with a user name alone', async () => {
    const env = { LETHE_PASSWORD: 'p' };
    await succeed([...pub, ...at(), '-V', '5'], { env });
    expect(sent('connect')).not.toHaveProperty('password');
    seen = [];
    await succeed([...pub, ...at(), '-u', 'ada'], { env });
    expect(sent('connect')).toMatchObject({ username: 'ada', password: Buffer.from('p') });
  });
});

test('PUBLISH carries every property, and values that look like flags', async () => {
  const properties = [
    ['content-type', '-t'],
    ['correlation-data', '-- x'],
    ['message-expiry-interval', '4294967295'],
    ['payload-format-indicator', '1'],
    ['response-topic', 'answers/1'],
    ['topic-alias', '5'],
    ['user-property', 'k', '-1'],
    ['user-property', '--k', ''],
    ['user-property', 'k', '-D'],
  ].flatMap((words) => ['-D', 'publish', ...words]);
  await succeed(['pub', ...at(), ...properties, '-t', 'a', '-rm', '-D', '-q', '1']);
  expect(sent('publish')).toMatchObject({
    topic: 'a',
    payload: Buffer.from('-D'),
    qos: 1,
    retain: true,
    properties: {
      contentType: '-t',
      correlationData: Buffer.from('-- x'),
      messageExpiryInterval: 4_294_967_295,
      payloadFormatIndicator: true,
      responseTopic: 'answers/1',
      topicAlias: 5,
      userProperties: { k: ['-1', '-D'], '--k': '' },
    },
  });
  expect(sent('disconnect')).toMatchObject({ reasonCode: 0 });
});

test('SUBSCRIBE, UNSUBSCRIBE and DISCONNECT carry their flags and properties', async () => {
  const properties = [
    ['subscribe', 'subscription-identifier', '268435455'],
    ['subscribe', 'user-property', 'a', 'b'],
    ['unsubscribe', 'user-property', 'c', 'd'],
    ['disconnect', 'session-expiry-interval', '11'],
    ['disconnect', 'user-property', 'e', 'f'],
  ].flatMap((words) => ['-D', ...words]);
  const flags = ['-q', '1', '--retain-as-published', '--retain-handling', '2', '-x', '5', '-E'];
  await succeed(['sub', ...at(), '-t', 'a/+', '-t', '#', '-U', 'old', ...flags, ...properties]);
  const options = { qos: 1, nl: false, rap: true, rh: 2 };
  expect(sent('subscribe')).toMatchObject({
    subscriptions: [
      { topic: 'a/+', ...options },
      { topic: '#', ...options },
    ],
    properties: { subscriptionIdentifier: 268_435_455, userProperties: { a: 'b' } },
  });
  expect(sent('unsubscribe')).toMatchObject({ unsubscriptions: ['old'], properties: { userProperties: { c: 'd' } } });
  expect(sent('disconnect')).toMatchObject({ properties: { sessionExpiryInterval: 11, userProperties: { e: 'f' } } });
});

test('sub waits at its end for the release of what it has taken at QoS 2', async () => {
  const sub = start(['sub', ...at(), '-q', '2', '-t', 'a', '--retained-only']);
  await until('it has subscribed', () => seen.some(({ cmd }) => cmd === 'subscribe'));
  const message = { cmd: 'publish', topic: 'a', dup: false } as const;
  send({ ...message, qos: 2, messageId: 7, retain: true, payload: 'taken' });
  await until('it has taken the message', () => seen.some(({ cmd }) => cmd === 'pubrec'));
  // The second one ends the run; the third one comes too late and is left with the broker.
  send(
    { ...message, qos: 0, retain: false, payload: 'the end' },
    { ...message, qos: 2, messageId: 8, retain: true, payload: 'left' },
    { ...message, qos: 1, messageId: 9, retain: true, payload: 'left' },
    { cmd: 'pubrel', messageId: 7 },
  );
  expect(await sub.exited).toEqual({ code: 0, signal: null });
  expect(sub.stdout).toBe('taken\n');
  const shown = seen.map(({ cmd, messageId }) => `${cmd} ${messageId ?? ''}`.trim());
  expect(shown).toEqual(['connect', `subscribe ${sent('subscribe').messageId}`, 'pubrec 7', 'pubcomp 7', 'disconnect']);
});

test('without -D no property is sent', async () => {
  await succeed([...pub, ...at(), '-V', '5']);
  expect(sent('connect')).not.toHaveProperty('properties');
  expect(sent('publish')).not.toHaveProperty('properties');
});

test('a topic of a URL is taken as it is written', async () => {
  const [, host, , port] = at();
  const sub = start(['sub', '-L', `mqtt://ada:a%3Ab@${host}:${port}/a%20b/+/#`, '-E']);
  expect(await sub.exited).toEqual({ code: 0, signal: null });
  expect(sent('connect')).toMatchObject({ username: 'ada', password: Buffer.from('a:b') });
  expect(sent('subscribe')).toMatchObject({ subscriptions: [{ topic: 'a%20b/+/#', qos: 0 }] });
});
