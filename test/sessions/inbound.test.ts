// The identifiers of QoS 2 messages that are under way: a set of 16-bit numbers.
import fc from 'fast-check';
import { test } from 'vitest';
import { InboundIdentifiers } from '../../engine/sessions/inbound.ts';
import { agree, check } from '../check.ts';

test('is a set, from 1 to 65,535', () => {
  const packetId = fc.oneof(fc.integer({ min: 1, max: 65_535 }), fc.constantFrom(1, 31, 32, 33, 63, 64, 65_504, 65_535));
  return check(
    fc.property(fc.array(fc.record({ packetId, adds: fc.boolean() }), { maxLength: 200, size: 'max' }), (steps) => {
      const identifiers = new InboundIdentifiers();
      const naive = new Set<number>();
      for (const { packetId: id, adds } of steps) {
        agree(identifiers.has(id), naive.has(id));
        if (!adds) agree(identifiers.remove(id), naive.delete(id));
        else if (!naive.has(id)) {
          identifiers.add(id);
          naive.add(id);
        }
        agree([identifiers.has(id), identifiers.count], [naive.has(id), naive.size]);
        for (const neighbour of [id - 1, id + 1, id - 32, id + 32]) {
          if (neighbour > 0 && neighbour <= 65_535) agree(identifiers.has(neighbour), naive.has(neighbour));
        }
      }
    }),
    200,
  );
});

test('holds all of them at once', () => {
  const identifiers = new InboundIdentifiers();
  for (let id = 1; id <= 65_535; id++) identifiers.add(id);
  agree(identifiers.count, 65_535);
  for (let id = 65_535; id >= 1; id--) agree(identifiers.remove(id), true);
  agree([identifiers.count, identifiers.has(1), identifiers.remove(1)], [0, false, false]);
});
