// What MQTT 5.0 adds, through real clients against the started process: properties, options of subscriptions, reason codes.
import { expect, test } from 'vitest';
import { mosquittoPub, mosquittoSub } from './mosquitto.ts';
import { type ClientOptions, type MqttJs, mqttJs, refusalOf } from './mqttjs.ts';
import { useServed } from './served.ts';

const served = useServed(() => '[limits]\npacket_bytes_max = "1MiB"\n[session]\nresponse_information = "answers/"');

let names = 0;

function name(prefix: string): string {
  names += 1;
  return `${prefix}-${names}`;
}

function connect(options: Partial<ClientOptions> = {}): Promise<MqttJs> {
  return mqttJs({ level: 5, port: served.port('tcp'), ...options });
}

const way = () => ({ port: served.port('tcp'), level: 5 as const });

/** The code with which an operation of MQTT.js is refused. */
async function codeOf(operation: Promise<unknown>): Promise<number> {
  return operation.then(
    () => Promise.reject(new Error('nothing was refused')),
    (error: { code: number }) => error.code,
  );
}

test('CONNACK tells what holds', async () => {
  const client = await connect({ clientId: '', properties: { requestResponseInformation: true, sessionExpiryInterval: 60 } });
  const { properties } = client.connack!;
  expect(properties).toMatchObject({ maximumPacketSize: 1_048_576, responseInformation: 'answers/' });
  expect(properties!.assignedClientIdentifier).toMatch(/^lethe-[0-9a-f]{24}$/);
  expect(properties!.receiveMaximum).toBeGreaterThan(0);
  expect(properties!.topicAliasMaximum).toBeGreaterThan(0);
});

test('a message keeps its properties, user properties in their order', async () => {
  const topic = name('kept');
  const sub = await connect();
  await sub.subscribe(topic, 1);
  const properties = {
    payloadFormatIndicator: true,
    contentType: 'text/plain',
    responseTopic: 'answers/here',
    correlationData: Buffer.from([0, 255, 7]),
    userProperties: { first: ['1', '2'], second: 'zwölf' },
  };
  await (await connect()).publish(topic, 'x', { qos: 1, properties });
  await sub.received(1);
  expect({ ...sub.messages[0]!.properties, userProperties: { ...sub.messages[0]!.properties!.userProperties } }).toEqual(
    properties,
  );
});

test('properties pass between MQTT.js and Mosquitto, both ways', async () => {
  const topic = name('between');
  const [sub, client] = [await mosquittoSub(way(), '-t', topic, '-C', '1', '-q', '1'), await connect()];
  const properties = {
    contentType: 'application/json',
    responseTopic: 'answers/here',
    correlationData: Buffer.from('42'),
    messageExpiryInterval: 600,
    userProperties: { colour: 'blue' },
  };
  await client.publish(topic, 'there', { qos: 1, properties });
  await sub.ended();
  const printed = sub.messages[0]!.properties!;
  expect(printed).toMatchObject({
    'content-type': 'application/json',
    'response-topic': 'answers/here',
    'correlation-data': '42',
    'user-properties': { colour: 'blue' },
  });
  expect(printed['message-expiry-interval']).toBeGreaterThan(500);

  await client.subscribe(topic, 1);
  const given = ['content-type', 'text/x', 'response-topic', 'r/t', 'correlation-data', 'abc'];
  const flags = [0, 2, 4].flatMap((at) => ['-D', 'publish', given[at]!, given[at + 1]!]);
  await mosquittoPub(way(), ['-t', topic, '-q', '1', '-m', 'back', '-D', 'publish', 'user-property', 'a', 'b', ...flags]);
  await client.received(1);
  expect(client.messages[0]!.properties).toMatchObject({
    contentType: 'text/x',
    responseTopic: 'r/t',
    correlationData: Buffer.from('abc'),
    userProperties: { a: 'b' },
  });
});

test('a request finds its answer', async () => {
  const responder = await connect();
  const service = name('service');
  responder.client.on('message', (_topic, payload, { properties }) => {
    const { responseTopic, correlationData } = properties!;
    void responder.publish(responseTopic!, `${payload}, indeed`, { qos: 1, properties: { correlationData: correlationData! } });
  });
  await responder.subscribe(service, 1);
  const asker = await connect({ properties: { requestResponseInformation: true } });
  const responseTopic = `${asker.connack!.properties!.responseInformation}${name('asker')}`;
  await asker.subscribe(responseTopic, 1);
  const correlationData = Buffer.from('question 1');
  await asker.publish(service, 'so', { qos: 1, properties: { responseTopic, correlationData } });
  await asker.received(1);
  expect(asker.messages[0]).toMatchObject({ payload: Buffer.from('so, indeed'), properties: { correlationData } });
});

