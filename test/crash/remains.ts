// What a data directory holds when no broker runs on it, counted from its rows and key file.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { KEYS_FILE } from '../../storage/folder.ts';
import { LmdbDisk } from '../../storage/lmdb-disk.ts';
import { RowKind } from '../../storage/rows.ts';
import { sealedFacts } from '../../storage/sealed.ts';
import { SLOT_BYTES } from '../../storage/vault.ts';

export interface Remains {
  /** Rows by kind, the kinds that there are. */
  readonly rows: Readonly<Record<string, number>>;
  /** Keys that seal a value, and places for keys in the file. */
  readonly keysInUse: number;
  readonly keySlots: number;
}

const names = new Map<number, string>(Object.entries(RowKind).map(([name, kind]) => [kind, name]));
const SEALED: readonly number[] = [
  RowKind.QUEUE,
  RowKind.SESSION,
  RowKind.SUBSCRIPTION,
  RowKind.SHARED,
  RowKind.RETAINED,
  RowKind.QUARANTINE,
];
const KEYS_HEADER_BYTES = 4_096;

export function remainsOf(folder: string): Remains {
  const rows: Record<string, number> = {};
  const slots = new Set<number>();
  const disk = new LmdbDisk(folder);
  disk.range(Buffer.of(0), Buffer.of(0xff), (key, value) => {
    const name = names.get(key[0]!) ?? `kind ${key[0]}`;
    rows[name] = (rows[name] ?? 0) + 1;
    if (SEALED.includes(key[0]!)) slots.add(sealedFacts(value)!.slot);
    return true;
  });
  disk.close();
  const keySlots = (statSync(join(folder, KEYS_FILE)).size - KEYS_HEADER_BYTES) / SLOT_BYTES;
  return { rows, keysInUse: slots.size, keySlots };
}
