// Wills as a lever: a message that the broker publishes for one who may not, where nobody may, or for a crowd at once.
import { expect, test } from 'vitest';
import { connect, disconnect, property, subscribe } from '../conformance/bytes.ts';
import { bothLevels, delivered, subscribed, useRig } from '../conformance/rig.ts';
import { until } from '../network/temporary.ts';
import { temporaryFile } from '../security/temporary.ts';
import { openCrowd } from './peer.ts';

const rig = useRig();
const restricted = useRig([`auth.acl_file=${temporaryFile('topic readwrite open/#\ntopic read #\ntopic read $SYS/#\n')}`]);

test.each(bothLevels)('MQTT %s: a will below $SYS is never published, nor retained', async (_version, level) => {
  const listener = await rig.connect(5);
  await subscribed(listener, {
    filters: [
      ['$SYS/will/#', 1],
      ['will', 1],
    ],
  });
  const forger = await rig.connect(level, { will: { topic: '$SYS/will/forged', payload: 'x', qos: 1, retain: true } });
  const honest = await rig.connect(level, { will: { topic: 'will', payload: 'honest' } });
  forger.drop();
  honest.drop();
  expect((await delivered(listener)).payload).toBe('honest');
  await until('both are gone', () => rig.broker.counts().connections === 1);
  await listener.expectSilence();
  const later = await rig.connect(5);
  await subscribed(later, { filters: [['$SYS/will/#', 0]] });
  await later.expectSilence();
});

test.each(bothLevels)('MQTT %s: a will without the right to publish it reaches nobody', async (_version, level) => {
  const listener = await restricted.connect(5);
  await subscribed(listener, { filters: [['#', 1]] });
  const intruder = await restricted.connect(level, { will: { topic: 'closed/door', payload: 'x', qos: 2, retain: true } });
  const honest = await restricted.connect(level, { will: { topic: 'open/door', payload: 'honest' } });
  intruder.drop();
  await until('it is gone', () => restricted.broker.counts().connections === 2);
  honest.drop();
  expect((await delivered(listener)).payload).toBe('honest');
  await listener.expectSilence();
  const later = await restricted.connect(5);
  await subscribed(later, { filters: [['closed/#', 0]] });
  await later.expectSilence();
});

test('five hundred clients that die at once are mourned once each', async () => {
  const listener = await rig.connect(5);
  await subscribed(listener, { filters: [['mourned/#', 1]] });
  const crowd = await openCrowd(rig.broker.tcp, 500);
  crowd.forEach((peer, at) => {
    void peer.send(connect(5, { clientId: `mortal-${at}`, will: { topic: `mourned/${at}`, payload: `${at}`, qos: 0 } }));
  });
  await Promise.all(crowd.map((peer) => peer.until('CONNACK', () => peer.receivedBytes > 0)));
  for (const peer of crowd) peer.drop();
  const seen = new Set<string>();
  for (let at = 0; at < crowd.length; at++) seen.add((await delivered(listener)).payload);
  expect(seen.size).toBe(crowd.length);
  await listener.expectSilence();
});

test('a will that its own taker-over triggers is published once, and its delay is no way round DISCONNECT', async () => {
  const listener = await rig.connect(5);
  await subscribed(listener, { filters: [['last/+', 0]] });
  const clientId = rig.name('heir');
  const lasting = [property.sessionExpiryS(600)];
  const will = (payload: string, delayS: number) => ({ topic: 'last/word', payload, properties: [property.willDelayS(delayS)] });
  const first = await rig.connect(5, { clientId, properties: lasting, will: will('first', 0) });
  const second = await rig.connect(5, { clientId, clean: false, properties: lasting, will: will('second', 600) });
  await first.expectFault(0x8e);
  expect((await delivered(listener)).payload).toBe('first');
  second.drop();
  const third = await rig.connect(5, { clientId, clean: false, properties: lasting, will: will('third', 600) });
  third.send(disconnect());
  await third.expectClosed();
  const fourth = await rig.connect(5, { clientId });
  fourth.send(subscribe(5, { filters: [['last/+', 0]] }));
  await fourth.expect('90 04 00 01 00 00');
  await fourth.expectSilence();
  await listener.expectSilence();
});
