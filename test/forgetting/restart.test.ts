// Whatever point of forgetting a process ends at, the next one brings it to its end. Here the points are chosen; the model's are random.
import { beforeEach, expect, test } from 'vitest';
import { takeInventory } from '../../storage/inventory.ts';
import { RowKind, rowKey } from '../../storage/rows.ts';
import { SEALED_HEADER_BYTES } from '../../storage/sealed.ts';
import { Step } from '../../storage/step.ts';
import { BareSpool } from './bare-spool.ts';
import { heldRows } from './held-rows.ts';
import { Place } from './place.ts';

const TURN_MS = 250;

let place: Place;
let bare: BareSpool;
beforeEach(() => {
  place = new Place();
  bare = new BareSpool(place.folder);
  for (const session of [1, 2]) bare.spool.putSession(session, Buffer.of(session), false);
});

const put = (name: string, owed: [number, number][], expiresAtMs = Infinity) =>
  bare.put({ topic: place.text(`${name}.topic`), payload: place.text(name), expiresAtMs }, ...owed);

/** The process ends here; the next one has a turn of its eraser. */
function restart(downMs = 0): void {
  bare.kill();
  bare.wait(downMs);
  bare = new BareSpool(place.folder, bare);
  bare.pass(TURN_MS);
}

function expectHeld(...names: string[]): void {
  expect(place.scan().names).toEqual(names.sort());
  expect(heldRows(bare.ground)).toEqual(bare.spool.held());
  bare.stop();
}

test('acknowledged and not yet taken out of its value', () => {
  put('first', [[1, 0]]);
  put('second', [[1, 1]]);
  bare.spool.commit();
  bare.spool.dropDelivery(1, 0);
  bare.spool.commit();
  restart();
  expect(bare.owed(1)).toEqual([place.text('second')]);
  expectHeld('second', 'second.topic');
});

test('received, for QoS 2, and not yet taken out of its value', () => {
  put('first', [[1, 0]]);
  bare.spool.commit();
  bare.spool.markReceived(1, 0);
  bare.spool.commit();
  restart();
  expectHeld();
});

test('acknowledged by all who shared it, and not yet taken out of its value', () => {
  for (const [i, name] of ['first', 'second'].entries())
    put(name, [
      [1, i],
      [2, i],
    ]);
  bare.spool.commit();
  for (const session of [1, 2]) bare.spool.dropDelivery(session, 0);
  bare.spool.commit();
  restart();
  for (const session of [1, 2]) expect(bare.owed(session)).toEqual([place.text('second')]);
  expectHeld('second', 'second.topic');
});

test('shared with sessions that ended, and not yet taken out of its value', () => {
  put('first', [
    [1, 0],
    [2, 0],
  ]);
  bare.spool.commit();
  for (const session of [1, 2]) bare.spool.dropSession(session);
  bare.spool.commit();
  restart();
  expectHeld();
});

test('removed, and its key not yet destroyed', () => {
  bare.spool.putSession(3, place.canaries.bytes('session'), false);
  bare.retain(1, { topic: 'retained', payload: place.text('retained') });
  bare.spool.commit();
  bare.spool.dropSession(3);
  bare.spool.dropRetained(1);
  bare.spool.commit();
  expect(bare.ground.disk.get(rowKey(RowKind.SESSION, 3, 0))).toBeNull();
  expect(place.scan().names).toEqual(['retained', 'session']);
  restart();
  expectHeld();
});

test('replaced, and the key of what was before not yet destroyed', () => {
  for (const which of ['old', 'new']) {
    bare.spool.putSession(3, place.canaries.bytes(`session.${which}`), false);
    bare.spool.putSubscription(3, 1, place.canaries.bytes(`filter.${which}`), 1, 0);
    bare.retain(1, { topic: 'retained', payload: place.text(`retained.${which}`) });
    bare.spool.commit();
  }
  expect(place.scan().names).toHaveLength(6);
  restart();
  expectHeld('filter.new', 'retained.new', 'session.new');
});

test('taken out of a value whose rest was sealed anew, and the key of the whole not yet destroyed', () => {
  put('first', [[1, 0]]);
  put('second', [[1, 1]]);
  bare.spool.commit();
  bare.spool.dropDelivery(1, 0);
  bare.spool.commit();
  const { vault } = bare.ground;
  const destroy = vault.destroy.bind(vault);
  vault.destroy = () => {}; // the process ends before it comes to this
  bare.pass(TURN_MS);
  vault.destroy = destroy;
  expect(place.scan().names).toContain('first');
  restart();
  expectHeld('second', 'second.topic');
});

test('expired while nothing ran', () => {
  const soonMs = bare.nowMs + 1_000;
  put('own', [[1, 0]], soonMs);
  put('shared', [[1, 1], [2, 0]], soonMs); // biome-ignore format: one message
  put('lasting', [[2, 1]]);
  bare.retain(1, { topic: 'retained', payload: place.text('retained'), expiresAtMs: soonMs });
  bare.spool.commit();
  restart(5_000);
  expect(bare.owed(1)).toEqual([]);
  expect(bare.spool.held()).toMatchObject({ messages: 1, retained: 0 });
  expectHeld('lasting', 'lasting.topic');
});

test('expires while nothing else is to be done: the eraser looks for it within the bound', () => {
  put('own', [[1, 0]], bare.nowMs + 60_000);
  bare.spool.commit();
  bare.pass(TURN_MS);
  expect(bare.spool.eraser.dueInMs()).toBeLessThanOrEqual(TURN_MS);
  bare.spool.dropDelivery(1, 0);
  bare.spool.commit();
  bare.pass(TURN_MS);
  bare.pass(TURN_MS);
  expect(bare.spool.eraser.dueInMs()).toBe(Infinity);
  bare.stop();
});

test('more has expired than one turn of the eraser takes: the next one follows at once', () => {
  const count = 10_001;
  for (let i = 1; i <= count; i++) bare.retain(i, { topic: String(i), payload: 'x', expiresAtMs: bare.nowMs + 1_000 });
  bare.spool.commit();
  expect(bare.spool.held().retained).toBe(count);
  bare.pass(1_000);
  expect(bare.spool.held().retained).toBe(1);
  expect(bare.spool.eraser.dueInMs()).toBe(0);
  bare.pass(0);
  expect(bare.spool.held().retained).toBe(0);
  bare.stop();
});

test('set aside because it was damaged: it goes with its session', () => {
  put('damaged', [[1, 0]]);
  put('whole', [[1, 1]]);
  bare.spool.commit();
  const key = rowKey(RowKind.QUEUE, 1, 0);
  const value = Buffer.from(bare.ground.disk.get(key)!);
  value[SEALED_HEADER_BYTES + 50]! ^= 1;
  const step = new Step(bare.ground);
  step.put(key, value);
  step.apply();
  restart();
  expect(bare.owed(1)).toEqual([place.text('whole')]);
  expect(takeInventory(bare.spool).quarantined.count).toBe(1);
  expect(place.scan().names).toContain('damaged');
  bare.spool.dropSession(1);
  bare.spool.commit();
  bare.pass(TURN_MS);
  expect(takeInventory(bare.spool).quarantined.count).toBe(0);
  expectHeld();
});
