// Limits of a client's pace: what it sends in a second waits and is never dropped, how often it connects, and how many connections its user has.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { builtFile } from '../../bench/contestants/built-file.ts';
import { loadConfig } from '../../engine/lethe.ts';
import { allocateTallies, Tallies } from '../../engine/peers/tallies.ts';
import { ReadRate } from '../../engine/sessions/read-rate.ts';
import { Timer } from '../../engine/timers.ts';
import { Reason } from '../../protocol/packet.ts';
import { connect, disconnect, pingreq, property, publish } from '../conformance/bytes.ts';
import { delivered, subscribed } from '../conformance/rig.ts';
import type { Peer } from '../hostile/peer.ts';
import { frame, Opcode, openWeb } from '../hostile/web-frames.ts';
import { temporaryFile } from '../security/temporary.ts';
import { SeededRandom } from '../seeded-random.ts';
import { brokerOf, greeted, joined, opened, settings, trusting } from './rig.ts';

describe('what a client may send in a second', () => {
  const PER_S = 2_000;
  const SENT = 3_000;
  /** Two thousand are there from the start; the third takes half a second, of which a tick of the timers may be missing. */
  const WAIT_MS_MIN = 400;
  const burst = Buffer.concat(Array.from({ length: SENT }, (_, i) => publish(5, { topic: 't', payload: String(i) })));

  /** Lets everybody in, later. */
  const slowGate = { authenticator: { authenticate: async () => ({ ok: true, username: null }) as const } };

  /** Anything behind the head of the handshake's answer. */
  const hasConnack = (peer: Peer) => peer.until('CONNACK', () => peer.received.length > peer.received.indexOf('\r\n\r\n') + 4);

  test.each(['messages', 'bytes'])('%s over TCP: all arrive in order, and what follows waits', async (unit) => {
    const most = unit === 'messages' ? PER_S : Math.floor((burst.length * PER_S) / SENT);
    const broker = await brokerOf(`[limits]\nclient_${unit}_per_s = ${most}\n`);
    const receiver = await joined(broker.tcp, { clientId: 'r' });
    await subscribed(receiver, { filters: [['t', 0]] });
    const publisher = await joined(broker.tcp, { clientId: 'p' });
    const startedMs = performance.now();
    publisher.send(burst);
    for (let i = 0; i < SENT; i++) expect((await delivered(receiver)).payload).toBe(String(i));
    await publisher.expectSilence();
    expect(performance.now() - startedMs).toBeGreaterThan(WAIT_MS_MIN);
    await receiver.expectSilence();
  });

  test('over WebSocket, which cannot be paused: what follows is kept and waits too', async () => {
    const broker = await brokerOf(`[limits]\nclient_messages_per_s = ${PER_S}\n`);
    const peer = await openWeb(broker.ws);
    const startedMs = performance.now();
    void peer.send(frame(Buffer.concat([connect(5, { clientId: 'w' }), burst])));
    await hasConnack(peer);
    void peer.send(frame(pingreq));
    await peer.until('PINGRESP', () => peer.received.includes(Buffer.of(0xd0, 0)));
    expect(performance.now() - startedMs).toBeGreaterThan(WAIT_MS_MIN);
  });

  test('over WebSocket: more than the largest packet is not kept, and the client is told (0x96)', async () => {
    const broker = await brokerOf('[limits]\nclient_messages_per_s = 1\npacket_bytes_max = 4096\nconnect_bytes_max = 4096\n');
    const peer = await openWeb(broker.ws);
    void peer.send(frame(connect(5, { clientId: 'w' })));
    await hasConnack(peer);
    for (let i = 0; i < 2; i++) void peer.send(frame(burst.subarray(0, burst.length / 3)));
    await peer.until('it is closed', () => peer.closed);
    const { received } = peer;
    const at = received.indexOf(Buffer.of(0xe0), received.indexOf('\r\n\r\n'));
    expect(received[at + 2]).toBe(Reason.MESSAGE_RATE_TOO_HIGH);
  });

  test('a chunk is taken no further than the pace, and a reload lifts what holds for minutes', async () => {
    const broker = await brokerOf('');
    const reload = (toml: string) => broker.reload(loadConfig({ file: temporaryFile(toml), set: settings() }));
    const receiver = await joined(broker.tcp, { clientId: 'r' });
    await subscribed(receiver, { filters: [['t', 0]] });
    await reload('[limits]\nclient_bytes_per_s = 30\n');
    const publisher = await joined(broker.tcp, { clientId: 'p' });
    // In one chunk, of which the first packet alone is owed for more than ten minutes.
    const payloads = ['a', 'b', 'c'].map((letter) => letter.repeat(20_000));
    publisher.send(Buffer.concat(payloads.map((payload) => publish(5, { topic: 't', payload }))));
    expect((await delivered(receiver)).payload).toBe(payloads[0]);
    await receiver.expectSilence();
    await reload('');
    for (const payload of payloads.slice(1)) expect((await delivered(receiver)).payload).toBe(payload);
    await publisher.expectSilence();
  });

  test('a bound that a reload brings finds no debt', () => {
    const rate = new ReadRate(new Timer(() => {}), 0, 0, 1_000_000);
    expect(rate.take(50_000, 50_000)).toBe(false);
    rate.fill(1_000, 50, 1_000_000);
    expect(rate.waitMs).toBe(0);
    expect(rate.take(51, 0)).toBe(true);
    expect(rate.waitMs).toBe(20);
    rate.fill(1_000, 0, 1_000_000);
    expect(rate.waitMs).toBe(0);
    rate.fill(1_000, 50, 1_000_000);
    expect(rate.waitMs).toBe(0);
  });

  test('who leaves in order while it is held loses nothing, and has no will [MQTT-3.14.4-3]', async () => {
    const broker = await brokerOf('[limits]\nclient_messages_per_s = 1\n', trusting, 1);
    const receiver = await joined(broker.tcp, { clientId: 'r' });
    await subscribed(receiver, { filters: [['#', 0]] });
    const peer = await openWeb(broker.ws);
    void peer.send(frame(connect(5, { clientId: 'w', will: { topic: 'will', payload: 'w' } })));
    await hasConnack(peer);
    const some = Array.from({ length: 20 }, (_, i) => publish(5, { topic: 't', payload: String(i) }));
    void peer.send(frame(Buffer.concat([...some, disconnect()])));
    void peer.send(frame(Buffer.of(0x03, 0xe8), { opcode: Opcode.CLOSE }));
    for (let i = 0; i < 20; i++) expect((await delivered(receiver)).payload).toBe(String(i));
    await peer.until('it is closed', () => peer.closed);
    await receiver.expectSilence();
  });

  test.each(['tcp', 'ws'] as const)('over %s: what came behind CONNECT is held to the pace too', async (transport) => {
    const broker = await brokerOf(`[limits]\nclient_messages_per_s = ${PER_S}\n`, slowGate, 1);
    const receiver = await joined(broker.tcp, { clientId: 'r' });
    await subscribed(receiver, { filters: [['t', 0]] });
    const startedMs = performance.now();
    const all = Buffer.concat([connect(5, { clientId: 'p' }), burst]);
    if (transport === 'ws') void (await openWeb(broker.ws)).send(frame(all));
    else (await opened(broker.tcp)).send(all);
    for (let i = 0; i < SENT; i++) expect((await delivered(receiver)).payload).toBe(String(i));
    expect(performance.now() - startedMs).toBeGreaterThan(WAIT_MS_MIN);
  });

  test('never more than a second of it ahead, but for the packet that is read at once', () => {
    const reads = fc.array(fc.record({ afterMs: fc.nat(2_000), messages: fc.nat(500), bytes: fc.nat(5_000) }), { maxLength: 50 });
    fc.assert(
      fc.property(reads, fc.nat(300), fc.nat(3_000), (all, messagesPerS, bytesPerS) => {
        const rate = new ReadRate(new Timer(() => {}), 0, messagesPerS, bytesPerS);
        let nowMs = 0;
        let messages = 0;
        let bytes = 0;
        for (const read of all) {
          nowMs += read.afterMs;
          // What was read before this chunk is within what time has allowed.
          if (messagesPerS > 0) expect(messages).toBeLessThanOrEqual(messagesPerS * (1 + nowMs / 1_000) + 1e-6);
          if (bytesPerS > 0) expect(bytes).toBeLessThanOrEqual(bytesPerS * (1 + nowMs / 1_000) + 1e-6);
          messages += read.messages;
          bytes += read.bytes;
          rate.fill(nowMs, messagesPerS, bytesPerS);
          expect(rate.take(read.messages, read.bytes)).toBe(rate.waitMs > 0);
          nowMs += rate.waitMs;
        }
      }),
    );
  });
});

