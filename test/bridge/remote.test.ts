// What a remote broker may offer, refuse and do wrong, and what becomes of the bridge and of the messages.
import { afterEach, describe, expect, test } from 'vitest';
import type { Broker } from '../../engine/lethe.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { type Answer, closeDoubles, obliging, type RemoteDouble, remoteDouble } from './remote-double.ts';
import { bridgedBroker, bridgeSays } from './rig.ts';

afterEach(closeDoubles);

const lines: string[] = [];

async function bridged(remote: RemoteDouble, ...more: string[]): Promise<Broker> {
  lines.length = 0;
  const bridge = [`addresses = ["127.0.0.1:${remote.port}"]`, 'topics = ["up/# out 2", "down/# in 2"]', ...more];
  return bridgedBroker({ bridge, onLine: (line) => lines.push(line) });
}

async function publishing(edge: Broker, ...qos: (0 | 1 | 2)[]): Promise<void> {
  const client = await mqttJs({ port: edge.tcp, level: 5 });
  for (const [at, own] of qos.entries()) await client.publish('up/a', `message ${at}`, { qos: own, retain: true });
  await client.end();
}

describe('offers less', () => {
  test('Maximum QoS 1: QoS 2 goes as QoS 1, and leaves the session when that is acknowledged', async () => {
    const remote = await remoteDouble(obliging({ properties: { maximumQoS: 1 } }));
    const edge = await bridged(remote);
    await bridgeSays(edge, '1');
    await publishing(edge, 2, 2, 1);
    await remote.until('three have come', () => remote.of('publish').length === 3);
    expect(remote.of('publish').map(({ qos }) => qos)).toEqual([1, 1, 1]);
    await publishing(edge, 0);
    await remote.until('the last has come', () => remote.of('publish').length === 4);
    await emptied(edge);
    expect(remote.of('pubrel')).toEqual([]);
  });

  test('Maximum QoS 0, no retained messages: everything goes once, without either', async () => {
    const remote = await remoteDouble(obliging({ properties: { maximumQoS: 0, retainAvailable: false } }));
    const edge = await bridged(remote);
    await bridgeSays(edge, '1');
    await publishing(edge, 2, 1, 0, 2);
    await remote.until('four have come', () => remote.of('publish').length === 4);
    expect(remote.of('publish').map(({ qos, retain }) => [qos, retain])).toEqual(Array.from({ length: 4 }, () => [0, false]));
    await emptied(edge);
  });

  test('Maximum Packet Size: what is larger is let go, and counted as refused', async () => {
    const remote = await remoteDouble(obliging({ properties: { maximumPacketSize: 200 } }));
    const edge = await bridged(remote);
    await bridgeSays(edge, '1');
    const client = await mqttJs({ port: edge.tcp, level: 5 });
    await client.publish('up/a', Buffer.alloc(300), { qos: 2 });
    await client.publish('up/a', 'small', { qos: 1 });
    await remote.until('the small one has come', () => remote.of('publish').length === 1);
    await emptied(edge);
  });

  test('Receive Maximum: no more than that is on its way', async () => {
    const remote = await remoteDouble((packet, peer) => {
      if (packet.cmd !== 'publish') obliging({ properties: { receiveMaximum: 2 } })(packet, peer);
    });
    const edge = await bridged(remote);
    await bridgeSays(edge, '1');
    await publishing(edge, 1, 1, 1, 1);
    await remote.until('two have come', () => remote.of('publish').length === 2);
    const [first] = remote.of('publish');
    remote.last.send({ cmd: 'puback', messageId: first!.messageId! });
    await remote.until('the third has come', () => remote.of('publish').length === 3);
    expect(remote.of('publish').map(({ payload }) => String(payload))).toEqual(['message 0', 'message 1', 'message 2']);
  });
});

