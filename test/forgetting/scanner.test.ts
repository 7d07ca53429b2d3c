// The scanner is worth what it finds: canaries are planted in every way in which the spool could fail to forget, and it must see each. And
// what it must not see: anything at all without the keys, at any time (DESIGN §2, promise 4).
import { randomBytes } from 'node:crypto';
import { closeSync, copyFileSync, ftruncateSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { KEYS_FILE, rotateMaster } from '../../storage/folder.ts';
import { RowKind, rowKey } from '../../storage/rows.ts';
import { seal, sealedFacts } from '../../storage/sealed.ts';
import { Step } from '../../storage/step.ts';
import { BareSpool } from './bare-spool.ts';
import { Place } from './place.ts';
import { Effort } from './scanner.ts';

const HEADER_COPY_AT = 2_048;

let place: Place;
beforeEach(() => {
  place = new Place();
});

const path = (name: string) => join(place.folder, name);

describe('in clear', () => {
  const encodings: readonly (readonly [string, (text: Buffer) => Buffer])[] = [
    ['plain', (text) => text],
    ['UTF-16', (text) => Buffer.from(text.toString(), 'utf16le')],
    ['hex', (text) => Buffer.from(text.toString('hex'))],
    ['hex in capitals', (text) => Buffer.from(text.toString('hex').toUpperCase())],
    ...[0, 1, 2].flatMap((shift) =>
      (['base64', 'base64url'] as const).map(
        (form) =>
          [
            `${form} behind ${shift} bytes`,
            (text: Buffer) => Buffer.from(Buffer.concat([randomBytes(shift), text]).toString(form)),
          ] as const,
      ),
    ),
  ];

  test.each(encodings)('%s is found, and named', (_name, encode) => {
    writeFileSync(path('copy'), Buffer.concat([randomBytes(5_003), encode(place.canaries.bytes('planted')), randomBytes(17)]));
    expect(place.scan().names).toEqual(['planted']);
  });

  test('across the pieces in which a file is read, behind a hole', () => {
    const sparse = openSync(path('sparse'), 'w');
    ftruncateSync(sparse, 2 ** 28);
    writeSync(sparse, place.canaries.bytes('at-a-seam'), 0, undefined, 2 ** 27 - 7);
    closeSync(sparse);
    expect(place.scan().names).toEqual(['at-a-seam']);
  });

  test('in a file that was deleted and is still open', () => {
    const descriptor = openSync(path('temporary'), 'w');
    writeSync(descriptor, place.canaries.bytes('deleted'));
    rmSync(path('temporary'));
    const report = place.scan();
    closeSync(descriptor);
    expect(report.names).toEqual(['deleted']);
    expect(report.files).toEqual([`${path('temporary')} (deleted)`]);
    expect(place.scan().names).toEqual([]);
  });

  test('a copy without encryption, next to a spool that forgets', () => {
    const spool = new BareSpool(place.folder);
    spool.spool.putSession(1, place.canaries.bytes('session'), false);
    spool.spool.commit();
    spool.ground.disk.range(Buffer.of(0), Buffer.of(0xff), (key, value) => {
      writeFileSync(path('backup'), Buffer.concat([key, value, place.canaries.bytes('backup')]));
      return true;
    });
    spool.spool.dropSession(1);
    spool.stop();
    expect(place.scan().names).toEqual(['backup']);
  });
});

/** A spool with a session, a message for it alone, a shared one and a retained one: four kinds of sealed values. */
function fill(master: Uint8Array | null = null): BareSpool {
  const bare = new BareSpool(place.folder, null, master);
  const { spool } = bare;
  const text = (name: string) => place.text(name);
  spool.putSession(1, place.canaries.bytes('session'), false);
  spool.putSession(2, Buffer.from('no canary'), false);
  spool.putSubscription(1, 1, place.canaries.bytes('filter'), 1, 0);
  bare.put({ topic: text('topic'), payload: text('payload') }, [1, 0]);
  bare.put({ topic: text('long.topic'), payload: text('long.payload') + 'x'.repeat(9_000) + text('long.end') }, [1, 1]);
  bare.put({ topic: text('shared.topic'), payload: text('shared.payload') }, [1, 2], [2, 0]);
  bare.retain(1, { topic: text('retained.topic'), payload: text('retained.payload') });
  expect(spool.commit()).toBe(true);
  return bare;
}

const HELD = [
  'filter',
  'long.end',
  'long.payload',
  'long.topic',
  'payload',
  'retained.payload',
  'retained.topic',
  'session',
  'shared.payload',
  'shared.topic',
  'topic',
];

describe('in sealed values', () => {
  test('what is held is found with the keys, every reachable value is opened, and rows are', () => {
    const bare = fill();
    const slots = new Set<number>();
    bare.ground.disk.range(rowKey(RowKind.QUEUE, 0, 0), Buffer.of(RowKind.EXPIRY), (key, value) => {
      if (key[0] !== RowKind.COUNTS) slots.add(sealedFacts(value)!.slot);
      return true;
    });
    const report = place.scan();
    bare.kill();
    expect(report.names).toEqual(HELD);
    expect(report.openedSlots).toEqual(slots);
    expect(slots.size).toBeGreaterThanOrEqual(6);
    expect(report.openedRows).toBeGreaterThanOrEqual(4);
  });

  test('nothing is found without the keys, while it is held and afterwards', () => {
    const bare = fill();
    expect(place.scan({ effort: Effort.NO_KEYS }).found).toEqual([]);
    bare.spool.dropSession(1);
    bare.spool.dropSession(2);
    bare.spool.dropRetained(1);
    bare.spool.commit();
    // The values are removed, their keys are not destroyed yet.
    expect(place.scan().names).toEqual(HELD);
    expect(place.scan({ effort: Effort.NO_KEYS }).found).toEqual([]);
    bare.pass(1_000);
    const report = place.scan({ effort: Effort.EVERY_KEY });
    bare.kill();
    expect(report.found).toEqual([]);
    expect(report.pairs.tried).toBe(report.pairs.all);
    expect(report.pairs.tried).toBeGreaterThan(5_000);
  });

  test('in a page that was freed, when the key was not destroyed; and not any more when it is', () => {
    const bare = fill();
    const { ground } = bare;
    const value = ground.disk.get(rowKey(RowKind.QUEUE, 1, 0));
    const { slot } = sealedFacts(value!)!;
    const step = new Step(ground);
    step.remove(rowKey(RowKind.QUEUE, 1, 0));
    step.apply();
    expect(ground.disk.get(rowKey(RowKind.QUEUE, 1, 0))).toBeNull();
    expect(place.scan().names).toEqual(HELD);
    ground.vault.destroy([slot]);
    const report = place.scan({ effort: Effort.EVERY_KEY });
    bare.kill();
    expect(report.names).toEqual(
      HELD.filter((name) => !['long.end', 'long.payload', 'long.topic', 'payload', 'topic'].includes(name)),
    );
  });

  test('by a key that stands in another slot, or in a copy of the key file', () => {
    const bare = fill();
    const { ground } = bare;
    const value = Buffer.from(ground.disk.get(rowKey(RowKind.SESSION, 1, 0))!);
    const { slot } = sealedFacts(value)!;
    copyFileSync(path(KEYS_FILE), path('keys.bak'));
    bare.spool.dropSession(1);
    bare.spool.commit();
    bare.pass(1_000);
    const kept = place.scan().names;
    const keys = readFileSync(path('keys.bak'));
    rmSync(path('keys.bak'));
    expect(kept).toContain('session');
    expect(place.scan().names).not.toContain('session');
    // The key survives, and nothing says of which slot it is.
    const at = 4_096 + slot * 40;
    const current = readFileSync(path(KEYS_FILE));
    keys.copy(current, 64, at, at + 40);
    writeFileSync(path('stray.keys'), current);
    expect(place.scan({ effort: Effort.OWN_KEYS }).names).not.toContain('session');
    expect(place.scan({ effort: Effort.EVERY_KEY }).names).toContain('session');
    bare.kill();
  });

  test('in a value that is damaged, whose tag fits no more', () => {
    const bare = new BareSpool(place.folder);
    const { ground } = bare;
    const plain = Buffer.concat([randomBytes(3_000), place.canaries.bytes('damaged'), randomBytes(3_000)]);
    const facts = { flags: 0, count: 1, last: 0, sinceMs: Date.UTC(2026), untilMs: Infinity };
    const { value, slot } = seal(ground.vault, randomBytes, plain, facts);
    value[100]! ^= 1;
    const step = new Step(ground);
    step.put(rowKey(RowKind.QUEUE, 1, 0), value);
    step.apply();
    const report = place.scan();
    ground.vault.destroy([slot]);
    expect(report.names).toEqual(['damaged']);
    expect(report.openedSlots).toEqual(new Set());
    expect(place.scan({ effort: Effort.EVERY_KEY }).found).toEqual([]);
    bare.kill();
  });
});

describe('behind a master key', () => {
  const [first, second, other] = [1, 2, 3].map((byte) => Uint8Array.from({ length: 32 }, () => byte)) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];

  test('nothing is found without it, or with another one', () => {
    const bare = fill(first);
    expect(place.scan({ effort: Effort.EVERY_KEY }).found).toEqual([]);
    expect(place.scan({ effort: Effort.EVERY_KEY, masters: [other] }).found).toEqual([]);
    expect(place.scan({ masters: [other, first] }).names).toEqual(HELD);
    bare.kill();
  });

  test('after a rotation the old one opens nothing, unless a header of it is left', () => {
    const bare = fill(first);
    const before = readFileSync(path(KEYS_FILE));
    rotateMaster(place.folder, first, second, randomBytes);
    expect(place.scan({ effort: Effort.EVERY_KEY, masters: [first] }).found).toEqual([]);
    expect(place.scan({ masters: [second] }).names).toEqual(HELD);
    // A rotation that stopped after the first of the two headers.
    const half = readFileSync(path(KEYS_FILE));
    before.copy(half, HEADER_COPY_AT, HEADER_COPY_AT, HEADER_COPY_AT + 76);
    writeFileSync(path(KEYS_FILE), half);
    expect(place.scan({ masters: [first] }).names).toEqual(HELD);
    // Or one that wrote it somewhere else.
    rotateMaster(place.folder, second, second, randomBytes);
    expect(place.scan({ masters: [first] }).found).toEqual([]);
    writeFileSync(path('old-header'), before.subarray(0, 76));
    expect(place.scan({ masters: [first] }).names).toEqual(HELD);
    bare.kill();
  });
});
