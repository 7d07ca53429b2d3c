// Several clients of one storage thread, with the thread's work done by hand: who is told what, whose turn it is, how a session moves, and how
// clients leave.
import { describe, expect, test } from 'vitest';
import { SpoolState } from '../../storage/figures.ts';
import { GoneReason } from '../../storage/store.ts';
import { ClientsRig } from './clients-rig.ts';
import { Outcome } from './memory-disk.ts';
import { messageOf } from './message.ts';

const CLIENTS = [0, 1, 2];
const LONG_MS = 1_000_000;

describe('messages of several clients', () => {
  test('are owed to the sessions of their own deliveries, also when they come in pieces between each other', async () => {
    const rig = await ClientsRig.open();
    for (const client of CLIENTS) for (const session of [1, 2]) rig.putSession(client, 10 * client + session);
    await rig.settle(...CLIENTS);
    for (let round = 0; round < 20; round++) {
      for (const client of CLIENTS) rig.owe(client, `${client} ${round}`, [10 * client + 1, round]);
      // As when the ring is full: the thread sees the message and one of its deliveries.
      for (const client of CLIENTS) rig.store(client).flush();
      rig.spool.step();
      for (const client of CLIENTS) rig.store(client).addDelivery(10 * client + 2, round, 0, 1, new Uint8Array(0));
      await rig.settle(...CLIENTS);
    }
    for (const client of CLIENTS) {
      const expected = Array.from({ length: 20 }, (_, round) => `${client} ${round}`);
      for (const session of [1, 2]) expect(await rig.payloads(client, 10 * client + session)).toEqual(expected);
    }
  });

  test('go beside the rings when they are too large, each client its own', async () => {
    const rig = await ClientsRig.open();
    for (const client of CLIENTS) rig.putSession(client, client);
    for (const client of CLIENTS) rig.owe(client, `${client}`.repeat(1_200_000 + client), [client, 0]);
    await rig.settle(...CLIENTS);
    // Reads of all of them at once.
    const found = await Promise.all(CLIENTS.map((client) => rig.payloads(client, client)));
    for (const client of CLIENTS) expect(found[client]![0] === `${client}`.repeat(1_200_000 + client)).toBe(true);
  });

  test('are not durable before the last delivery that the ring had no room for, whatever the others want', async () => {
    const rig = await ClientsRig.open({ intentBytes: 4_096 });
    for (let session = 1; session <= 40; session++) rig.putSession(1, session);
    rig.putSession(2, 100);
    rig.owe(2, 'consumed', [100, 0]);
    await rig.settle(1, 2);
    const { steps } = rig.spool.disk;
    rig.owe(1, 'whole', ...Array.from({ length: 200 }, (_, i) => [1 + (i % 40), Math.floor(i / 40)] as const));
    // The batch is urgent, its window over, and the eraser has something to do.
    rig.store(2).dropDelivery(100, 0);
    rig.owe(2, 'other', [100, 1]);
    rig.store(2).flushUrgently();
    rig.spool.nowMs += 10_000;
    rig.spool.step(); // the thread has seen a part of the first message, and the other one
    expect(rig.spool.disk.steps).toBe(steps);
    const lost = await rig.crash();
    for (const session of [1, 40]) expect(await lost.payloads(0, session)).toEqual([]);
    expect(await lost.payloads(0, 100)).toEqual(['consumed']);
    await rig.settle(1, 2);
    expect([rig.isSettled(1), rig.isSettled(2)]).toEqual([true, true]);
    const kept = await rig.crash();
    for (const session of [1, 40]) expect(await kept.payloads(0, session)).toEqual(Array(5).fill('whole'));
    expect(await kept.payloads(0, 100)).toEqual(['other']);
  });
});

