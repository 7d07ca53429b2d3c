// A broker whose spool has no room, or no disk any more: MQTT 5 publishers are refused with 0x97, MQTT 3 ones are disconnected rather than
// acknowledged, and everything that needs no disk goes on. Over doubles in this process; and as a process of its own on a small
// file system, where the tests may make one.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../engine/clock.ts';
import { type Broker, createBroker, createLog } from '../../engine/lethe.ts';
import { Reason } from '../../protocol/packet.ts';
import { connect, publish } from '../conformance/bytes.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { serve } from '../end-to-end/served.ts';
import { Client } from '../forgetting/client.ts';
import { Outcome } from './memory-disk.ts';
import { SteppedSpool } from './stepped-spool.ts';

const TOPIC = 'canary/topic';
const SECRETS = ['canary', 'away-subscriber', 'five-publisher', 'three-publisher', 'payload-'];
const QOS0_BARRIER = 'barrier';

/** Clients around a broker: one that is away and is owed what comes, one that is there at QoS 0, and a publisher. */
async function cast(port: number) {
  const away = await Client.connect(port, { clientId: 'away-subscriber' });
  await away.subscribe('canary/#', 1);
  await away.leave();
  const here = await Client.connect(port, { clientId: 'here', clean: true, expiryS: 0 });
  await here.subscribe('#', 0);
  const publisher = await Client.connect(port, { clientId: 'five-publisher', clean: true, expiryS: 0 });
  return { here, publisher };
}

/** A message through the broker and back: whatever it has written to the publisher before has come. */
async function barrier({ here, publisher }: { here: Client; publisher: Client }): Promise<void> {
  const before = here.payloads.filter((payload) => payload === QOS0_BARRIER).length;
  await publisher.publish({ topic: 'other', payload: QOS0_BARRIER, qos: 0 });
  const count = () => here.payloads.filter((payload) => payload === QOS0_BARRIER).length;
  await here.until('a QoS 0 message comes through', () => count() > before);
}

/** A publish by an MQTT 3.1.1 client to somebody who is away: the connection closes, and nothing is acknowledged. */
async function expectClosedForMqtt3(port: number, qos: 1 | 2): Promise<void> {
  const three = await RawClient.connect(port, 4);
  three.send(connect(4, { clientId: `three-publisher-${qos}` }));
  await three.expect('20 02 00 00');
  three.send(publish(4, { topic: TOPIC, payload: 'payload-three', qos, packetId: 9 }));
  await three.expectClosed();
}

/** What the absent subscriber was owed, after all. */
async function owedTo(port: number, count: number): Promise<string[]> {
  const back = await Client.connect(port, { clientId: 'away-subscriber' });
  await back.got(count);
  await back.publish({ topic: 'other', qos: 1 }); // and nothing after it
  const { payloads } = back;
  await back.leave();
  return payloads;
}

function expectNobodyNamed(lines: readonly string[]): void {
  for (const line of lines) for (const secret of SECRETS) expect(line).not.toContain(secret);
}

