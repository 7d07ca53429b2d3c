// Crowds that come and go: many clients for one name, many names for one client, and what they leave behind when they are gone.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connect, disconnect, type Level, pingreq, property, publish, subscribe } from '../conformance/bytes.ts';
import { readPublish, readReason } from '../conformance/decode.ts';
import { comesTo, published, settled, useRig } from '../conformance/rig.ts';
import { until } from '../network/temporary.ts';
import { allClosed, openCrowd, type Peer } from './peer.ts';
import { Witness } from './witness.ts';

const rig = useRig(['limits.connections_max=2000']);
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.open(rig.broker.tcp);
});
const fighters: Peer[] = [];
afterEach(() => {
  for (const peer of fighters.splice(0)) peer.drop();
});
beforeEach(() => until('only the witness is left', () => rig.broker.counts().connections === 2));
afterAll(() => witness.drop());

describe.each<[string, Level]>([
  ['3.1.1', 4],
  ['5.0', 5],
])('MQTT %s: 32 connections fight for one client identifier', (_version, level) => {
  test.each([
    ['a session that stays', false],
    ['a session that begins anew each time', true],
  ])('%s: one wins, the others are told, and nothing is lost or doubled', async (_session, clean) => {
    const clientId = rig.name('coveted');
    const topic = rig.name('prize');
    const hello = Buffer.concat([
      connect(level, { clientId, clean, ...(level === 5 ? { properties: [property.sessionExpiryS(60)] } : {}) }),
      subscribe(level, { filters: [[topic, 1]] }),
    ]);
    const sessionsBefore = await settled(() => rig.broker.counts().sessions);
    const all: Peer[] = [];
    for (let round = 0; round < 10; round++) {
      const crowd = await openCrowd(rig.broker.tcp, 32);
      all.push(...crowd);
      fighters.push(...crowd);
      for (const peer of crowd) void peer.send(hello);
      await until(`all but one are closed in round ${round}`, () => all.filter(({ closed }) => !closed).length === 1);
      await comesTo(() => rig.broker.counts().sessions, sessionsBefore + 1);
    }
    const winner = all.find(({ closed }) => !closed)!;
    for (const loser of all) {
      if (loser === winner) continue;
      const types = loser.packets.map(({ firstByte }) => firstByte);
      expect(types.slice(0, 2), 'it was let in').toEqual([0x20, 0x90]);
      if (level === 5) expect(readReason(loser.packets.at(-1)!).reason).toBe(0x8e);
    }
    await winner.until('CONNACK and SUBACK', () => winner.packets.length >= 2);
    const before = winner.packets.length;
    expect(before, 'CONNACK and SUBACK').toBe(2);
    await published(await rig.connect(5), { topic, payload: 'prize', qos: 1 });
    void winner.send(pingreq);
    await winner.until('PINGRESP', () => winner.packets.at(-1)?.firstByte === 0xd0);
    const [prize, ...rest] = winner.packets.slice(before);
    expect(readPublish(prize!, level).payload).toBe('prize');
    expect(rest.map(({ firstByte }) => firstByte)).toEqual([0xd0]);
    await witness.isServed();
  });
});

test('a client that takes itself over on one connection does not exist: a second CONNECT is a protocol error', async () => {
  const client = await rig.connect(5, { clientId: 'self' });
  client.send(connect(5, { clientId: 'self' }));
  await client.expectFault(0x82);
});

describe('two thousand reconnects', () => {
  test('of clean sessions leave nothing behind', async () => {
    const before = await settled(() => rig.broker.counts());
    for (let round = 0; round < 20; round++) {
      const peers = await openCrowd(rig.broker.tcp, 100);
      peers.forEach((peer, index) => {
        const parts = [connect(5, { clientId: `clean-${index}` }), subscribe(5, { filters: [[`clean/${index}`, 1]] })];
        void peer.send(Buffer.concat(round % 2 === 0 ? [...parts, disconnect()] : parts));
      });
      if (round % 2 === 0) await allClosed(peers);
      else await Promise.all(peers.map((peer) => peer.until('SUBACK', () => peer.received.includes(Buffer.from([0x90, 4])))));
      for (const peer of peers) peer.drop();
    }
    await until('all are gone', () => rig.broker.counts().connections === before.connections);
    await comesTo(() => rig.broker.counts(), before);
    await witness.isServed();
  });

  test('of sessions that stay leave one session for each name, and nothing when these end', async () => {
    const before = await settled(() => rig.broker.counts());
    const lasting = (expiryS: number) => [property.sessionExpiryS(expiryS)];
    for (let round = 0; round < 20; round++) {
      const peers = await openCrowd(rig.broker.tcp, 100);
      const last = round === 19;
      peers.forEach((peer, index) => {
        const hello = connect(5, { clientId: `stay-${index}`, clean: false, properties: lasting(last ? 0 : 600) });
        void peer.send(Buffer.concat([hello, subscribe(5, { filters: [[`stay/${index}`, 1]] })]));
      });
      await Promise.all(peers.map((peer) => peer.until('SUBACK', () => peer.received.includes(Buffer.from([0x90, 4])))));
      await comesTo(() => rig.broker.counts().sessions, before.sessions + 100);
      await comesTo(() => rig.broker.counts().subscriptions, before.subscriptions + 100);
      for (const peer of peers) peer.drop();
    }
    await until('all are gone', () => rig.broker.counts().connections === before.connections);
    await comesTo(() => rig.broker.counts(), before);
    await witness.isServed();
  });
});

test('connections beyond the limit are refused with 0x89 and cost those that are in nothing', async () => {
  const room = 2_000 - rig.broker.counts().connections;
  const inside = await openCrowd(rig.broker.tcp, room);
  await until('all are in', () => rig.broker.counts().connections === 2_000);
  const answer = async (level: Level): Promise<string> => {
    const late = await rig.open(level);
    late.send(connect(level, { clientId: 'late' }));
    const { bytes } = await late.nextPacket();
    if (bytes[3] !== 0) await late.expectClosed();
    late.drop();
    return bytes.toString('hex');
  };
  await comesTo(() => answer(5), '2003008900');
  await comesTo(() => answer(4), '20020003');
  // Beyond the few that are told why, the door is shut.
  const crowd = await openCrowd(rig.broker.tcp, 400);
  await until('some are shut out', () => crowd.some(({ closed }) => closed));
  expect(rig.broker.counts().connections).toBeLessThanOrEqual(2_000 + 256);
  await witness.isServed();
  for (const peer of [...inside, ...crowd]) peer.drop();
  await until('there is room again', () => rig.broker.counts().connections < 100);
  const next = await rig.connect(5, { clientId: 'next' });
  next.send(publish(5, { topic: 'a' }));
  await next.expectSilence();
});
