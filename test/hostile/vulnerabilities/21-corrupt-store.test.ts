// 21. A store that is corrupt when the broker starts. Deeper: test/storage/damaged-values.test.ts, data-file.test.ts, lmdb-disk.test.ts, test/crash/.
// Red when: a damaged file ends the process with a signal or keeps it in a loop, is taken for an empty one, gives a message that nobody sent, or costs more than what was damaged.
import { randomBytes } from 'node:crypto';
import { closeSync, cpSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { silentLog } from '../../../engine/log.ts';
import { type RunningBroker, startBroker } from '../../broker.ts';
import { Client } from '../../forgetting/client.ts';
import { temporaryFolder } from '../../forgetting/place.ts';

const MESSAGES = 60;
const PAGE_BYTES = 4_096;
const payloadOf = (at: number) => Buffer.alloc(2_000, `message ${at} `);
const running = new Set<RunningBroker>();
afterEach(async () => {
  for (const broker of running) await broker.stop();
  running.clear();
});

/** A data directory with messages that wait for `sleeper`, and retained ones. */
let good = '';
beforeAll(async () => {
  good = temporaryFolder();
  const broker = await startBroker([`server.data_dir=${good}`]);
  const sleeper = await Client.connect(broker.tcp, { clientId: 'sleeper' });
  await sleeper.subscribe('q/#', 1);
  sleeper.cut();
  const publisher = await Client.connect(broker.tcp, { clientId: 'publisher', clean: true, expiryS: 0 });
  for (let at = 0; at < MESSAGES; at++) {
    await publisher.publish({ topic: `q/${at}`, payload: payloadOf(at), qos: 1 });
    await publisher.publish({ topic: `r/${at}`, payload: payloadOf(at), qos: 1, retain: true });
  }
  publisher.cut();
  await broker.stop();
});

/** A copy that is damaged before the broker starts on it. */
async function startOn(damage: (folder: string) => void): Promise<{ broker: RunningBroker; warnings: string[] }> {
  const folder = temporaryFolder();
  cpSync(good, folder, { recursive: true });
  damage(folder);
  const warnings: string[] = [];
  const note = (text: string) => void warnings.push(text);
  const broker = await startBroker([`server.data_dir=${folder}`], { log: { ...silentLog, warn: note, error: note } });
  running.add(broker);
  return { broker, warnings };
}

/** What clients can still have; each message must be one that was sent, whole. */
async function remains(broker: RunningBroker): Promise<{ queued: number; retained: number }> {
  const count = { queued: 0, retained: 0 };
  const client = await Client.connect(broker.tcp, { clientId: 'sleeper', clean: false });
  // Retained messages come in the order of the filters, queued ones in their own: behind the last of either there is nothing more.
  await client.publish({ topic: 'last/retained', payload: 'x', qos: 1, retain: true });
  await client.subscribe('r/#', 0);
  await client.subscribe('last/+', 1);
  await client.publish({ topic: 'last/queued', payload: 'x', qos: 1 });
  const hasCome = (name: string) => client.received.some(({ topic }) => topic === name);
  await client.until('the last messages are there', () => hasCome('last/retained') && hasCome('last/queued'));
  for (const { topic, payload } of client.received) {
    if (topic.startsWith('last/')) continue;
    const [kind, at] = topic.split('/');
    expect(payload.toString()).toBe(payloadOf(Number(at)).toString());
    if (kind === 'q') count.queued++;
    else count.retained++;
  }
  client.cut();
  return count;
}

function write(path: string, at: number, bytes: Uint8Array): void {
  const descriptor = openSync(path, 'r+');
  writeSync(descriptor, bytes, 0, bytes.length, at);
  closeSync(descriptor);
}

const dataOf = (folder: string) => join(folder, 'spool.mdb');
const keysOf = (folder: string) => join(folder, 'spool.keys');
const sizeOf = (path: string) => statSync(path).size;

/** Pages of the trees of lmdb: kind 1 is a branch, 2 a leaf (storage/data-file.ts). */
function treePages(folder: string): number[] {
  const data = readFileSync(dataOf(folder));
  const pages: number[] = [];
  for (let at = 2 * PAGE_BYTES; at + PAGE_BYTES <= data.length; at += PAGE_BYTES) {
    const isOwn = data.readBigUInt64LE(at) === BigInt(at / PAGE_BYTES);
    if (isOwn && [1, 2].includes(data.readUInt16LE(at + 18))) pages.push(at);
  }
  return pages;
}

test('undamaged, everything is there', async () => {
  const { broker, warnings } = await startOn(() => {});
  expect(await remains(broker)).toEqual({ queued: MESSAGES, retained: MESSAGES });
  expect(warnings).toEqual([]);
});

describe('is refused in one line that names the file, and nothing in it is changed', () => {
  test.each<[string, (folder: string) => void, RegExp]>([
    [
      'a data file of half its length',
      (folder) => truncateSync(dataOf(folder), Math.floor(sizeOf(dataOf(folder)) / 2)),
      /spool\.mdb/,
    ],
    ['a data file of two pages', (folder) => truncateSync(dataOf(folder), 2 * PAGE_BYTES), /spool\.mdb/],
    ['a data file of one byte', (folder) => truncateSync(dataOf(folder), 1), /spool\.mdb/],
    [
      'a data file whose trees are noise',
      (folder) => {
        for (const at of treePages(folder)) write(dataOf(folder), at, randomBytes(PAGE_BYTES));
      },
      /spool\.mdb/,
    ],
    [
      'roots of the trees that are noise',
      (folder) => {
        for (const at of [0, PAGE_BYTES]) write(dataOf(folder), at + 72, randomBytes(72));
      },
      /spool\.mdb/,
    ],
    ['a data file of noise', (folder) => write(dataOf(folder), 0, randomBytes(sizeOf(dataOf(folder)))), /spool\.mdb/],
    ['a data file without its key file', (folder) => rmSync(keysOf(folder)), /spool\.keys is missing/],
    ['a key file of noise', (folder) => write(keysOf(folder), 0, randomBytes(4_096)), /spool\.keys/],
    ['an empty key file', (folder) => truncateSync(keysOf(folder), 0), /spool\.keys/],
    ['the key file of another spool', (folder) => cpSync(keysOf(strangers), keysOf(folder)), /spool\.keys/],
  ])('%s', async (_what, damage, says) => {
    let before = Buffer.alloc(0);
    let folder = '';
    const started = await startOn((of) => {
      damage(of);
      folder = of;
      before = readFileSync(dataOf(of));
    }).catch((error: unknown) => error as Error);
    if (!(started instanceof Error)) throw new Error('it started');
    expect(started.message).toMatch(says);
    expect(started.message).not.toContain('\n');
    expect(readFileSync(dataOf(folder)).equals(before)).toBe(true);
  });
});

let strangers = '';
beforeAll(async () => {
  strangers = temporaryFolder();
  await (await startBroker([`server.data_dir=${strangers}`])).stop();
});

test('a tree page of noise, whichever of some it is: refused, or served without one wrong message', async () => {
  const pages = treePages(good);
  expect(pages.length).toBeGreaterThan(2);
  for (const at of pages.slice(0, 6)) {
    const started = await startOn((folder) => write(dataOf(folder), at, randomBytes(PAGE_BYTES))).catch(
      (error: unknown) => error as Error,
    );
    if (started instanceof Error) {
      expect(started.message).toMatch(/spool\.mdb: it is cut short or damaged/);
      continue;
    }
    // A page that no tree has any more.
    expect(await remains(started.broker)).toEqual({ queued: MESSAGES, retained: MESSAGES });
    await started.broker.stop();
    running.delete(started.broker);
  }
}, 120_000);

test('bits that flip in values cost those values, are told of, and no message is changed', async () => {
  const trees = new Set(treePages(good));
  const pages = sizeOf(dataOf(good)) / PAGE_BYTES;
  let damaged = 0;
  const { broker, warnings } = await startOn((folder) => {
    // Behind the header of each fifth page that is none of a tree: the first one of a value, or one that is free.
    for (let page = 2; page < pages; page += 5) {
      if (trees.has(page * PAGE_BYTES)) continue;
      damaged++;
      write(dataOf(folder), page * PAGE_BYTES + 1_500, randomBytes(64));
    }
  });
  const { queued, retained } = await remains(broker);
  expect(queued + retained).toBeLessThan(2 * MESSAGES);
  expect(queued + retained).toBeGreaterThanOrEqual(2 * MESSAGES - 16 * damaged);
  expect(queued + retained).toBeGreaterThan(0);
  expect(warnings.join('\n')).toMatch(/is damaged/);
  expect(warnings.join('\n')).not.toMatch(/message \d+ message|sleeper|[qr]\/\d/);
});
