// What lies in the rows of a spool's map, counted by opening every one of them: the truth that the spool's own books are held against.
import { RecordBuffer } from '../../storage/records.ts';
import { RowKind, rowKey, rowNumber } from '../../storage/rows.ts';
import { sealedFacts, unseal } from '../../storage/sealed.ts';
import { type Ground, readNumbers } from '../../storage/step.ts';
import type { Held } from '../../storage/store.ts';

/** Messages that lie in more than one session's queue count once. */
export function heldRows(ground: Ground): Held {
  const held = { sessions: 0, messages: 0, messageBytes: 0, retained: 0, retainedBytes: 0 };
  const each = (kind: RowKind, visit: (records: RecordBuffer, at: number, first: number) => void) => {
    const values: (readonly [number, Buffer])[] = [];
    ground.disk.range(rowKey(kind, 0, 0), rowKey((kind + 1) as RowKind, 0, 0), (key, value) => {
      values.push([rowNumber(key), Buffer.from(value)]);
      return true;
    });
    for (const [first, value] of values) {
      const opened = unseal(ground.vault, value);
      if (!opened?.whole) throw new Error('a value does not open');
      const records = new RecordBuffer(opened.plain.length);
      records.load(opened.plain);
      let count = 0;
      for (let at = 0; at < records.end; at += records.length(at)) {
        visit(records, at, first);
        count++;
      }
      if (count !== sealedFacts(value)?.count) throw new Error('a value does not hold as many records as it says');
    }
  };
  const referred = new Set<number>();
  each(RowKind.QUEUE, (records, at) => {
    if (records.reference(at) >= 0) {
      referred.add(records.reference(at));
      return;
    }
    held.messages++;
    held.messageBytes += records.messageBytes(at);
  });
  const shared = new Set<number>();
  each(RowKind.SHARED, (records, at, first) => {
    const counts = readNumbers(ground, RowKind.COUNTS, 0, first) ?? [];
    const waiting = counts[counts.findIndex((number, i) => i % 3 === 0 && number === records.number(at)) + 1];
    if (waiting === undefined || waiting < 1) throw new Error('a shared message that nobody waits for');
    shared.add(records.number(at));
    held.messages++;
    held.messageBytes += records.messageBytes(at);
  });
  if (referred.size !== shared.size || ![...referred].every((number) => shared.has(number)))
    throw new Error('references and shared messages do not match');
  each(RowKind.RETAINED, (records, at) => {
    held.retained++;
    held.retainedBytes += records.messageBytes(at);
  });
  ground.disk.range(rowKey(RowKind.SESSION, 0, 0), rowKey(RowKind.SUBSCRIPTION, 0, 0), () => {
    held.sessions++;
    return true;
  });
  return held;
}
