// 17. Arithmetic of numeric settings at 0 and at their maximum. Deeper: ../numbers.test.ts, test/cli/config-commands.test.ts.
// Red when: a 0 means "none at all" where it should mean "no bound" or the other way round, an interval overflows a timer and fires at once, or a value outside its range is taken.
import { describe, expect, test } from 'vitest';
import { snakeCase } from '../../../engine/config/schema.ts';
import { type Limits, limitRanges } from '../../../protocol/limits.ts';
import { startBroker } from '../../broker.ts';
import { connect, property, puback, publish, subscribe } from '../../conformance/bytes.ts';
import { RawClient } from '../../conformance/raw-client.ts';
import { delivered } from '../../conformance/rig.ts';
import { temporaryFolder } from '../../forgetting/place.ts';

const names = Object.keys(limitRanges) as (keyof Limits)[];
const limitsAt = (end: 0 | 1, but: readonly (keyof Limits)[] = []) =>
  names.filter((name) => !but.includes(name)).map((name) => `limits.${snakeCase(name)}=${limitRanges[name][end]}`);

/** A client comes, and one message of each QoS goes round. */
async function serves(set: readonly string[]): Promise<void> {
  const broker = await startBroker(set);
  const client = await RawClient.connect(broker.tcp, 4);
  client.send(connect(4, { clientId: 'c', clean: false }), subscribe(4, { filters: [['t', 1]] }));
  await client.expect('20 02 00 00');
  await client.expect('90 03 00 01 01');
  client.send(publish(4, { topic: 't', payload: '0' }), publish(4, { topic: 't', payload: '1', qos: 1 }));
  expect((await delivered(client)).payload).toBe('0');
  // PUBACK and the message come in either order: with a data directory it waits for the commit.
  const types = [await client.nextPacket(), await client.nextPacket()].map(({ type }) => type);
  expect(types.sort()).toEqual([3, 4]);
  client.send(puback(1));
  await client.expectSilence();
  client.drop();
  await broker.stop();
}

describe('serves with', () => {
  // But for the 10 ms in which a CONNECT must have come, which a loaded machine may need.
  test('every limit at its smallest', () => serves(limitsAt(0, ['connectTimeoutMs'])));

  // What is reserved at its largest is ../numbers.test.ts's, in a process of its own.
  test('every limit at its largest', () =>
    serves(limitsAt(1, ['trieNodesMax', 'trieSubscriptionsMax', 'subscriptionsPerClientMax', 'topicCacheEntries'])));

  test.each<[string, string[]]>([
    [
      'intervals at 0 and 1',
      ['server.sys_interval_s=0', 'spool.commit_window_ms=0', 'spool.max_retention_s=1', 'session.v3_expiry_s=0'],
    ],
    [
      'intervals at their largest',
      [
        'spool.commit_window_ms=1000',
        'spool.erase_within_ms=3600000',
        'spool.max_retention_s=4294967295',
        'spool.disk_floor_bytes=0',
      ],
    ],
  ])('%s, in memory and on a disk', async (_what, set) => {
    await serves(set);
    await serves([...set, `server.data_dir=${temporaryFolder()}`]);
  });
});

test('the longest intervals do not fire at once', async () => {
  const most = 4_294_967_295;
  const broker = await startBroker([
    `limits.session_expiry_max_s=${most}`,
    `spool.max_retention_s=${most}`,
    'limits.connect_timeout_ms=3600000',
    'server.stop_timeout_ms=500',
  ]);
  const client = await RawClient.connect(broker.tcp, 5);
  const fields = { clientId: 'c', keepAliveS: 65_535, properties: [property.sessionExpiryS(most)] };
  client.send(connect(5, fields), subscribe(5, { filters: [['t', 1]] }));
  await client.expect('20 .. 00 00 *');
  await client.expect('90 *');
  client.drop();
  const publisher = await RawClient.connect(broker.tcp, 5);
  publisher.send(connect(5), publish(5, { topic: 't', payload: 'waits', qos: 1, properties: [property.messageExpiryS(most)] }));
  await publisher.expect('20 .. 00 00 *');
  await publisher.expect('40 02 00 01');
  const back = await RawClient.connect(broker.tcp, 5);
  back.send(connect(5, { ...fields, clean: false }));
  await back.expect('20 .. 01 00 *');
  const { payload, properties } = await delivered(back);
  expect(payload).toBe('waits');
  expect(Number(properties.find(({ id }) => id === 2)?.value)).toBeGreaterThan(most - 60);
  await broker.stop();
});

describe('is refused, by its name', () => {
  test.each([
    ['limits.connections_max', '0'],
    ['limits.connections_max', '-1'],
    ['limits.connections_max', '1e400'],
    ['limits.connections_max', '1.5'],
    ['limits.connections_max', 'NaN'],
    ['limits.connections_max', 'Infinity'],
    ['limits.connections_max', '""'],
    ['limits.connections_max', '9007199254740993'],
    ['limits.packet_bytes_max', '99999999999GiB'],
    ['limits.packet_bytes_max', '-1MiB'],
    ['limits.packet_bytes_max', '10s'],
    ['limits.connect_timeout_ms', '0'],
    ['limits.connect_timeout_ms', '10000000d'],
    ['limits.backpressure_ms', '1MiB'],
    ['limits.session_expiry_max_s', '4294967296'],
    ['limits.session_expiry_max_s', '1500ms'],
    ['server.threads', '0'],
    ['server.threads', '-1'],
    ['server.threads', '100000'],
    ['session.maximum_qos', '3'],
    ['listener.tcp.port', '65536'],
    ['listener.tcp.port', '-1'],
    ['spool.erase_within_ms', '0'],
    ['spool.max_retention_s', '0'],
  ])('%s = %s', async (key, value) => {
    const outcome = await startBroker([`${key}=${value}`]).then(
      async (broker) => {
        await broker.stop();
        return 'it started';
      },
      (error: unknown) => (error as Error).message,
    );
    expect(outcome).toContain(key);
  });
});
