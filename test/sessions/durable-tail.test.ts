// How far a queue is durable, against the list of all its positions and intents: never ahead of the watermark, and not behind it for long.
import fc from 'fast-check';
import { test } from 'vitest';
import { DurableTail } from '../../engine/sessions/durable-tail.ts';
import { agree, check } from '../check.ts';

test('never says that a position is durable before it is, and says so in the end', () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ adds: fc.integer({ min: 1, max: 3 }), others: fc.nat(3) }) },
    { weight: 2, arbitrary: fc.record({ commits: fc.nat(8) }) },
    { weight: 1, arbitrary: fc.constant('reset' as const) },
  );
  return check(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
      const tail = new DurableTail();
      const added: { readonly position: number; readonly sequence: number }[] = [];
      let [sequence, durable, end, start] = [0, 0, 0, 0];
      /** First position that is not durable. */
      const truly = () => added.find((one) => one.sequence > durable)?.position ?? end;
      for (const one of steps) {
        if (one === 'reset') {
          // A session that comes back: what was owed before is durable, or is looked at again.
          [durable, start] = [sequence, end];
          tail.reset(end);
        } else if ('commits' in one) {
          durable = Math.min(sequence, durable + one.commits);
          const before = tail.position;
          agree(tail.moved(durable), tail.position > before);
        } else {
          sequence += one.others; // of other sessions
          for (let i = 0; i < one.adds; i++) {
            added.push({ position: end++, sequence: ++sequence });
            tail.added(end, sequence);
          }
        }
        agree(tail.position <= Math.max(truly(), start), true);
        agree(tail.isWaiting, tail.position < end);
      }
      durable = sequence;
      tail.moved(durable);
      tail.moved(durable);
      agree([tail.position, tail.isWaiting], [end, false]);
    }),
    300,
  );
});
