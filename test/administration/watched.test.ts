// Those who watch are answered when what they watch is stuck, and cost it little: health, the ages of what is held, a stop.
import { connect as connectSocket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { Administration } from '../../engine/administration/administration.ts';
import { oldestHeld } from '../../engine/administration/held-ages.ts';
import type { Inventory } from '../../engine/administration/inventory.ts';
import { readinessOf } from '../../engine/administration/readiness.ts';
import { ONE_SHARD, startBroker } from '../broker.ts';
import * as wire from '../conformance/bytes.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { ask } from './admin.ts';

const left: (() => unknown)[] = [];
afterEach(async () => {
  for (const act of left.splice(0)) await act();
});

/** What somebody waits for, and who decides when it comes. */
function later<T>(): { readonly promise: Promise<T>; resolve(value: T): void; reject(error: Error): void } {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

function administered(parts: Partial<Administration>): Administration {
  return { isStopping: () => false, ...parts } as Administration;
}

describe('a shard that is stuck', () => {
  test('is found within five seconds, and is asked once however often somebody wants to know', async () => {
    const clock = new VirtualClock();
    let questions = 0;
    const answers = later<readonly { isRefusing: boolean }[]>();
    const askAll = (() => {
      questions++;
      return answers.promise;
    }) as unknown as Administration['askAll'];
    const administration = administered({ clock, askAll });
    const first = readinessOf(administration);
    clock.advance(5_000);
    expect(await first).toBe('stuck');
    const second = readinessOf(administration);
    clock.advance(5_000);
    expect([await second, questions]).toEqual(['stuck', 1]);
    const third = readinessOf(administration);
    answers.resolve([{ isRefusing: false }, { isRefusing: false }]);
    expect(await third).toBe('ready');
    expect(clock.alarms).toBe(0);
    await readinessOf(administration);
    expect(questions).toBe(2);
  });

  test('one that fails counts as stuck, one that refuses as not ready', async () => {
    const clock = new VirtualClock();
    const of = (answer: Promise<unknown>) =>
      readinessOf(administered({ clock, askAll: (() => answer) as Administration['askAll'] }));
    expect(await of(Promise.reject(new Error('died')))).toBe('stuck');
    expect(await of(Promise.resolve([{ isRefusing: false }, { isRefusing: true }]))).toBe('not ready');
  });
});

describe('the ages of what is held', () => {
  function rig() {
    const clock = new VirtualClock();
    const readings: ReturnType<typeof later<Inventory>>[] = [];
    const inventory = () => {
      readings.push(later<Inventory>());
      return readings.at(-1)!.promise;
    };
    const administration = administered({ clock, inventory });
    return { clock, readings, oldest: () => oldestHeld(administration) };
  }
  const of = (oldestMs: number | null, count = 1_000_000) => {
    const held = { count, bytes: 1, oldestMs };
    return { messages: held, retained: held, sessions: held, wills: held, quarantined: held } as unknown as Inventory;
  };

  test('are read again only after a hundred times as long as the reading took', async () => {
    const { clock, readings, oldest } = rig();
    const first = oldest();
    const second = oldest();
    clock.advance(500);
    readings[0]!.resolve(of(7));
    expect([(await first).messages, (await second).messages, readings.length]).toEqual([7, 7, 1]);
    clock.advance(49_000);
    await oldest();
    expect(readings.length).toBe(1);
    clock.advance(1_000);
    const third = oldest();
    readings[1]!.resolve(of(null));
    expect((await third).messages).toBe(null);
  });

  test('are read again soon where there is little to read: it had waited', async () => {
    const { clock, readings, oldest } = rig();
    const first = oldest();
    clock.advance(500);
    readings[0]!.resolve(of(null, 0));
    expect((await first).messages).toBe(null);
    clock.advance(1_999);
    await oldest();
    expect(readings.length).toBe(1);
    clock.advance(1);
    const second = oldest();
    readings[1]!.resolve(of(7));
    expect((await second).messages).toBe(7);
  });

  test('nobody waits for them for more than a second', async () => {
    const { clock, readings, oldest } = rig();
    const first = oldest();
    clock.advance(1_000);
    expect((await first).messages).toBe(null);
    const second = oldest();
    clock.advance(1_000);
    expect([(await second).messages, readings.length]).toEqual([null, 1]);
    readings[0]!.resolve(of(7));
    expect((await oldest()).messages).toBe(7);
  });
});

test('a broker that stops is not ready, and says so until it has stopped', async () => {
  const broker = await startBroker([ONE_SHARD, 'admin.port=0', 'admin.open=true', 'server.stop_timeout_ms=1s']);
  left.push(() => broker.stop());
  // A client that does not close its side keeps the broker waiting.
  const socket = connectSocket({ port: broker.tcp, host: '127.0.0.1', allowHalfOpen: true });
  left.push(() => socket.destroy());
  await new Promise<void>((resolve) => {
    socket.once('data', () => resolve());
    socket.write(wire.connect(4));
  });
  expect((await ask(broker.admin, '/readyz')).status).toBe(200);
  const stopped = broker.stop();
  expect(await ask(broker.admin, '/readyz')).toMatchObject({ status: 503, text: 'not ready\n' });
  await stopped;
  await expect(ask(broker.admin, '/readyz')).rejects.toThrow(/ECONNREFUSED/);
});

test('a receiver that does not keep up is counted as long as it does not', async () => {
  const broker = await startBroker([
    ONE_SHARD,
    'admin.port=0',
    'admin.open=true',
    'limits.outbox_high_bytes=65536',
    'limits.outbox_max_bytes=1048576',
    'limits.backpressure_ms=0',
  ]);
  left.push(() => broker.stop());
  const figure = async (name: string) =>
    Number(new RegExp(`^${name} (\\S+)$`, 'm').exec((await ask(broker.admin, '/metrics')).text)?.[1]);
  const until = async (wanted: number) => {
    const untilMs = Date.now() + 20_000;
    while ((await figure('lethe_receivers_slow')) !== wanted) if (Date.now() > untilMs) throw new Error(`never ${wanted}`);
  };
  const deaf = connectSocket(broker.tcp, '127.0.0.1');
  left.push(() => deaf.destroy());
  await new Promise<void>((resolve) => {
    let bytes = 0;
    deaf.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes < 9) return; // CONNACK and SUBACK
      deaf.pause();
      resolve();
    });
    deaf.write(Buffer.concat([wire.connect(4), wire.subscribe(4, { filters: [['topic', 0]] })]));
  });
  const publisher = connectSocket(broker.tcp, '127.0.0.1');
  left.push(() => publisher.destroy());
  publisher.write(wire.connect(4));
  const message = wire.publish(4, { topic: 'topic', payload: Buffer.alloc(200_000) });
  for (let at = 0; at < 100; at++) publisher.write(message);
  await until(1);
  expect(await figure('lethe_receivers_marked_slow_total')).toBe(1);
  deaf.removeAllListeners('data').resume();
  await until(0);
  expect((await ask(broker.admin, '/metrics')).text).toMatch(/^lethe_messages_dropped_total\{reason="slow_receiver"\} [1-9]/m);
});
