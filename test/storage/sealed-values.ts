// Watches the sealed values of a spool: each is sealed under a key of its own, what is on the disk is owed to somebody, and what is not there any
// more is opened by no key of the key file.
import { MessageView } from '../../protocol/publish.ts';
import type { Disk } from '../../storage/disk.ts';
import { RecordBuffer } from '../../storage/records.ts';
import { RowKind, rowKey } from '../../storage/rows.ts';
import { openValue } from '../../storage/salvage.ts';
import { sealedFacts, unseal } from '../../storage/sealed.ts';
import type { Vault } from '../../storage/vault.ts';
import { must } from './must.ts';
import { type Oracle, textOf } from './spool-oracle.ts';

const SEALED_KINDS: readonly RowKind[] = [
  RowKind.QUEUE,
  RowKind.SESSION,
  RowKind.SUBSCRIPTION,
  RowKind.SHARED,
  RowKind.RETAINED,
  RowKind.QUARANTINE,
];
const UNKNOWN = -1;

export class SealedValues {
  readonly #alive = new Map<string, Uint8Array>();
  readonly #dead: Uint8Array[] = [];
  readonly #keys = new Set<string>();

  /** A value was written; its key has sealed nothing before. */
  written(vault: Vault, key: Uint8Array, value: Uint8Array): void {
    const facts = SEALED_KINDS.includes(key[0] as RowKind) && key[0] !== RowKind.QUARANTINE ? sealedFacts(value) : null;
    if (facts === null) return;
    const secret = vault.keyOf(facts.slot).toString('hex');
    must(!this.#keys.has(secret), 'a key seals twice');
    this.#keys.add(secret);
    this.#alive.set(nameOf(value), Uint8Array.from(value));
  }

  /**
   * After a commit and a run of the eraser: the disk holds what is owed and nothing else, every other slot is free, and no key that a
   * thief finds in the key file opens what is not held any more.
   */
  check(disk: Disk, vault: Vault, thief: Vault, oracle: Oracle): void {
    const live = new Set<string>();
    /** Slots of damaged values, which are kept for a while. */
    const aside = new Set<number>();
    let sealed = 0;
    const texts = new Set([...oracle.messages()].map(({ text }) => text));
    for (const kind of SEALED_KINDS) {
      disk.range(rowKey(kind, 0, 0), rowKey((kind + 1) as RowKind, 0, 0), (key, value) => {
        sealed++;
        live.add(nameOf(value));
        if (kind === RowKind.QUARANTINE) aside.add(sealedFacts(value)?.slot ?? UNKNOWN);
        const session = Buffer.from(key).readUInt32BE(1);
        if (kind === RowKind.QUEUE || kind === RowKind.SHARED) checkRecords(vault, session, kind, value, oracle, texts);
        return true;
      });
    }
    must(vault.freeSlots + sealed === vault.slots, 'a slot is neither free nor named by a value');
    for (const [name, value] of this.#alive) {
      if (live.has(name)) continue;
      this.#alive.delete(name);
      this.#dead.push(value);
    }
    if (aside.has(UNKNOWN)) return;
    for (const value of this.#dead.splice(0)) {
      if (aside.has(sealedFacts(value)!.slot)) this.#dead.push(value);
      else must(unseal(thief, value)?.whole !== true, 'a forgotten value opens');
    }
  }
}

/** Every message of a value is owed to somebody. */
function checkRecords(
  vault: Vault,
  session: number,
  kind: RowKind,
  value: Uint8Array,
  oracle: Oracle,
  texts: ReadonlySet<string>,
): void {
  const records = openValue(vault, value)?.records ?? new RecordBuffer(0);
  const view = new MessageView();
  for (let at = 0; at < records.end; at += records.length(at)) {
    const number = records.number(at);
    if (kind === RowKind.QUEUE) {
      const message = oracle.sessions.get(session)?.deliveries.get(number)?.message ?? null;
      must(message !== null, `delivery ${session}/${number} is on the disk and not owed`);
    } else {
      records.view(at, view);
      must(texts.has(textOf(view)), `shared message ${number} is on the disk and nobody waits for it`);
    }
  }
}

function nameOf(value: Uint8Array): string {
  return Buffer.from(value).toString('latin1');
}