describe('each client has a watermark of its own', () => {
  test('that moves when its own intents are durable', async () => {
    const rig = await ClientsRig.open();
    rig.putSession(1, 1);
    for (const session of [2, 3, 4]) rig.putSession(2, session);
    rig.store(1).flush();
    await rig.spool.pass(0);
    expect([rig.isSettled(1), rig.isSettled(2), rig.store(2).durable]).toEqual([true, false, 0]);
    expect(rig.told.map(({ durables }) => durables > 0)).toEqual([false, true, false]);
    await rig.settle(2);
    expect([rig.isSettled(2), rig.store(1).durable, rig.store(2).durable]).toEqual([true, 1, 3]);
    expect(rig.spool.figures.named()['durable']).toBe(4);
  });

  test('and `written` says the truth also when acknowledgements do not wait', async () => {
    const rig = await ClientsRig.open({ relaxed: true });
    rig.putSession(1, 1);
    const { durable, written } = rig.store(1);
    expect([durable, written]).toEqual([1, 0]);
    await rig.settle(1);
    expect(rig.store(1).written).toBe(1);
  });
});

describe('a session moves', () => {
  /** What happens, in order; behind each of them the process may die. And what may be there then, as payloads in order. */
  const steps: readonly (readonly [what: string, act: (rig: ClientsRig) => Promise<void> | void, ...possible: string[]])[] = [
    ['client 1 takes messages', (rig) => takeThree(rig), ''],
    ['they are durable', (rig) => rig.settle(1), 'abc'],
    ['client 2 takes it over', (rig) => takeOver(rig), 'abc'],
    ['that is durable', (rig) => rig.settle(2), 'abc'],
    ['client 2 finishes one and takes another', (rig) => goOn(rig), 'abc', 'bc', 'bcd'],
    ['that is durable too', (rig) => rig.settle(2), 'bcd'],
    ['it goes back to client 1', (rig) => goBack(rig), 'bcd', 'cd', 'cde'],
    ['all is durable', (rig) => rig.settle(1), 'cde'],
  ];

  function takeThree(rig: ClientsRig): void {
    rig.putSession(1, 7);
    rig.owe(1, 'a', [7, 0]);
    rig.owe(1, 'b', [7, 1]);
    rig.owe(1, 'c', [7, 2]);
    rig.store(1).addInbound(7, 99);
  }

  async function takeOver(rig: ClientsRig): Promise<void> {
    expect(rig.isSettled(1)).toBe(true);
    rig.putSession(2, 7);
    expect(await rig.payloads(2, 7)).toEqual(['a', 'b', 'c']);
  }

  function goOn(rig: ClientsRig): void {
    rig.store(2).dropDelivery(7, 0);
    rig.owe(2, 'd', [7, 3]);
    rig.store(2).dropInbound(7, 99);
  }

  async function goBack(rig: ClientsRig): Promise<void> {
    expect(rig.isSettled(2)).toBe(true);
    rig.putSession(1, 7);
    rig.store(1).dropDelivery(7, 1);
    rig.owe(1, 'e', [7, 4]);
    expect(await rig.payloads(1, 7)).toEqual(['c', 'd', 'e']);
  }

  test.each(steps.map(([what], index) => [what, index] as const))('%s, and the process dies', async (_what, index) => {
    const rig = await ClientsRig.open({ commitWindowMs: 0 });
    for (const [, act] of steps.slice(0, index + 1)) await act(rig);
    const next = await rig.crash();
    const [, , ...possible] = steps[index]!;
    const found = next.found.has(7) ? await next.payloads(0, 7) : [];
    expect(possible).toContain(found.join(''));
    if (index === 0) return;
    // It goes on behind every position that was used, and with what its client has not released.
    const { end, inbound, record } = next.found.get(7)!;
    expect(end).toBeGreaterThanOrEqual(index < 4 ? 3 : index < 6 ? 4 : 5);
    expect(record).toBe('session 7');
    if (index !== 4) expect(inbound).toEqual(index < 4 ? [99] : []);
  });

  test('and what goes without an acknowledgement is told to the client that put it last, after a start to client 0', async () => {
    const rig = await ClientsRig.open();
    takeThree(rig);
    rig.store(1).trim(7, 0);
    await rig.settle(1);
    rig.putSession(2, 7);
    rig.store(2).trim(7, 0);
    await rig.settle(2);
    const lost = (position: number) => ({ session: 7, position, reason: GoneReason.TRIMMED });
    expect(rig.told.map(({ lost }) => lost)).toEqual([[], [lost(0)], [lost(1)]]);
    const next = await rig.crash();
    next.store(1).trim(7, 0);
    await next.settle(1);
    expect(next.told.map(({ lost }) => lost)).toEqual([[lost(2)], [], []]);
  });
});

