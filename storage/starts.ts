// Starts of the store are counted, so that positions which a crash has left without a row are not given out again (queue.ts). One that
// follows an end in order goes on under the number of the one before.
import { MetaRow, RowKind, rowKey } from './rows.ts';
import { type Ground, readNumbers, Step } from './step.ts';

/** Format of what this version writes. A later version that changes it reads older ones and rewrites them in one step at start. */
export const FORMAT = 1;

/** What the store says of itself; null when it is new, or when the row is broken. */
export function readStarts(ground: Ground): { readonly format: number; readonly started: number } | null {
  const row = readNumbers(ground, RowKind.META, 0, MetaRow.STARTS);
  return row === null || row.length < 2 ? null : { format: row[0]!, started: row[1]! };
}

/** Notes that the store is in use; returns the number of this start. `before`: that of the last one, 0 when there was none. */
export function noteStart(ground: Ground, before: number): number {
  const ended = readNumbers(ground, RowKind.META, 0, MetaRow.ENDED)?.[0];
  const started = before > 0 && ended === before ? before : before + 1;
  const step = new Step(ground);
  step.putNumbers(RowKind.META, 0, MetaRow.STARTS, [FORMAT, started]);
  step.remove(rowKey(RowKind.META, 0, MetaRow.ENDED));
  step.apply();
  return started;
}

/** Notes that the store ends in order: every row says exactly where things are. */
export function planEnd(step: Step, started: number): void {
  step.putNumbers(RowKind.META, 0, MetaRow.ENDED, [started]);
}