test('subscription identifiers of every subscription that matches come with the message', async () => {
  const topic = name('identified');
  const client = await connect();
  await client.subscribe(`${topic}/+`, 1, { qos: 1, properties: { subscriptionIdentifier: 7 } });
  await client.subscribe(`${topic}/#`, 2, { qos: 2, properties: { subscriptionIdentifier: 268_435_455 } });
  await client.publish(`${topic}/a`, 'both', { qos: 2 });
  await client.publish(`${topic}/a/b`, 'one', { qos: 2 });
  await client.received(2);
  const identifiers = client.messages.map(({ properties }) => [properties!.subscriptionIdentifier].flat().sort());
  expect(identifiers).toEqual([[268_435_455, 7], [268_435_455]]);
  expect(client.messages.map(({ qos }) => qos)).toEqual([2, 2]);
});

test('topic aliases stand for topics, towards the broker and from it', async () => {
  const topic = name('aliased');
  const sub = await connect({ properties: { topicAliasMaximum: 2 } });
  await sub.subscribe(`${topic}/#`, 1);
  const pub = await connect({ autoAssignTopicAlias: true });
  const topics = ['a', 'b', 'c', 'a', 'b', 'a'].map((level) => `${topic}/${level}`);
  for (const [index, own] of topics.entries()) await pub.publish(own, `${index}`, { qos: 1 });
  await sub.received(topics.length);
  expect(sub.messages.map((message) => message.topic)).toEqual(topics);
  // Two aliases are allowed: the third topic is written out each time.
  expect(sub.arrived.map((packet) => packet.topic)).toEqual([...topics.slice(0, 3), '', '', '']);
  expect(sub.arrived.every(({ properties }) => (properties?.topicAlias ?? 0) <= 2)).toBe(true);
});

test('a shared subscription gives each message to one member, in turn', async () => {
  const topic = name('shared');
  const members = await Promise.all([connect(), connect({ level: 4 }), connect()]);
  for (const member of members) await member.subscribe(`$share/group/${topic}/#`, 1);
  const other = await connect();
  await other.subscribe(`$share/others/${topic}/+`, 1);
  const payloads = Array.from({ length: 30 }, (_, index) => String(index));
  const pub = await connect();
  for (const payload of payloads) await pub.publish(`${topic}/a`, payload, { qos: 1 });
  await Promise.all(members.map((member) => member.received(10)));
  await other.received(30);
  expect(members.map(({ messages }) => messages.length)).toEqual([10, 10, 10]);
  expect(members.flatMap((member) => member.payloads).sort()).toEqual([...payloads].sort());
  expect(other.payloads).toEqual(payloads);
});

test("a shared subscription's messages go to the members that are left", async () => {
  const topic = name('left');
  const [stays, leaves] = await Promise.all([
    mosquittoSub(way(), '-q', '1', '-t', `$share/g/${topic}`),
    mosquittoSub(way(), '-q', '1', '-t', `$share/g/${topic}`, '-C', '1'),
  ]);
  const publish = (payloads: string[]) => mosquittoPub(way(), ['-q', '1', '-t', topic, '-l'], `${payloads.join('\n')}\n`);
  await publish(['one', 'other']);
  await leaves.ended();
  expect(leaves.messages).toHaveLength(1);
  await publish(['1', '2', '3', '4']);
  await stays.received(5);
  expect(stays.payloads.slice(1)).toEqual(['1', '2', '3', '4']);
});

test('expired messages do not arrive, others say how long they have left', async () => {
  const topic = name('expiring');
  const identity = { clientId: name('session'), clean: false, properties: { sessionExpiryInterval: 600 } };
  const away = await connect(identity);
  await away.subscribe(`${topic}/queued`, 1);
  await away.end();
  const client = await connect();
  for (const seconds of [1, 600]) {
    const expiring = { qos: 1 as const, properties: { messageExpiryInterval: seconds } };
    await client.publish(`${topic}/queued`, `queued ${seconds}`, expiring);
    await client.publish(`${topic}/kept/${seconds}`, `kept ${seconds}`, { ...expiring, retain: true });
  }
  // A will delay longer than the shorter expiry tells when that has passed.
  const clock = name('clock');
  await client.subscribe(clock);
  const will = {
    topic: clock,
    payload: Buffer.from('ding'),
    qos: 0,
    retain: false,
    properties: { willDelayInterval: 2 },
  } as const;
  (await connect({ will, properties: { sessionExpiryInterval: 600 } })).cut();
  await client.received(1);
  expect(client.payloads).toEqual(['ding']);

  const back = await connect(identity);
  await back.received(1);
  await back.subscribe(`${topic}/kept/+`, 1);
  await back.received(2);
  await back.publish(`${topic}/queued`, 'after', { qos: 1 });
  await back.received(3);
  expect(back.payloads).toEqual(['queued 600', 'kept 600', 'after']);
  for (const { properties } of back.messages.slice(0, 2)) {
    expect(properties!.messageExpiryInterval).toBeGreaterThan(500);
    expect(properties!.messageExpiryInterval).toBeLessThanOrEqual(599);
  }
});

