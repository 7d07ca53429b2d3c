// The slab of messages against a map: what was put is there, byte for byte, until its last reference goes; a stale handle finds nothing.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type MessageHandle, MessageSlab, NO_MESSAGE } from '../../engine/memory/messages.ts';
import { MessageView } from '../../protocol/publish.ts';
import { agree, check } from '../check.ts';
import { bytesOf, fieldsOf, messageOf } from '../storage/message.ts';

interface Kept {
  readonly fields: ReturnType<typeof fieldsOf>;
  readonly bytes: number;
  references: number;
  stored: number;
}

/** Around every bound of the size classes, and past the largest. */
const size = fc.oneof(
  { weight: 8, arbitrary: fc.nat(300) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(0, 63, 64, 65, 127, 128, 129, 4_095, 4_096, 4_097, 32_768, 65_535, 65_536, 65_537, 70_000),
  },
);
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('add' as const),
      topic: fc.string({ maxLength: 12 }),
      properties: fc.uint8Array({ maxLength: 20 }),
      size,
      qos: fc.constantFrom(0, 1, 2),
      retain: fc.nat(1),
      expiresAtMs: fc.constantFrom(Infinity, 0, 1_700_000_000_123),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('retain' as const, 'release' as const, 'release' as const, 'store' as const),
      at: fc.nat(1_000),
    }),
  },
);

describe('the slab', () => {
  test('is a map with counted values', () =>
    check(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
        const slab = new MessageSlab();
        const naive = new Map<MessageHandle, Kept>();
        const stale: MessageHandle[] = [];
        const view = new MessageView();
        for (const [at, one] of steps.entries()) {
          if (one.do === 'add') {
            const message = messageOf({ ...one, payload: Buffer.alloc(one.size, at) });
            const handle = slab.add(message);
            agree(naive.has(handle) || handle < 0, false);
            naive.set(handle, { fields: fieldsOf(message), bytes: bytesOf(message), references: 1, stored: 0 });
            message.topic.fill(0x21); // it was borrowed
            message.payload.fill(0x21);
          } else if (naive.size > 0) {
            const handle = [...naive.keys()][one.at % naive.size]!;
            const kept = naive.get(handle)!;
            if (one.do === 'store') {
              kept.stored = one.at;
              slab.setStored(handle, one.at);
            } else if (one.do === 'retain') {
              kept.references++;
              agree(slab.retain(handle), true);
            } else {
              slab.release(handle);
              if (--kept.references > 0) continue;
              naive.delete(handle);
              stale.push(handle);
            }
          }
          agree([slab.count, slab.bytes], [naive.size, sumOf(naive.values())]);
          for (const handle of stale.slice(-3)) {
            agree([slab.retain(handle), slab.view(handle, view), slab.length(handle), slab.stored(handle)], [false, false, 0, 0]);
            slab.release(handle);
            slab.setStored(handle, 7);
          }
        }
        for (const [handle, { fields, bytes, stored }] of naive) {
          agree(slab.view(handle, view), true);
          expect(fieldsOf(view)).toEqual(fields);
          agree([slab.length(handle), slab.stored(handle), slab.expiresAtMs(handle)], [bytes, stored, fields.expiresAtMs]);
        }
        for (const [handle, { references }] of naive) for (let i = 0; i < references; i++) slab.release(handle);
        agree([slab.count, slab.bytes], [0, 0]);
      }),
      150,
    ));

  test('grows, gives every message another handle, and uses its room again', () => {
    const slab = new MessageSlab();
    const message = messageOf({ topic: 'a/b', payload: 'x'.repeat(100) });
    let held = 0;
    for (let life = 0; life < 3; life++) {
      const handles = Array.from({ length: 5_000 }, () => slab.add(message));
      expect(new Set(handles).size).toBe(5_000);
      if (life === 0) held = slab.heldBytes;
      expect(slab.heldBytes).toBe(held);
      for (const handle of handles) slab.release(handle);
      expect([slab.count, slab.bytes]).toEqual([0, 0]);
    }
    // One page of the class stays for the next message.
    expect(slab.heldBytes).toBe(262_144);
  });

  test('gives a large message its own memory, and it back with the message', () => {
    const slab = new MessageSlab();
    const handle = slab.add(messageOf({ payload: new Uint8Array(1_000_000) }));
    expect(slab.heldBytes).toBe(slab.bytes);
    slab.release(handle);
    expect(slab.heldBytes).toBe(0);
  });

  test('what one size took is not lost to another', () => {
    const slab = new MessageSlab();
    for (const size of [10, 100, 1_000, 10_000, 60_000]) {
      const handles = Array.from({ length: 2_000_000 / Math.max(size, 1_000) }, () =>
        slab.add(messageOf({ payload: new Uint8Array(size) })),
      );
      for (const handle of handles) slab.release(handle);
    }
    expect(slab.heldBytes).toBeLessThanOrEqual(5 * 262_144);
  });

  test('none is no message', () => {
    const slab = new MessageSlab();
    slab.add(messageOf({}));
    slab.release(NO_MESSAGE);
    expect([slab.retain(NO_MESSAGE), slab.view(NO_MESSAGE, new MessageView()), slab.length(NO_MESSAGE), slab.count]).toEqual([
      false,
      false,
      0,
      1,
    ]);
    expect(slab.expiresAtMs(NO_MESSAGE)).toBe(Infinity);
  });
});

function sumOf(kept: Iterable<Kept>): number {
  let sum = 0;
  for (const { bytes } of kept) sum += bytes;
  return sum;
}
