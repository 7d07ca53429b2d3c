// The time in which no session moves has an end, holds no more than it must, and forgets claims of clients that have gone.
import { beforeEach, expect, test, vi } from 'vitest';
import { type Standstill, standstillOf } from '../../engine/administration/standstill.ts';
import { Caller } from '../peers/caller.ts';
import { Company } from '../peers/company.ts';

let company: Company;
let standstill: Standstill;
let callers: Caller[];

/** Three clients with a session in the second shard. */
beforeEach(() => {
  company = new Company();
  standstill = standstillOf(company.members[0]!.shard);
  callers = ['a', 'b', 'c'].map((id) => new Caller(company, id));
  for (const caller of callers) caller.connect(1);
  company.settle();
  for (const caller of callers) caller.disconnect();
  company.settle();
});

/** Something that takes until `done` is called, and has begun. */
async function held(clientId?: string): Promise<{ readonly result: Promise<string>; done: () => void }> {
  let done = () => {};
  let hasBegun = false;
  const result = standstill(() => {
    hasBegun = true;
    return new Promise<string>((resolve) => {
      done = () => resolve('done');
    });
  }, clientId);
  result.catch(() => {});
  await vi.waitFor(() => expect(hasBegun).toBe(true), { interval: 1 });
  return { result, done };
}

async function microtasks(): Promise<void> {
  for (let count = 0; count < 10; count++) await Promise.resolve();
}

test('of everybody: whose session would move waits, for a minute at the most', async () => {
  const { result } = await held();
  callers[0]!.connect(2);
  company.settle();
  expect(callers[0]!.isOpen).toBe(false);
  company.advance(59_000);
  await microtasks();
  company.settle();
  expect(callers[0]!.isOpen).toBe(false);
  company.advance(1_000);
  await expect(result).rejects.toThrow('it was not done within 60 s');
  company.settle();
  expect(callers[0]!.isOpen).toBe(true);
  // The next one has its turn.
  await expect(standstill(async () => 'next')).resolves.toBe('next');
});

test('of one client: the sessions of the others move', async () => {
  const { result, done } = await held('a');
  for (const caller of callers) caller.connect(2);
  company.settle();
  expect(callers.map(({ isOpen }) => isOpen)).toEqual([false, true, true]);
  company.advance(61_000);
  done();
  expect(await result).toBe('done');
  company.settle();
  expect(callers.map(({ isOpen }) => isOpen)).toEqual([true, true, true]);
});

test('a client that tries again and again leaves no claims behind', async () => {
  const { result, done } = await held();
  for (let times = 0; times < 20; times++) {
    callers[0]!.connect(2);
    company.settle();
    callers[0]!.cut();
    company.settle();
  }
  expect(company.books()['claimants']).toBe(0);
  callers[0]!.connect(0);
  callers[1]!.connect(2);
  company.settle();
  expect(company.books()['claimants']).toBe(2);
  done();
  await result;
  company.settle();
  expect(callers.map(({ isOpen }) => isOpen)).toEqual([true, true, false]);
  expect(company.books()['claimants']).toBe(0);
});