describe('how often a client connects', () => {
  test('beyond it 0x9F, for this client only', async () => {
    const MAX = 3;
    const broker = await brokerOf(`[limits]\nclient_connects_per_minute = ${MAX}\n`);
    let accepted = 0;
    let reason: number = Reason.SUCCESS;
    // A new minute may begin on the way, once.
    for (; accepted <= 2 * MAX && reason === Reason.SUCCESS; accepted++) {
      reason = (await greeted(broker.tcp, { clientId: 'often' })).connack.reason;
    }
    expect(reason).toBe(Reason.CONNECTION_RATE_EXCEEDED);
    expect(accepted).toBeGreaterThan(MAX);
    await joined(broker.tcp, { clientId: 'seldom' });
  });
});

describe('how many connections a user has', () => {
  test.each([1, 3])('beyond it 0x97, in total over %i shards', async (threads) => {
    const broker = await brokerOf('[limits]\nconnections_per_user = 2\n', undefined, threads);
    const one = await joined(broker.tcp, { clientId: 'one', userName: 'anna' });
    await joined(broker.tcp, { clientId: 'two', userName: 'anna' });
    const three = { clientId: 'three', userName: 'anna', properties: [property.sessionExpiryS(100)] };
    for (let i = 0; i < 6; i++) expect((await greeted(broker.tcp, three)).connack.reason).toBe(Reason.QUOTA_EXCEEDED);
    expect((await greeted(broker.tcp, three, 4)).connack.reason).toBe(3);
    await joined(broker.tcp, { clientId: 'other', userName: 'bert' });
    await joined(broker.tcp, { clientId: 'nobody' });
    // Who comes back takes the place that it had.
    for (let i = 0; i < 6; i++) await joined(broker.tcp, { clientId: 'two', userName: 'anna' });
    one.drop();
    await expect.poll(async () => (await greeted(broker.tcp, three)).connack.reason, { timeout: 10_000 }).toBe(0);
    // What was refused has left no session behind.
    await expect.poll(() => broker.counts().sessions, { timeout: 10_000 }).toBe(4);
  });

  test('a table of counts is what a plain one says, window by window', () => {
    const step = fc.record({ name: fc.nat(12), window: fc.nat(2), enters: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 3 }), (steps, max) => {
        const tallies = new Tallies(allocateTallies(16, new SeededRandom(7)));
        const counts = new Map<string, number>();
        let window = 0;
        for (const { name, window: later, enters } of steps) {
          if (later === 2) {
            window++;
            counts.clear();
          }
          const key = tallies.keyOf(`name ${name}`);
          const count = counts.get(`name ${name}`) ?? 0;
          if (enters) {
            expect(tallies.enter(key, max, window)).toBe(count < max);
            counts.set(`name ${name}`, Math.min(max, count + 1));
          } else if (count > 0) {
            tallies.leave(key, window);
            counts.set(`name ${name}`, count - 1);
          }
        }
      }),
    );
  });

  test('threads that count at the same time lose nothing', async () => {
    const ROUNDS = 5_000;
    const memory = allocateTallies(16, new SeededRandom(7));
    const tallies = new Tallies(memory);
    const key = tallies.keyOf('anna');
    // Each enters twice and leaves once, in each round.
    const code = `
      const { workerData } = require('node:worker_threads');
      import(workerData.module).then(({ Tallies }) => {
        const tallies = new Tallies(workerData.memory);
        for (let i = 0; i < workerData.rounds; i++) {
          if (!tallies.enter(workerData.key, Infinity) || !tallies.enter(workerData.key, Infinity)) throw new Error('refused');
          tallies.leave(workerData.key);
        }
      });`;
    const workerData = { module: String(builtFile('engine/peers/tallies.js')), memory, key, rounds: ROUNDS };
    const ends = [1, 2].map(() => once(new Worker(code, { eval: true, workerData }), 'exit'));
    for (let i = 0; i < ROUNDS; i++) expect(tallies.enter(key, Infinity)).toBe(true);
    expect(await Promise.all(ends)).toEqual([[0], [0]]);
    expect(tallies.enter(key, 3 * ROUNDS)).toBe(false);
    tallies.leave(key);
    expect(tallies.enter(key, 3 * ROUNDS)).toBe(true);
  });

  test('a thread that ended while it counted keeps nobody waiting for ever', () => {
    const memory = allocateTallies(16, new SeededRandom(7));
    const tallies = new Tallies(memory);
    const lock = new Int32Array(memory, 0, 1);
    const key = tallies.keyOf('anna');
    expect(tallies.enter(key, 2)).toBe(true);
    expect(lock[0]).toBe(0);
    lock[0] = -1;
    expect(tallies.enter(key, 2)).toBe(true);
    expect(lock[0]).toBe(0);
    expect(tallies.enter(key, 2)).toBe(false);
  });

  test('a table that is full refuses', () => {
    const tallies = new Tallies(allocateTallies(1, new SeededRandom(7)));
    let entered = 0;
    while (entered < 1_000 && tallies.enter(tallies.keyOf(`name ${entered}`), 1)) entered++;
    expect(entered).toBeGreaterThan(1);
    expect(entered).toBeLessThan(100);
  });
});

test('limits that are off cost nothing and hold nobody', async () => {
  const broker = await brokerOf('');
  const publisher = await opened(broker.tcp);
  publisher.send(connect(5, { clientId: 'p' }), ...Array.from({ length: 5_000 }, () => publish(5, { topic: 't', payload: 'x' })));
  await publisher.nextPacket();
  await publisher.expectSilence();
});
