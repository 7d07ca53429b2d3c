// Who is turned away at the door: addresses of the ban list, and everybody while the event loop does not keep up.
import { describe, expect, test } from 'vitest';
import type { Log } from '../../engine/log.ts';
import { OverloadWatch } from '../../engine/shards/overload.ts';
import { Reason } from '../../protocol/packet.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { connect } from '../conformance/bytes.ts';
import { Peer } from '../hostile/peer.ts';
import { handshake } from '../hostile/web-frames.ts';
import { SeededRandom } from '../seeded-random.ts';
import { shardOver } from '../sessions/shard.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { brokerOf, greeted, joined, opened } from './rig.ts';

/** The status line that a handshake gets. */
async function statusOf(port: number): Promise<string> {
  const peer = await Peer.open(port);
  void peer.send(handshake());
  await peer.until('an answer', () => peer.received.includes('\r\n'));
  return peer.received.toString('latin1').split('\r\n')[0]!;
}

describe('the ban list', () => {
  test('closes before a byte is said, and answers 403 to a WebSocket', async () => {
    const broker = await brokerOf("[limits]\nbanned_networks = ['10.0.0.0/8', '127.0.0.0/30']\n");
    const client = await opened(broker.tcp);
    client.send(connect(5, { clientId: 'c' }));
    await client.expectClosed();
    expect(await statusOf(broker.ws)).toBe('HTTP/1.1 403 Forbidden');
  });

  test('goes by the address that a trusted proxy names', async () => {
    const broker = await brokerOf(`[limits]
banned_networks = ['10.0.0.0/8', 'fd00::/8']
[[listener]]
name = 'tcp'
transport = 'tcp'
proxy_protocol = true
proxy_trusted = ['127.0.0.1']
`);
    const from = async (family: string, source: string, destination: string) => {
      const client = await opened(broker.tcp);
      client.send(Buffer.from(`PROXY ${family} ${source} ${destination} 4000 1883\r\n`), connect(5, { clientId: 'c' }));
      return client;
    };
    await (await from('TCP4', '10.9.9.9', '127.0.0.1')).expectClosed();
    await (await from('TCP6', 'fd00::1', '::1')).expectClosed();
    await (await from('TCP4', '11.9.9.9', '127.0.0.1')).expect('20 .. 00 00 *');
  });
});

describe('overload', () => {
  const DELAY_MS = 300;

  /** Keeps the event loop, which is the broker's too, from turning. */
  function block(ms: number): Promise<void> {
    for (const endMs = performance.now() + ms; performance.now() < endMs; );
    return new Promise((resolve) => setImmediate(resolve));
  }

  test('new connections are refused (0x89, 503), those that are there are served; it ends by itself', async () => {
    const broker = await brokerOf(`[limits]\noverload_delay_ms = ${DELAY_MS}\n`, undefined, 1);
    const inside = await joined(broker.tcp, { clientId: 'inside' });
    let reason: number = Reason.SUCCESS;
    for (let tries = 0; tries < 20 && reason === Reason.SUCCESS; tries++) {
      for (let i = 0; i < 3; i++) await block(3 * DELAY_MS);
      const { client, connack } = await greeted(broker.tcp, { clientId: `new ${tries}` });
      reason = connack.reason;
      client.drop();
    }
    expect(reason).toBe(Reason.SERVER_BUSY);
    expect(await statusOf(broker.ws)).toBe('HTTP/1.1 503 Overloaded');
    await inside.expectSilence();
    await expect
      .poll(async () => (await greeted(broker.tcp, { clientId: 'later' })).connack.reason, { interval: 100, timeout: 20_000 })
      .toBe(Reason.SUCCESS);
  });

  test('one late look is not overload, and one calm look does not end it; each change is told and counted once', () => {
    const lines: string[] = [];
    const note = (level: string) => (message: string) => void lines.push(`${level}: ${message.split(':')[0]}`);
    const log: Log = { error: note('error'), warn: note('warn'), info: note('info'), debug: note('debug') };
    const shard = shardOver({ clock: new VirtualClock(), random: new SeededRandom(1), store: new MemoryStore(), log });
    const watch = new OverloadWatch(shard);
    const looks = (...late: number[]) => {
      for (const ms of late) watch.judge(ms, 100);
      return shard.admission.isOverloaded;
    };
    expect(looks(500, 0, 500, 100, 500)).toBe(false);
    expect(looks(101, 500, 500)).toBe(true);
    expect(looks(0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0)).toBe(true);
    expect(looks(0)).toBe(false);
    expect(looks(0, 0, 0)).toBe(false);
    expect(shard.counters.overloads).toBe(1);
    expect(lines).toEqual(['warn: overloaded', 'info: the event loop keeps up again']);
    expect(looks(101, 101)).toBe(true);
    watch.judge(101, 0);
    expect(shard.admission.isOverloaded).toBe(false);
  });
});