describe('refuses', () => {
  test.each([
    [[5, 4], 'auto', (packet, peer) => void (packet.cmd === 'connect' && peer.level === 5 && refuse(peer, 1))],
    [[5, 132], 'auto', (packet, peer) => void (packet.cmd === 'connect' && peer.level === 5 && refuse(peer, 0x84))],
    [[132, 4], 'mqttv311', () => {}],
  ] as const satisfies readonly (readonly [readonly number[], string, Answer])[])(
    'versions: %j with %s',
    async (expected, version, refusing) => {
      const levels: number[] = [];
      const remote = await remoteDouble((packet, peer) => {
        if (packet.cmd === 'connect') {
          const level = (packet.protocolVersion ?? 4) + ('bridgeMode' in packet ? 128 : 0);
          levels.push(level);
          peer.level = level & 127;
          if (level !== expected.at(-1)) {
            refusing(packet, peer);
            peer.socket.end(Buffer.from([0x20, 2, 0, 1]));
            return;
          }
        }
        obliging()(packet, peer);
      });
      const edge = await bridged(remote, `protocol_version = "${version}"`);
      await bridgeSays(edge, '1');
      expect([levels[0], levels.at(-1)]).toEqual(expected);
      await publishing(edge, 2);
      await remote.until('it has come', () => remote.of('publish').length === 1);
      expect(remote.of('publish')[0]).not.toHaveProperty('properties.userProperties');
    },
  );

  test('the client: it is told once, with the reason, and tried again', async () => {
    const remote = await remoteDouble((packet, peer) => {
      if (packet.cmd === 'connect') peer.send({ cmd: 'connack', sessionPresent: false, reasonCode: 0x87 });
    });
    await bridged(remote);
    await remote.until('it was tried three times', () => remote.of('connect').length === 3);
    expect(lines.filter((line) => line.includes('refuses a bridge')).map((line) => line.slice(-23))).toEqual([
      'bridge=cloud reason=135',
    ]);
  });

  test.each([
    ['a message at QoS 1', 1, 'puback'],
    ['a message at QoS 2', 2, 'pubrec'],
  ] as const)('%s: it is let go', async (_what, qos, cmd) => {
    const remote = await remoteDouble((packet, peer) => {
      if (packet.cmd === 'publish' && packet.qos > 0) peer.send({ cmd, messageId: packet.messageId!, reasonCode: 0x87 });
      else obliging()(packet, peer);
    });
    const edge = await bridged(remote);
    await bridgeSays(edge, '1');
    await publishing(edge, qos, 0);
    await remote.until('both have come', () => remote.of('publish').length === 2);
    await bridgeSays(edge, '1');
    await emptied(edge);
  });

  test('because it is full: the link ends, and the message is kept and sent again', async () => {
    let isFull = true;
    const remote = await remoteDouble((packet, peer) => {
      if (packet.cmd === 'publish' && isFull) {
        isFull = false;
        peer.send({ cmd: 'puback', messageId: packet.messageId!, reasonCode: 0x97 });
      } else obliging()(packet, peer);
    });
    const edge = await bridged(remote);
    await bridgeSays(edge, '1');
    await publishing(edge, 1);
    await remote.until('it has come twice', () => remote.of('publish').length === 2);
    expect(remote.of('publish').map(({ dup, payload }) => [dup, String(payload)])).toEqual([
      [false, 'message 0'],
      [true, 'message 0'],
    ]);
    expect(lines.join('\n')).toMatch(/the remote broker of a bridge takes no more messages/);
  });
});