describe('in this process', () => {
  let spool: SteppedSpool;
  let broker: Broker;
  let stopSteps: () => void;
  const lines: string[] = [];

  async function start(remains?: ReturnType<SteppedSpool['remains']>): Promise<void> {
    spool = new SteppedSpool({ clock: systemClock, ...(remains === undefined ? {} : { remains }) });
    stopSteps = spool.run();
    broker = await createBroker({ store: spool.store, log: createLog('debug', (line) => lines.push(line), Date.now) });
  }

  beforeEach(async () => {
    lines.length = 0;
    await start();
  });

  afterEach(async () => {
    await broker.stop();
    stopSteps();
    expectNobodyNamed(lines);
  });

  test('a full disk: refusals while it lasts, nothing acknowledged that is not kept, and everything as before when there is room', async () => {
    const { here, publisher } = await cast(broker.tcp);
    const say = (payload: string) => publisher.publish({ topic: TOPIC, payload });
    expect(await say('payload-before')).toBe(Reason.SUCCESS);
    spool.disk.outcome = () => Outcome.FULL;
    let answered = false;
    const taken = say('payload-taken').then((reason) => {
      answered = true;
      return reason;
    });
    while (!spool.store.isRefusing) await barrier({ here, publisher });
    // Answers come in order: who has none yet is not told of a refusal either. Another one is.
    const other = await Client.connect(broker.tcp, { clientId: 'other', clean: true, expiryS: 0 });
    for (const qos of [1, 2] as const) {
      expect(await other.publish({ topic: TOPIC, payload: 'payload-refused', qos })).toBe(Reason.QUOTA_EXCEEDED);
    }
    expect(await other.publish({ topic: TOPIC, payload: 'payload-refused', retain: true })).toBe(Reason.QUOTA_EXCEEDED);
    await expectClosedForMqtt3(broker.tcp, 1);
    await expectClosedForMqtt3(broker.tcp, 2);
    // What needs no disk goes on: QoS 0 to those who are there, QoS 1 and 2 to sessions that end with their connections.
    await barrier({ here, publisher });
    const fleeting = await Client.connect(broker.tcp, { clientId: 'fleeting', clean: true, expiryS: 0 });
    await fleeting.subscribe('fleeting', 2);
    for (const qos of [1, 2] as const) expect(await other.publish({ topic: 'fleeting', payload: `${qos}`, qos })).toBe(0);
    await fleeting.got(2);
    expect(answered).toBe(false);

    spool.disk.outcome = () => Outcome.DONE;
    expect(await taken).toBe(Reason.SUCCESS);
    expect(await say('payload-after')).toBe(Reason.SUCCESS);
    expect(await owedTo(broker.tcp, 3)).toEqual(['payload-before', 'payload-taken', 'payload-after']);
    expect(lines.filter((line) => line.includes('disk is full'))).toHaveLength(1);
    expect(lines.filter((line) => line.includes('room again'))).toHaveLength(1);
  });

  test('a broken disk: nothing more is acknowledged that should be kept; the next start has everything that was', async () => {
    const { here, publisher } = await cast(broker.tcp);
    const say = (payload: string) => publisher.publish({ topic: TOPIC, payload });
    expect(await say('payload-before')).toBe(Reason.SUCCESS);
    spool.disk.outcome = () => Outcome.BROKEN;
    let answered = false;
    const lost = say('payload-lost').then(
      () => {
        answered = true;
      },
      () => {}, // it stays without an answer until the broker ends
    );
    while (!spool.store.isRefusing) await barrier({ here, publisher });
    spool.disk.outcome = () => Outcome.DONE;
    const other = await Client.connect(broker.tcp, { clientId: 'other', clean: true, expiryS: 0 });
    expect(await other.publish({ topic: TOPIC, payload: 'payload-refused' })).toBe(Reason.QUOTA_EXCEEDED);
    await expectClosedForMqtt3(broker.tcp, 1);
    await barrier({ here, publisher });
    expect(answered).toBe(false);
    expect(lines.filter((line) => line.includes('the spool failed and acknowledges nothing more'))).toHaveLength(1);
    await broker.stop();
    await lost;
    expect(answered).toBe(false);
    stopSteps();
    await start(spool.remains());
    expect(await owedTo(broker.tcp, 1)).toEqual(['payload-before']);
  });

  test('a damaged message: it is told by number and size, and its neighbours come', async () => {
    const { publisher } = await cast(broker.tcp);
    for (let i = 0; i < 5; i++) expect(await publisher.publish({ topic: TOPIC, payload: `payload-${i}` })).toBe(Reason.SUCCESS);
    const value = spool.disk.entries.find(({ key }) => key[0] === 3)!;
    spool.disk.damage(value.key, (bytes) => {
      bytes[100]! ^= 4;
    });
    const found = await owedTo(broker.tcp, 4);
    expect(found).toHaveLength(4);
    expect(found).toEqual([...found].sort());
    expect(
      lines.filter((line) => /a value of \d+ bytes in the spool is damaged: 1 messages in it are lost/.test(line)),
    ).toHaveLength(1);
    expect(await publisher.publish({ topic: TOPIC, payload: 'payload-after' })).toBe(Reason.SUCCESS);
    expect(await owedTo(broker.tcp, 1)).toEqual(['payload-after']);
  });
});

describe('as a process on a small file system', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-full-'));
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', folder]).status === 0;
  afterAll(() => {
    if (isMounted) execFileSync('umount', ['--lazy', folder]);
    rmSync(folder, { recursive: true, force: true });
  });

  test.skipIf(!isMounted)(
    'it is filled until it refuses, goes on with the rest, and has everything that it acknowledged',
    async () => {
      const toml = '[spool]\ndisk_floor_bytes = 0\n';
      const data = join(folder, 'data');
      const served = await serve(toml, ['--data', data]);
      const port = served.port('tcp');
      const { here, publisher } = await cast(port);
      const filler = 'x'.repeat(60_000);
      const acknowledged: string[] = [];
      const say = async (payload: string): Promise<number> => {
        const reason = await publisher.publish({ topic: TOPIC, payload });
        if (reason === 0) acknowledged.push(payload);
        return reason;
      };
      // One that is taken just before the disk is full stays without an answer until there is room.
      const full = served.child.until('the disk is full', () => served.child.stderr.includes('the disk is full')).then(() => -1);
      let waiting: Promise<number> | null = null;
      for (let reason = 0; reason === 0; ) {
        const answer = say(`payload-${acknowledged.length} ${filler}`);
        reason = await Promise.race([answer, full]);
        if (reason < 0) waiting = answer;
      }
      await full;
      expect(acknowledged.length).toBeGreaterThan(20);
      const other = await Client.connect(port, { clientId: 'other', clean: true, expiryS: 0 });
      expect(await other.publish({ topic: TOPIC, payload: 'payload-refused' })).toBe(Reason.QUOTA_EXCEEDED);
      await expectClosedForMqtt3(port, 1);
      await barrier({ here, publisher });
      expect(served.child.exit).toBeNull();
      expect(served.child.stderr.match(/the disk is full/g)).toHaveLength(1);

      execFileSync('mount', ['-o', 'remount,size=64m', folder]);
      if (waiting !== null) expect(await waiting).toBe(Reason.SUCCESS);
      let reason: number = Reason.QUOTA_EXCEEDED;
      while (reason === Reason.QUOTA_EXCEEDED) reason = await say('payload-after');
      expect(reason).toBe(Reason.SUCCESS);
      served.child.kill('SIGKILL');
      await served.child.ended();
      expectNobodyNamed(served.child.stderr.split('\n'));

      const again = await serve(toml, ['--data', data]);
      const found = await owedTo(again.port('tcp'), acknowledged.length);
      expect(found.map((payload) => payload.slice(0, 12))).toEqual(acknowledged.map((payload) => payload.slice(0, 12)));
      expect(await again.stop()).toEqual({ code: 0, signal: null });
    },
  );
});
