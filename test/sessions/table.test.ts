// The session table against a map: handles find their own session and nothing else, for as long as it lasts.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Session } from '../../engine/sessions/session.ts';
import { SessionTable } from '../../engine/sessions/table.ts';
import { agree, check } from '../check.ts';

const CAPACITY = 6;

test('is a map of client identifiers, with handles that go stale', () => {
  const step = fc.record({ adds: fc.boolean(), name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', '') });
  return check(
    fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
      const table = new SessionTable(CAPACITY);
      const naive = new Map<string, Session>();
      const ended: Session[] = [];
      for (const { adds, name } of steps) {
        const known = naive.get(name);
        agree(table.find(name), known ?? null);
        if (adds && known === undefined) {
          const session = table.create(name);
          agree(session === null, naive.size === CAPACITY);
          if (session !== null) naive.set(name, session);
        } else if (!adds && known !== undefined) {
          table.remove(known);
          naive.delete(name);
          ended.push(known);
          table.remove(known); // a second time changes nothing
        }
        agree(table.count, naive.size);
        for (const session of naive.values()) agree(table.at(session.handle), session);
        // 64 generations: a handle can only be mistaken after its place was used that often.
        for (const session of ended.slice(-60)) agree(table.at(session.handle) === session, false);
      }
      expect(new Set(table)).toEqual(new Set(naive.values()));
      agree(new Set([...table].map(({ handle }) => handle)).size, naive.size);
    }),
    200,
  );
});

test('no handle is negative or wide, in any generation, and those of other tables find nothing', () => {
  const table = new SessionTable(1);
  const handles = new Set<number>();
  for (let generation = 0; generation < 64; generation++) {
    const session = table.create('c')!;
    expect(session.handle).toBeGreaterThanOrEqual(0);
    expect(session.handle).toBeLessThan(2 ** 30);
    handles.add(session.handle);
    table.remove(session);
  }
  agree(handles.size, 64);
  agree([table.at(-1), table.at(7), table.at(2 ** 30 - 1)], [null, null, null]);
});