test('while this broker is full, what comes in stays with the remote broker, and what goes out goes on', async () => {
  let send = () => {};
  const remote = await remoteDouble((packet, peer) => {
    obliging()(packet, peer);
    if (packet.cmd === 'subscribe') send();
  });
  const edge = await bridgedBroker({
    bridge: [`addresses = ["127.0.0.1:${remote.port}"]`, 'topics = ["up/# out 2", "down/# in 2"]'],
    set: ['limits.queued_messages_max=2', 'limits.queued_messages_per_client_max=2'],
  });
  await bridgeSays(edge, '1');
  const away = { port: edge.tcp, level: 5, clientId: 'away', clean: false, properties: { sessionExpiryInterval: 600 } } as const;
  const client = await mqttJs(away);
  await client.subscribe(['down/#', 'fill'], 2);
  await client.end();
  const near = await mqttJs({ port: edge.tcp, level: 5 });
  for (const payload of ['1', '2']) await near.publish('fill', payload, { qos: 1 });
  // The other shards learn of it in a while.
  await expect.poll(() => edge.counts().queuedMessages, { timeout: 10_000 }).toBe(2);
  send = () => {
    for (const [at, qos] of ([1, 2] as const).entries())
      remote.last.send({
        cmd: 'publish',
        topic: 'down/a',
        payload: String(qos),
        qos,
        messageId: 7 + at,
        dup: false,
        retain: false,
      });
  };
  send();
  await near.publish('up/a', 'out', { qos: 0 });
  await remote.until('what goes out goes on', () => remote.of('publish').length === 1);
  expect([...remote.of('puback'), ...remote.of('pubrec')]).toEqual([]);
  const back = await mqttJs(away);
  await back.until('everything has come', () => back.messages.length >= 4);
  expect(back.payloads.toSorted()).toEqual(['1', '1', '2', '2']);
  expect(remote.peers).toHaveLength(2);
});

describe('has lost its session', () => {
  test('identifiers of QoS 2 that it had are forgotten before it may use them again', async () => {
    const remote = await remoteDouble((packet, peer) => {
      if (packet.cmd !== 'pubrec') obliging()(packet, peer);
    });
    const edge = await bridged(remote);
    await bridgeSays(edge, '1');
    const near = await mqttJs({ port: edge.tcp, level: 5 });
    await near.subscribe('down/#', 2);
    const send = (payload: string) =>
      remote.last.send({ cmd: 'publish', topic: 'down/a', payload, qos: 2, messageId: 7, dup: false, retain: false });
    send('of the first session');
    await remote.until('it is received', () => remote.of('pubrec').length === 1);
    // The session is gone with the handshake in the midst: the same identifier is another message.
    remote.last.socket.destroy();
    await remote.until('the bridge is back', () => remote.of('subscribe').length === 2);
    send('of the second session');
    await near.received(2);
    expect(near.payloads).toEqual(['of the first session', 'of the second session']);
  });

  test.each([
    // Though the remote broker says that the session is the same: the link on which it said that it is new may have been cut too early.
    [false, ['one', 'two']],
    [true, ['one']],
  ] as const)('an identifier that is held, with DUP %s: %j', async (dup, payloads) => {
    let sessionPresent = false;
    const remote = await remoteDouble((packet, peer) => {
      if (packet.cmd !== 'pubrec') obliging({ sessionPresent })(packet, peer);
    });
    const edge = await bridged(remote);
    await bridgeSays(edge, '1');
    const near = await mqttJs({ port: edge.tcp, level: 5 });
    await near.subscribe('down/#', 2);
    const send = (payload: string, messageId: number, isCopy: boolean) =>
      remote.last.send({ cmd: 'publish', topic: 'down/a', payload, qos: 2, messageId, dup: isCopy, retain: false });
    send('one', 7, false);
    await remote.until('it is received', () => remote.of('pubrec').length === 1);
    sessionPresent = true;
    remote.last.socket.destroy();
    await remote.until('the bridge is back', () => remote.of('subscribe').length === 2);
    send('two', 7, dup);
    send('last', 8, false);
    await near.until('the last is here', () => near.payloads.includes('last'));
    expect(near.payloads).toEqual([...payloads, 'last']);
    await remote.until('each is answered', () => remote.of('pubrec').length === 3);
  });

  test('the session here is new and the one there is not: it is told to forget an identifier before that is used', async () => {
    const remote = await remoteDouble(obliging({ sessionPresent: true }));
    const edge = await bridged(remote);
    await bridgeSays(edge, '1');
    await publishing(edge, 2);
    await remote.until('the handshake is over', () => remote.of('pubrel').length === 2);
    expect(remote.packets.map(({ cmd }) => cmd).filter((cmd) => /^pub/.test(cmd))).toEqual(['pubrel', 'publish', 'pubrel']);
    expect(new Set(remote.of('pubrel').map(({ messageId }) => messageId)).size).toBe(1);
    await bridgeSays(edge, '1');
    await emptied(edge);
  });
});

