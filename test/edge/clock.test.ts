// A broker whose wall clock jumps by years, while it runs and between two starts, as a process of its own: nothing is lost by that and nothing kept for ever.
import { cpSync, lstatSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Inventory } from '../../engine/lethe.ts';
import { askOwner } from '../../engine/spool/folder-lock.ts';
import { type Served, serve } from '../end-to-end/served.ts';
import { Client } from '../forgetting/client.ts';
import { FakeTime, YEAR_S } from './fake-time.ts';

const root = mkdtempSync(join(tmpdir(), 'lethe-clock-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const SHORT_S = 1;
const LONG_S = 600;
const SESSION_S = 3_600;
const AHEAD_S = 12 * YEAR_S;
/** A clock without a battery begins in about 1970. */
const BEHIND_S = -56 * YEAR_S;

let time: FakeTime;
let data: string;
let folders = 0;

beforeEach(() => {
  time = new FakeTime();
  data = join(root, `${folders++}`);
});
afterEach(() => time.remove());

const start = (threads = 1) => serve('', ['--data', data, '--threads', `${threads}`], time.env);

/** Lines of the log that have this in them. */
function told({ child }: Served, text: string): number {
  return child.stderr.split(text).length - 1;
}

/** Sets the clock and waits until the broker has seen it. */
async function jump(served: Served, offsetS: number): Promise<void> {
  const before = told(served, 'the clock was set');
  time.jump(offsetS);
  await served.child.until('the broker sees the step', () => told(served, 'the clock was set') > before);
}

/** Makes a session that waits for what is published to "a/#". */
async function makeSession(port: number, clientId: string, expiryS: number): Promise<void> {
  const client = await Client.connect(port, { clientId, expiryS });
  await client.subscribe('a/#', 1);
  await client.leave();
}

async function say(port: number, payload: string, expiryS: number): Promise<void> {
  const client = await Client.connect(port, { clientId: 'publisher', clean: true, expiryS: 0 });
  const properties = { messageExpiryInterval: expiryS };
  expect(await client.publish({ topic: `a/${payload}`, payload, properties })).toBe(0);
  expect(await client.publish({ topic: `r/${payload}`, payload, properties, retain: true })).toBeOneOf([0, 0x10]);
  await client.leave();
}

/** What is retained, as somebody gets it who subscribes now, once the broker says that it is so much. */
async function retained(port: number, count: number): Promise<readonly string[]> {
  const client = await Client.connect(port, { clientId: 'retained', clean: true, expiryS: 0 });
  for (;;) {
    const held = (await askOwner(data, 'inventory')) as Inventory;
    if (held.retained.count === count) break;
    // What is asked next goes through the same threads.
    await client.publish({ topic: 'nothing', qos: 1 });
  }
  await client.subscribe('r/#', 1);
  await client.got(count);
  const { payloads } = client;
  await client.leave();
  return payloads.sort();
}

/** What the session gets that was away, and the smallest expiry that is left of it. */
async function owed(port: number, clientId: string, count: number): Promise<{ payloads: readonly string[]; leastS: number }> {
  const client = await Client.connect(port, { clientId, expiryS: SESSION_S });
  expect(client.connack?.sessionPresent, 'the session is there').toBe(true);
  await client.got(count);
  await client.publish({ topic: 'a/end', payload: 'end' });
  await client.until('the end has come', () => client.payloads.includes('end'));
  const left = client.received.map(({ properties }) => properties?.messageExpiryInterval ?? Infinity);
  await client.leave();
  return { payloads: client.payloads.filter((payload) => payload !== 'end').sort(), leastS: Math.min(...left) };
}

describe('while it runs', () => {
  test('what is to last lasts, and what is to end ends in its time, in every shard', async () => {
    const served = await start(3);
    const port = served.port('tcp');
    await makeSession(port, 'long', SESSION_S);
    await say(port, 'before', LONG_S);
    const heir = await Client.connect(port, { clientId: 'heir', clean: true, expiryS: 0 });
    await heir.subscribe('wills/#', 1);
    for (const [offsetS, year] of [
      [AHEAD_S, 'ahead'],
      [BEHIND_S, 'behind'],
      [0, 'true'],
    ] as const) {
      await jump(served, offsetS);
      await makeSession(port, `short-${year}`, 1);
      await say(port, `short-${year}`, SHORT_S);
      await say(port, `long-${year}`, LONG_S);
      const will = {
        topic: `wills/${year}`,
        payload: Buffer.from(year),
        qos: 1,
        retain: false,
        properties: { willDelayInterval: 1 },
      } as const;
      (await Client.connect(port, { clientId: `mortal-${year}`, clean: true, expiryS: SESSION_S, will })).cut();
    }
    await heir.until('every will has come', () => heir.received.length === 3);
    // Each of them is told of the end of its session by what follows a connection to it.
    for (const year of ['ahead', 'behind', 'true']) {
      const back = await Client.connect(port, { clientId: `short-${year}`, expiryS: 0 });
      if (back.connack?.sessionPresent)
        throw new Error(`the session of 1 s made while the clock was ${year} is there after all wills of 1 s`);
      await back.leave();
    }
    const long = ['before', 'long-ahead', 'long-behind', 'long-true'];
    expect(await retained(port, long.length)).toEqual(long);
    const { payloads, leastS } = await owed(port, 'long', long.length);
    expect(payloads).toEqual(long);
    expect(leastS).toBeGreaterThan(LONG_S - 60);
    expect(await served.stop()).toEqual({ code: 0, signal: null });
    expect(served.child.stderr).not.toMatch(/ (warn|error) /);
  });
});

describe('between two starts', () => {
  /** A first run that leaves messages behind, ended as a power cut would end it. */
  async function firstRun(): Promise<void> {
    const served = await start();
    await makeSession(served.port('tcp'), 'away', SESSION_S);
    await say(served.port('tcp'), 'long', LONG_S);
    await say(served.port('tcp'), 'longer', SESSION_S);
    served.child.kill('SIGKILL');
    await served.child.ended();
  }

  let left: string | null = null;

  /** What a first run with the true clock has left, which is the same for all. */
  async function afterFirstRun(): Promise<void> {
    if (left === null) {
      await firstRun();
      left = join(root, 'left');
      copy(data, left);
    } else {
      copy(left, data);
    }
  }

  /** The address of a broker that is no more is no file. */
  const copy = (from: string, to: string) =>
    cpSync(from, to, { recursive: true, preserveTimestamps: true, filter: (path) => !lstatSync(path).isSocket() });

  test('a clock that starts in 1970 and is set right: time is counted when it is known, and not before', async () => {
    await afterFirstRun();
    time.jump(BEHIND_S);
    const served = await start();
    expect(told(served, 'the clock has gone back since the broker ran last')).toBe(1);
    expect(await retained(served.port('tcp'), 2)).toEqual(['long', 'longer']);
    await say(served.port('tcp'), 'meanwhile', LONG_S);
    // It was off for longer than the first of them was to be kept.
    await jump(served, LONG_S + 100);
    await served.child.until('the clock is believed', () => told(served, 'the clock is believed') === 1);
    const { payloads } = await owed(served.port('tcp'), 'away', 1);
    // What came meanwhile has lost the time that was counted late: it expires early rather than never.
    expect(payloads).toEqual(['longer']);
    await served.stop();
  });

  test('a clock that starts in 1970 twice, and is never set: everything is there, and ends in time of running', async () => {
    await afterFirstRun();
    time.jump(BEHIND_S);
    const once = await start();
    await say(once.port('tcp'), 'short', SHORT_S);
    once.child.kill('SIGKILL');
    await once.child.ended();
    const twice = await start();
    expect(await retained(twice.port('tcp'), 2)).toEqual(['long', 'longer']);
    expect((await owed(twice.port('tcp'), 'away', 2)).payloads).toEqual(['long', 'longer']);
    await twice.stop();
  });

  test('a clock that starts years ahead is not believed, and everything is there when it is right again', async () => {
    await afterFirstRun();
    time.jump(AHEAD_S);
    const served = await start();
    expect(told(served, 'the clock is far ahead of when the broker ran last')).toBe(1);
    expect(await retained(served.port('tcp'), 2)).toEqual(['long', 'longer']);
    await jump(served, 0);
    await served.child.until('the clock is believed', () => told(served, 'the clock is believed') === 1);
    await say(served.port('tcp'), 'new', LONG_S);
    await served.stop();
    const again = await start();
    expect((await owed(again.port('tcp'), 'away', 3)).payloads).toEqual(['long', 'longer', 'new']);
    expect(again.child.stderr).toBe('');
    await again.stop();
  });

  test('a directory that was begun years ahead of time goes on when the clock is right', async () => {
    time.jump(AHEAD_S);
    await firstRun();
    time.jump(0);
    const served = await start();
    expect(told(served, 'the clock has gone back since the broker ran last')).toBe(1);
    await say(served.port('tcp'), 'short', SHORT_S);
    expect(await retained(served.port('tcp'), 2)).toEqual(['long', 'longer']);
    expect((await owed(served.port('tcp'), 'away', 2)).payloads).toEqual(['long', 'longer']);
    await served.stop();
  });

  test('some minutes are believed at once: what was to end in them has ended', async () => {
    await afterFirstRun();
    time.jump(LONG_S + 100);
    const served = await start();
    expect((await owed(served.port('tcp'), 'away', 1)).payloads).toEqual(['longer']);
    expect(await retained(served.port('tcp'), 1)).toEqual(['longer']);
    expect(served.child.stderr).toBe('');
    await served.stop();
  });
});