describe('what is told', () => {
  test('troubles and expired retained messages to client 0, a full disk and its end to all', async () => {
    const rig = await ClientsRig.open();
    for (const client of CLIENTS) rig.putSession(client, client);
    await rig.settle(...CLIENTS);
    const before = rig.told.map(({ durables }) => durables);
    rig.spool.disk.outcome = () => Outcome.FULL;
    rig.owe(1, 'taken', [1, 0]);
    await rig.settle(1);
    expect(rig.spool.figures.state).toBe(SpoolState.FULL);
    expect(rig.told.every(({ durables }, client) => durables > before[client]!)).toBe(true);
    for (const client of CLIENTS) {
      expect(rig.store(client).isRefusing).toBe(true);
      expect(rig.store(client).putMessage(messageOf({ payload: 'refused' }))).toBeLessThan(0);
    }
    const full = rig.told.map(({ durables }) => durables);
    rig.spool.disk.outcome = () => Outcome.DONE;
    await rig.spool.pass(2_000);
    expect(rig.told.every(({ durables }, client) => durables > full[client]!)).toBe(true);
    expect(CLIENTS.map((client) => rig.store(client).isRefusing)).toEqual([false, false, false]);
    expect(rig.isSettled(1)).toBe(true);
    rig.store(0).putRetained(5, messageOf({ payload: 'x', retain: 1, expiresAtMs: 1_767_225_600_000 + rig.spool.nowMs + 500 }));
    await rig.settle(0);
    await rig.spool.pass(2_000);
    expect(rig.told.map(({ retainedLost }) => retainedLost)).toEqual([[5], [], []]);
    expect(rig.told.map(({ troubles }) => troubles.length)).toEqual([2, 0, 0]);
  });

  test('a failed disk to all', async () => {
    const rig = await ClientsRig.open();
    for (const client of CLIENTS) rig.putSession(client, client);
    rig.spool.disk.outcome = () => Outcome.BROKEN;
    await rig.settle(1);
    expect(rig.spool.figures.state).toBe(SpoolState.BROKEN);
    for (const client of CLIENTS) {
      expect(rig.store(client).isRefusing).toBe(true);
      expect(rig.told[client]!.durables).toBeGreaterThan(0);
    }
  });
});

