// Who guesses has to wait: how often, how long, who with whom, and that the table stays small.
import { describe, expect, test } from 'vitest';
import type { LoginGuard } from '../../engine/gate.ts';
import { createLoginGuard, type LoginGuardOptions } from '../../engine/security/login-guard.ts';
import { SeededRandom } from '../seeded-random.ts';
import { VirtualClock } from '../virtual-clock.ts';

const A = '192.0.2.1';
const B = '192.0.2.2';

function guarded(options: Partial<LoginGuardOptions> = {}): { clock: VirtualClock; guard: LoginGuard } {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  return { clock, guard: createLoginGuard({ failuresPerMinute: 3, blockMs: 60_000, clock, random, ...options }) };
}

function fail(guard: LoginGuard, address: string, times: number): void {
  for (let i = 0; i < times; i++) guard.hasFailed(address);
}

/** How long an address waits now, to the second. */
function waitS(clock: VirtualClock, guard: LoginGuard, address: string): number {
  let seconds = 0;
  while (!guard.mayTry(address)) {
    clock.advance(1_000);
    seconds++;
  }
  return seconds;
}

test('the failures of a minute are free, the one that fills it is not', () => {
  const { clock, guard } = guarded();
  fail(guard, A, 2);
  expect(guard.mayTry(A)).toBe(true);
  clock.advance(60_000);
  fail(guard, A, 2);
  expect(guard.mayTry(A)).toBe(true);
  fail(guard, A, 1);
  expect(guard.mayTry(A)).toBe(false);
  expect(guard.mayTry(B)).toBe(true);
});

test('the wait doubles with each failure after it, up to the longest', () => {
  const { clock, guard } = guarded();
  fail(guard, A, 3);
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    waits.push(waitS(clock, guard, A));
    fail(guard, A, 1);
  }
  expect(waits).toEqual([2, 4, 8, 16, 32, 60, 60, 60]);
});

test('what was under way when the wait began does not make it longer', () => {
  const { clock, guard } = guarded();
  fail(guard, A, 30);
  expect(waitS(clock, guard, A)).toBe(2);
});

test('who has been quiet for twice the longest wait begins anew', () => {
  const { clock, guard } = guarded();
  fail(guard, A, 3);
  expect(waitS(clock, guard, A)).toBe(2);
  clock.advance(120_000);
  fail(guard, A, 2);
  expect(guard.mayTry(A)).toBe(true);
});

describe('addresses', () => {
  test.each([
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff', true],
    ['2001:db8:1:2::1', '2001:0db8:0001:0002:0:0:0:9', true],
    ['2001:db8:1:2::1', '2001:db8:1:3::1', false],
    ['2001:db8::1', '2001:db8:0:0:8::', true],
    ['::2', '::ffff:0:0:1', true],
    ['fe80::1%eth0', 'fe80::2%eth0', true],
    ['64:ff9b::192.0.2.1', '64:ff9b::192.0.2.2', true],
    ['192.0.2.1', '192.0.2.2', false],
  ])('%s and %s wait together: %s', (one, other, together) => {
    const { guard } = guarded();
    fail(guard, one, 3);
    expect(guard.mayTry(one)).toBe(false);
    expect(guard.mayTry(other)).toBe(!together);
  });

  test.each(['127.0.0.1', '127.8.9.1', '::1'])('%s does not wait', (address) => {
    const { guard } = guarded();
    fail(guard, address, 50);
    expect(guard.mayTry(address)).toBe(true);
  });
});

test('the table is bounded: who failed longest ago is forgotten first', () => {
  const { guard } = guarded({ addressesMax: 10, failuresPerMinute: 1 });
  for (let i = 0; i < 10; i++) guard.hasFailed(`198.51.100.${i}`);
  guard.hasFailed('198.51.100.0'); // again: it is not the oldest any more
  guard.hasFailed(A);
  const waiting = Array.from({ length: 10 }, (_, i) => !guard.mayTry(`198.51.100.${i}`));
  expect(waiting).toEqual([true, false, ...Array<boolean>(8).fill(true)]);
  expect(guard.mayTry(A)).toBe(false);
});