test('a session ends at its expiry, and its will goes out then', async () => {
  const topic = name('ended');
  const clientId = name('session');
  const watch = await connect();
  await watch.subscribe(topic);
  const will = { topic, payload: Buffer.from('ended'), qos: 0, retain: false, properties: { willDelayInterval: 600 } } as const;
  const first = await connect({ clientId, clean: false, will, properties: { sessionExpiryInterval: 1 } });
  first.cut();
  await watch.received(1);
  const second = await connect({ clientId, clean: false, properties: { sessionExpiryInterval: 600 } });
  expect(second.connack!.sessionPresent).toBe(false);
  second.cut();
  const third = await connect({ clientId, clean: false, properties: { sessionExpiryInterval: 600 } });
  expect(third.connack!.sessionPresent).toBe(true);
  // DISCONNECT may shorten it.
  await third.client.endAsync(false, { properties: { sessionExpiryInterval: 0 } });
  const fourth = await connect({ clientId, clean: false });
  expect(fourth.connack!.sessionPresent).toBe(false);
});

test('no local, retain as published and retain handling hold', async () => {
  const topic = name('options');
  const client = await connect();
  const other = await connect();
  await other.publish(topic, 'kept', { qos: 1, retain: true });
  await client.subscribe(topic, 1, { qos: 1, nl: true, rap: true, rh: 2 });
  await client.publish(topic, 'own', { qos: 1 });
  await other.publish(topic, 'retained', { qos: 1, retain: true });
  await other.publish(topic, 'live', { qos: 1 });
  await client.received(2);
  // An existing subscription is owed nothing with retain handling 1.
  await client.subscribe(topic, 1, { qos: 1, rh: 1 });
  await other.publish(topic, 'last', { qos: 1, retain: true });
  await client.received(3);
  expect(client.messages.map(({ payload, retain }) => [String(payload), retain])).toEqual([
    ['retained', true],
    ['live', false],
    ['last', false],
  ]);
});

test('a message that is too large for its receiver is left out for it alone', async () => {
  const topic = name('large');
  const small = await connect({ properties: { maximumPacketSize: 200 } });
  const large = await connect();
  for (const client of [small, large]) await client.subscribe(topic, 1);
  await large.publish(topic, 'x'.repeat(300), { qos: 1 });
  await large.publish(topic, 'short', { qos: 1 });
  await Promise.all([small.received(1), large.received(2)]);
  expect(small.payloads).toEqual(['short']);
});

test('the broker sends no more than the receive maximum before it is acknowledged', async () => {
  const topic = name('window');
  const client = await connect({ properties: { receiveMaximum: 2 } });
  let unacknowledged = 0;
  let most = 0;
  client.client.on('packetreceive', ({ cmd }) => {
    if (cmd === 'publish') most = Math.max(most, ++unacknowledged);
  });
  client.client.on('packetsend', ({ cmd }) => {
    if (cmd === 'puback') unacknowledged--;
  });
  await client.subscribe(topic, 1);
  const pub = await connect();
  const payloads = Array.from({ length: 40 }, (_, index) => String(index));
  await Promise.all(payloads.map((payload) => pub.publish(topic, payload, { qos: 1 })));
  await client.received(payloads.length);
  expect(client.payloads).toEqual(payloads);
  expect(most).toBeLessThanOrEqual(2);
});

test('reason codes reach the client', async () => {
  const client = await connect();
  await client.publish(name('nobody'), 'x', { qos: 1 });
  await client.publish(name('nobody'), 'x', { qos: 2 });
  expect(client.packets.filter(({ cmd }) => cmd === 'puback' || cmd === 'pubrec')).toMatchObject([
    { cmd: 'puback', reasonCode: 0x10 },
    { cmd: 'pubrec', reasonCode: 0x10 },
  ]);
  await client.client.unsubscribeAsync('never/subscribed');
  expect(client.packets.at(-1)).toMatchObject({ cmd: 'unsuback', granted: [0x11] });
  expect(await codeOf(client.publish('$SYS/broker/version', 'x', { qos: 1 }))).toBe(0x87);
  expect(await codeOf(client.publish('$SYS/broker/version', 'x', { qos: 2 }))).toBe(0x87);
  expect(await refusalOf({ port: served.port('tcp'), level: 5, properties: { authenticationMethod: 'SCRAM' } })).toBe(0x8c);
  // A shared subscription must not be no local: a protocol error.
  await client.subscribe('$share/g/t', 0, { qos: 0, nl: true }).catch(() => {});
  await client.until('the broker ends the connection', () => client.disconnectReason !== null && client.closed);
  expect(client.disconnectReason).toBe(0x82);
});
