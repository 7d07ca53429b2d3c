// Free rows and epochs by themselves: pools of several participants over one table against sets, and what waits for whom.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IntList } from '../../engine/memory/int-list.ts';
import { Epochs, epochsBytes, Limbo } from '../../engine/topics/epochs.ts';
import { batchRows, POOL_WORDS, Pool } from '../../engine/topics/pool.ts';
import { agree, check } from '../check.ts';

const PARTICIPANTS = 3;
const ROW_WORDS = 4;

function pools(rowsMax: number, batchSize: number): Pool[] {
  const words = new Int32Array(new SharedArrayBuffer((rowsMax + 1) * ROW_WORDS * 4));
  const own = new Int32Array(new SharedArrayBuffer(PARTICIPANTS * POOL_WORDS * 4));
  const shared = new Int32Array(new SharedArrayBuffer(16));
  return Array.from(
    { length: PARTICIPANTS },
    (_, participant) =>
      new Pool({
        words,
        rowShift: 2,
        link: 0,
        batch: 1,
        own,
        ownAt: participant * POOL_WORDS,
        shared,
        usedAt: 0,
        stackAt: 2,
        rowsMax,
        batchSize,
        participantsMax: PARTICIPANTS,
      }),
  );
}

test('every row is given to one at a time, and none is lost', async () => {
  const step = fc.record({ participant: fc.nat(PARTICIPANTS - 1), takes: fc.boolean(), count: fc.integer({ min: 1, max: 20 }) });
  await check(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 8 }), fc.array(step), (rowsMax, batchSize, steps) => {
      const all = pools(rowsMax, batchSize);
      const taken = new Set<number>();
      for (const { participant, takes, count } of steps) {
        for (let i = 0; i < count; i++) {
          if (takes) {
            const row = all[participant]!.take();
            if (row === 0) break;
            agree([row >= 1 && row <= rowsMax, taken.has(row)], [true, false]);
            taken.add(row);
          } else {
            const [row] = taken;
            if (row === undefined) break;
            taken.delete(row);
            all[participant]!.give(row);
          }
        }
        const free = new IntList();
        for (const pool of all) pool.appendOwn(free);
        all[0]!.appendShared(free);
        const known = [...taken, ...free.values.subarray(0, free.count)].sort((a, b) => a - b);
        agree(
          known,
          Array.from({ length: all[0]!.used }, (_, at) => at + 1),
        );
      }
    }),
    300,
  );
});

test('one participant gets to the last row, and others keep at most a quarter', () => {
  for (const rowsMax of [1, 2, 7, 100, 5_000]) {
    const all = pools(rowsMax, batchRows(rowsMax, PARTICIPANTS));
    for (let row = 1; row <= rowsMax; row++) expect(all[1]!.take()).toBe(row);
    expect([all[1]!.take(), all[0]!.take()]).toEqual([0, 0]);
    for (let row = 1; row <= rowsMax; row++) all[1]!.give(row);
    let found = 0;
    while (all[2]!.take() !== 0) found++;
    expect(found).toBeGreaterThanOrEqual(rowsMax - Math.max(1, rowsMax / 4));
  }
});

test('a row is freed when all who were inside as it was retired have left, and not before', () => {
  const buffer = new SharedArrayBuffer(epochsBytes(PARTICIPANTS));
  const freed: number[] = [];
  const owner = { free: (row: number) => void freed.push(row) };
  const all = Array.from({ length: PARTICIPANTS }, (_, participant) => {
    const limbo = () => new Limbo(owner, new Int32Array(32), 2, 0, new Int32Array(2), 0, PARTICIPANTS);
    return { epochs: new Epochs(buffer, 0, PARTICIPANTS, participant), nodes: limbo(), entries: limbo() };
  });
  const [writer, early, late] = all.map((one) => ({
    enter: () => one.epochs.enter(),
    retire: (row: number) => one.nodes.retire(row),
    quiesce: () => {
      one.epochs.leave();
      one.epochs.reclaim(one.nodes, one.entries);
    },
  }));
  early!.enter();
  writer!.enter();
  writer!.retire(1);
  writer!.quiesce();
  late!.enter();
  writer!.quiesce();
  expect(freed).toEqual([]);
  early!.quiesce();
  writer!.quiesce();
  writer!.enter();
  writer!.retire(2);
  writer!.quiesce();
  late!.quiesce();
  writer!.quiesce();
  expect(freed).toEqual([1, 2]);
});
