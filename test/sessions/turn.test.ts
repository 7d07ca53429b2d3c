// The end of the turn: each duty once, in the order in which they came, and what comes meanwhile in the next one.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Duty, Turn } from '../../engine/sessions/turn.ts';
import { agree, check } from '../check.ts';
import { VirtualClock } from '../virtual-clock.ts';

test('runs what was added since the last turn, once each and in order', () => {
  const step = fc.oneof(
    fc.record({ duty: fc.nat(4), also: fc.option(fc.nat(4)) }),
    fc.constant(null), // the turn ends
  );
  return check(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const clock = new VirtualClock();
      const turn = new Turn(clock);
      const ran: number[] = [];
      const adds: (number | null)[] = [null, null, null, null, null];
      const duties: Duty[] = adds.map((_, at) => ({
        due: false,
        endTurn() {
          agree(this.due, false);
          ran.push(at);
          const also = adds[at]!;
          adds[at] = null;
          if (also !== null) turn.add(duties[also]!);
        },
      }));
      let due: number[] = [];
      for (const one of steps) {
        if (one === null) {
          const expected = due;
          due = [];
          for (const at of expected) {
            const also = adds[at]!;
            if (also !== null && !due.includes(also) && !expected.slice(expected.indexOf(at) + 1).includes(also)) due.push(also);
          }
          ran.length = 0;
          agree(clock.endTurn(), expected.length > 0);
          expect(ran).toEqual(expected);
        } else {
          adds[one.duty] = one.also;
          turn.add(duties[one.duty]!);
          if (!due.includes(one.duty)) due.push(one.duty);
        }
        expect(duties.map((duty) => duty.due)).toEqual(duties.map((_, at) => due.includes(at)));
      }
    }),
    300,
  );
});

test('can be ended early, and then has nothing to do', () => {
  const clock = new VirtualClock();
  const turn = new Turn(clock);
  let runs = 0;
  const duty: Duty = { due: false, endTurn: () => runs++ };
  turn.add(duty);
  turn.finish();
  clock.endTurn();
  agree(runs, 1);
});