describe('turns', () => {
  const FLOOD = 20_000;

  async function flooded(): Promise<ClientsRig> {
    const rig = await ClientsRig.open({ intentBytes: 4_194_304 });
    for (const client of CLIENTS) rig.putSession(client, client);
    await rig.settle(...CLIENTS);
    for (let position = 0; position < FLOOD; position++) rig.owe(1, 'flood', [1, position]);
    rig.store(1).flush();
    return rig;
  }

  test('one that sends without end keeps nobody waiting for more than a batch, and comes to its end', async () => {
    const rig = await flooded();
    for (const client of [0, 2]) rig.owe(client, 'small', [client, 0]);
    for (const client of [0, 2]) rig.store(client).flush();
    expect(rig.spool.step()).toBe(0); // there is more
    await rig.hear();
    expect(CLIENTS.map((client) => rig.isSettled(client))).toEqual([true, false, true]);
    expect(rig.store(1).written).toBeGreaterThan(1_000);
    for (let steps = 1; !rig.isSettled(1); steps++) {
      expect(steps).toBeLessThan(2 * FLOOD);
      rig.spool.step();
      await rig.hear();
    }
    expect((await rig.read(1, 1)).size).toBe(FLOOD);
  });

  test('what is cut off is never half of a message', async () => {
    const rig = await ClientsRig.open({ intentBytes: 4_194_304 });
    for (let session = 1; session <= 5; session++) rig.putSession(1, session);
    await rig.settle(1);
    const sessions = Array.from({ length: 5 }, (_, i) => i + 1);
    for (let position = 0; position < 7_000; position++)
      rig.owe(1, `${position}`, ...sessions.map((session) => [session, position] as const));
    rig.store(1).flush();
    rig.spool.step();
    const next = await rig.crash();
    const found = await Promise.all(sessions.map((session) => next.payloads(0, session)));
    expect(found[0]!.length).toBeGreaterThan(100);
    expect(found[0]!.length).toBeLessThan(7_000);
    for (const one of found) expect(one).toEqual(found[0]);
  });

  test('reads of one client do not keep the intents of another from the disk', async () => {
    const rig = await flooded();
    while (!rig.isSettled(1)) await rig.settle(1);
    let ended = 0;
    for (let read = 0; read < 1_000; read++) rig.store(1).read(1, read, 5, { delivery: () => {}, end: () => void ended++ });
    rig.store(1).flush();
    rig.owe(2, 'small', [2, 0]);
    rig.store(2).flush();
    expect(rig.spool.step()).toBe(0);
    await rig.hear();
    expect(rig.isSettled(2)).toBe(true);
    expect(ended).toBeGreaterThan(0);
    expect(ended).toBeLessThan(1_000);
    while (ended < 1_000) await rig.spool.pass(0);
  });

  test('a client that takes nothing out holds nobody up, and hears everything in order in the end', async () => {
    const rig = await ClientsRig.open({ reportBytes: 131_072, intentBytes: 4_194_304 });
    for (const client of CLIENTS) rig.putSession(client, client);
    for (let position = 0; position < 5_000; position++) rig.owe(1, 'x', [1, position]);
    await rig.settle(...CLIENTS);
    while (!rig.isSettled(1)) await rig.settle();
    for (let position = 0; position < 5_000; position++) rig.store(1).trim(1, 0);
    rig.store(1).flush();
    let ended = -1;
    rig.store(1).read(1, 0, 10, { delivery: () => {}, end: (next) => (ended = next) });
    rig.owe(2, 'small', [2, 0]);
    rig.store(2).flush();
    // The engine hears nothing in between: more is told than its ring holds.
    for (let step = 0; step < 10; step++) rig.spool.step();
    expect(rig.spool.figures.durableOf(2)).toBe(rig.store(2).sequence);
    expect(ended).toBe(-1);
    while (ended < 0) await rig.spool.pass(0);
    expect(rig.told[1]!.lost.map(({ position }) => position)).toEqual(Array.from({ length: 5_000 }, (_, i) => i));
    expect(ended).toBe(5_000);
  });
});

describe('a client leaves', () => {
  test('when what it has sent is durable, at once, and the others go on', async () => {
    const rig = await ClientsRig.open({ commitWindowMs: LONG_MS });
    for (const client of CLIENTS) rig.putSession(client, client);
    rig.owe(1, 'left', [1, 0]);
    await rig.settle(1);
    const { figures } = rig.spool;
    rig.owe(1, 'last', [1, 1]);
    await rig.settle(1);
    expect(figures.durableOf(1)).toBeLessThan(rig.store(1).sequence); // the window is long
    await rig.during(rig.store(1).close());
    expect(figures.durableOf(1)).toBe(rig.store(1).sequence);
    await rig.store(1).close(); // a second time is nothing
    rig.owe(2, 'stays', [2, 0]);
    expect(await rig.payloads(2, 2)).toEqual(['stays']);
    // What it hosted is told to client 0 from then on.
    rig.store(0).trim(1, 0);
    await rig.settle(0);
    expect(rig.told[0]!.lost).toHaveLength(1);
    await rig.during(rig.store(2).close());
    await rig.store(0).close();
    expect(rig.spool.step()).toBe(-1);
    const next = await rig.crash();
    expect([...next.found.keys()]).toEqual(CLIENTS);
    expect(await next.payloads(0, 2)).toEqual(['stays']);
  });

  test('and everything that the others have sent is durable when client 0 closes', async () => {
    const rig = await ClientsRig.open({ commitWindowMs: LONG_MS, intentBytes: 4_194_304 });
    rig.putSession(2, 2);
    for (let position = 0; position < 10_000; position++) rig.owe(2, 'x', [2, position]);
    rig.store(2).flush();
    await rig.store(0).close();
    expect((await (await rig.crash()).read(0, 2)).size).toBe(10_000);
  });

  test.each([Outcome.FULL, Outcome.BROKEN])('also when the disk is %s', async (outcome) => {
    const rig = await ClientsRig.open();
    rig.spool.disk.outcome = () => outcome;
    rig.putSession(1, 1);
    await rig.during(rig.store(1).close());
    expect(rig.spool.figures.durableOf(1)).toBe(0);
    await rig.store(0).close();
  });
});
