// Opening a sealed value that holds records, whole or damaged. Of a damaged one every record is given that is whole: a broken record never
// costs its neighbours.
import { RecordBuffer } from './records.ts';
import { sealedFacts, unseal } from './sealed.ts';
import type { Vault } from './vault.ts';

export interface OpenedValue {
  readonly records: RecordBuffer;
  /** Records that could not be read. */
  readonly lost: number;
}

/** The records of a sealed value; null when nothing of it can be read. */
export function openValue(vault: Vault, value: Uint8Array): OpenedValue | null {
  const opened = unseal(vault, value);
  if (opened === null) return null;
  const records = new RecordBuffer(opened.plain.length);
  records.load(opened.plain);
  if (opened.whole) return { records, lost: 0 };
  const whole = new RecordBuffer(opened.plain.length);
  let count = 0;
  // A record may begin at every multiple of 8: a damaged length must not hide the next one.
  for (let at = 0; at < records.end; ) {
    if (!records.isWhole(at, vault.checkSeed)) {
      at += 8;
      continue;
    }
    whole.copy(records, at);
    count++;
    at += records.length(at);
  }
  const lost = Math.max(0, (sealedFacts(value)?.count ?? 0) - count);
  return count === 0 ? null : { records: whole, lost };
}