describe('does what it must not', () => {
  const wrongs: readonly (readonly [string, Buffer])[] = [
    ['a packet of no type', Buffer.from([0x00, 0x00])],
    ['a CONNECT', Buffer.from([0x10, 0x00])],
    ['a length without end', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff])],
    ['a packet larger than it was told', Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f])],
    ['a topic alias', Buffer.from([0x30, 0x07, 0x00, 0x00, 0x03, 0x23, 0x00, 0x01, 0x61])],
    ['an acknowledgement of QoS 1 for nothing, with a broken reason', Buffer.from([0x40, 0x03, 0x00, 0x01, 0x77])],
    ['a second CONNACK', Buffer.from([0x20, 0x03, 0x00, 0x00, 0x00])],
    ['a topic that is no UTF-8', Buffer.from([0x30, 0x05, 0x00, 0x02, 0xff, 0xfe, 0x00])],
  ];

  test('costs the link alone, each time', async () => {
    let at = -1;
    const remote = await remoteDouble((packet, peer) => {
      obliging()(packet, peer);
      if (packet.cmd !== 'subscribe') return;
      at++;
      if (at < wrongs.length) peer.socket.write(wrongs[at]![1]);
    });
    const edge = await bridged(remote);
    await publishing(edge, 1);
    // A topic name that is not valid is answered and costs nothing: the others, a link each.
    await remote.until('it was tried again each time', () => remote.of('subscribe').length === wrongs.length);
    await bridgeSays(edge, '1');
    expect(lines.join('\n')).toMatch(/sent a bridge what it must not/);
  });

  test('names that no line means, or that cannot be here, are answered and go nowhere', async () => {
    const remote = await remoteDouble(obliging());
    const edge = await bridged(remote, 'remote_clientid = "x"');
    await bridgeSays(edge, '1');
    const near = await mqttJs({ port: edge.tcp, level: 5 });
    await near.subscribe('#', 2);
    const deep = `down/${'x/'.repeat(200)}`;
    for (const [messageId, topic] of ['other/a', 'down/+', 'down/a', deep, 'down/last'].entries())
      remote.last.send({ cmd: 'publish', topic, payload: topic, qos: 1, messageId: messageId + 1, dup: false, retain: false });
    await near.until('the last is here', () => near.payloads.includes('down/last'));
    expect(near.payloads).toEqual(['down/a', 'down/last']);
    await remote.until('all are answered', () => remote.of('puback').length === 5);
    // What the bridge itself answers overtakes what waits for the broker.
    const answers = remote.of('puback').toSorted((a, b) => a.messageId! - b.messageId!);
    expect(answers.map(({ reasonCode }) => reasonCode)).toEqual([0x90, 0x83, 0, 0x83, 0]);
    expect(remote.peers).toHaveLength(1);
  });
});

/** Resolves when the session of the bridge owes nothing any more. */
async function emptied(edge: Broker): Promise<void> {
  await expect.poll(() => edge.counts().queuedMessages, { timeout: 10_000 }).toBe(0);
}

/** A refusal in the form of the version that the remote broker itself speaks. */
function refuse(peer: { socket: { write(bytes: Buffer): void } }, code: number): void {
  peer.socket.write(code === 1 ? Buffer.from([0x20, 2, 0, 1]) : Buffer.from([0x20, 3, 0, code, 0]));
}
