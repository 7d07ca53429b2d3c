// The vault: a key seals one value, destroyed keys are gone from the file, a crash between any two writes costs nothing that was
// durable, and a wrong master key changes nothing.
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DiskError } from '../../storage/disk.ts';
import { SLOT_BYTES, Vault, VaultError } from '../../storage/vault.ts';
import { check } from '../check.ts';
import { SeededRandom } from '../seeded-random.ts';
import { Killed } from './memory-disk.ts';
import { FileOutcome, MemoryKeyFile } from './memory-key-file.ts';

const SLOTS_MIN = 8;
const SLOTS_FROM = 4_096;
const MASTER = new Uint8Array(32).fill(1);
const OTHER = new Uint8Array(32).fill(2);

function source(seed: number) {
  const seeded = new SeededRandom(seed);
  return { seeded, random: (bytes: number) => seeded.bytes(bytes) };
}

function create(master: Uint8Array | null = null, seed = 1) {
  const { seeded, random } = source(seed);
  const file = new MemoryKeyFile(seeded);
  return { file, random, seeded, vault: Vault.create(file, master, random, SLOTS_MIN) };
}

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof VaultError) return error.code;
    throw error;
  }
  return 'opened';
}

describe('create and open', () => {
  test.each([
    ['without a master key', null],
    ['under a master key', MASTER],
  ])('%s: the same keys come back', (_name, master) => {
    const { file, random, vault } = create(master);
    const slots = [vault.take(), vault.take(), vault.take()];
    const keys = slots.map((slot) => Buffer.from(vault.keyOf(slot)));
    expect(vault.hasMaster).toBe(master !== null);
    const again = Vault.open(file.reopened(), master, random, SLOTS_MIN);
    expect(again.hasMaster).toBe(master !== null);
    expect(slots.map((slot) => again.keyOf(slot))).toEqual(keys);
    expect(again.rowKey('rows')).toEqual(vault.rowKey('rows'));
    expect(again.rowKey('rows')).not.toEqual(vault.rowKey('others'));
  });

  test.each([
    ['the wrong one', MASTER, OTHER, 'wrong master key'],
    ['none', MASTER, null, 'master key missing'],
    ['one that is not expected', null, MASTER, 'master key not expected'],
  ])('%s is refused, and nothing is written', (_name, master, given, code) => {
    const { file, random, vault } = create(master);
    vault.take();
    const before = Buffer.from(file.content);
    const { calls } = file;
    expect(codeOf(() => Vault.open(file, given, random, SLOTS_MIN))).toBe(code);
    expect(codeOf(() => Vault.rotate(file, given, OTHER, random))).toBe(code);
    expect(file.content.equals(before)).toBe(true);
    expect(file.calls).toBe(calls);
  });

  test.each([
    ['an empty file', Buffer.alloc(0)],
    ['zeros', Buffer.alloc(SLOTS_FROM)],
    ['something else', Buffer.alloc(8_192, 'not a key file ')],
  ])('%s is refused', (_name, bytes) => {
    const { seeded, random } = source(1);
    const file = new MemoryKeyFile(seeded, bytes);
    expect(codeOf(() => Vault.open(file, null, random))).toBe('broken');
    expect(file.content.equals(bytes)).toBe(true);
  });

  test('a later format is refused by its number', () => {
    const { file, random } = create();
    for (const at of [0, 2_048]) {
      const header = Buffer.from(file.content.subarray(at, at + 76));
      header.writeUInt32LE(2, 8);
      createHash('sha256').update(header.subarray(0, 72)).digest().copy(header, 72, 0, 4);
      file.write(at, header);
    }
    expect(() => Vault.open(file, null, random)).toThrow('the key file has format 2');
  });

  test('one damaged copy of the header costs nothing, whichever bit it is', () => {
    for (const at of [0, 2_048]) {
      for (let bit = 0; bit < 76 * 8; bit += 5) {
        const { file, random, vault } = create(MASTER);
        const slot = vault.take();
        file.content[at + (bit >> 3)]! ^= 1 << (bit & 7);
        expect(Vault.open(file, MASTER, random, SLOTS_MIN).keyOf(slot)).toEqual(vault.keyOf(slot));
      }
    }
  });

  test('no key stands in the file in clear', () => {
    const { file, vault } = create();
    const slots = Array.from({ length: 20 }, () => vault.take());
    for (const slot of slots) expect(file.content.includes(vault.keyOf(slot))).toBe(false);
  });
});

describe('destroy', () => {
  test('overwrites on disk: nobody can have the key afterwards', () => {
    const { file, random, vault } = create(MASTER);
    const slots = Array.from({ length: 12 }, () => vault.take());
    const keys = slots.map((slot) => Buffer.from(vault.keyOf(slot)));
    const doomed = slots.filter((_, i) => i % 3 !== 0);
    const wrapped = (slot: number) => Buffer.from(file.content.subarray(SLOTS_FROM + slot * SLOT_BYTES).subarray(0, SLOT_BYTES));
    const before = slots.map(wrapped);
    vault.destroy(doomed);
    const after = file.crashed(); // what was synced
    const reopened = Vault.open(after, MASTER, random, SLOTS_MIN);
    for (const [i, slot] of slots.entries()) {
      const isDoomed = doomed.includes(slot);
      expect(reopened.keyOf(slot).equals(keys[i]!)).toBe(!isDoomed);
      expect(file.content.includes(before[i]!)).toBe(!isDoomed);
    }
  });

  test('of nothing writes nothing', () => {
    const { file, vault } = create();
    const { calls } = file;
    vault.destroy([]);
    expect(file.calls).toBe(calls);
  });

  test('that failed frees no slot, and can be asked for again', () => {
    const { file, vault, random } = create();
    const slot = vault.take();
    const key = Buffer.from(vault.keyOf(slot));
    const free = vault.freeSlots;
    file.outcome = () => FileOutcome.BROKEN;
    expect(() => vault.destroy([slot])).toThrow(DiskError);
    expect(vault.freeSlots).toBe(free);
    file.outcome = () => FileOutcome.DONE;
    vault.destroy([slot]);
    expect(vault.freeSlots).toBe(free + 1);
    expect(Vault.open(file.crashed(), null, random, SLOTS_MIN).keyOf(slot).equals(key)).toBe(false);
  });
});

describe('growing', () => {
  test('that failed hands no key out that is not durable', () => {
    for (const failing of [1, 2]) {
      for (const outcome of [FileOutcome.FULL, FileOutcome.BROKEN]) {
        const { file, random, vault } = create();
        let call = 0;
        file.outcome = () => (++call === failing ? outcome : FileOutcome.DONE);
        expect(() => vault.take()).toThrow(DiskError);
        expect([vault.slots, vault.freeSlots]).toEqual([0, 0]);
        const slot = vault.take();
        expect(Vault.open(file.crashed(), null, random, SLOTS_MIN).keyOf(slot)).toEqual(vault.keyOf(slot));
      }
    }
  });

  test('takes the lowest slots first, also after a start, and gives the end of the file back', () => {
    const { file, random, vault } = create();
    const slots = Array.from({ length: 100 }, () => vault.take());
    expect(slots).toEqual(Array.from({ length: 100 }, (_, i) => i));
    const again = Vault.open(file.reopened(), null, random, SLOTS_MIN);
    again.keepOnly((slot) => slot === 3 || slot === 20, 20);
    expect(again.slots).toBe(21);
    expect(again.freeSlots).toBe(19);
    expect(Array.from({ length: 19 }, () => again.take())).toEqual(
      Array.from({ length: 21 }, (_, i) => i).filter((slot) => slot !== 3 && slot !== 20),
    );
    expect(again.take()).toBe(21);
  });
});

test('a key is never handed out twice, whatever happens in between', () => {
  const action = fc.oneof(
    { weight: 6, arbitrary: fc.constant('take' as const) },
    { weight: 3, arbitrary: fc.constant('destroy' as const) },
    { weight: 1, arbitrary: fc.constant('restart' as const) },
    { weight: 1, arbitrary: fc.constant('crash' as const) },
    { weight: 1, arbitrary: fc.constant('failing destroy' as const) },
  );
  check(
    fc.property(fc.nat(1_000), fc.array(action, { maxLength: 60 }), (seed, actions) => {
      const { file: made, random, seeded, vault: fresh } = create(MASTER, seed);
      let file = made;
      let vault = fresh;
      const used = new Map<number, string>();
      const seen = new Set<string>();
      const some = () => [...used.keys()].filter(() => seeded.below(3) === 0);
      const forget = (slots: readonly number[]) => {
        for (const slot of slots) used.delete(slot);
      };
      for (const kind of actions) {
        if (kind === 'take') {
          const slot = vault.take();
          const key = vault.keyOf(slot).toString('hex');
          expect(used.has(slot)).toBe(false);
          expect(seen.has(key)).toBe(false);
          seen.add(key);
          used.set(slot, key);
        } else if (kind === 'destroy') {
          const doomed = some();
          vault.destroy(doomed);
          forget(doomed);
        } else if (kind === 'failing destroy') {
          const doomed = some();
          if (doomed.length === 0) continue;
          file.outcome = () => (seeded.below(2) === 0 ? FileOutcome.FULL : FileOutcome.DONE);
          try {
            vault.destroy(doomed);
            forget(doomed);
          } catch (error) {
            expect(error).toBeInstanceOf(DiskError);
            file.outcome = () => FileOutcome.DONE;
            vault.destroy(doomed);
            forget(doomed);
          }
          file.outcome = () => FileOutcome.DONE;
        } else {
          file = kind === 'crash' ? file.crashed() : file.reopened();
          vault = Vault.open(file, MASTER, random, SLOTS_MIN);
          vault.keepOnly((slot) => used.has(slot), Math.max(-1, ...used.keys()));
        }
        for (const [slot, key] of used) expect(vault.keyOf(slot).toString('hex')).toBe(key);
      }
    }),
    150,
  );
});

test('a crash between any two writes: keys in use are whole, destroyed ones are gone after the next start', () => {
  /** Runs a life of the vault until the process dies at call `dieAt`; what it was sure of by then is in `sure`. */
  function live(dieAt: number, seed: number) {
    const { seeded, random } = source(seed);
    const file = new MemoryKeyFile(seeded);
    file.outcome = () => (file.calls > dieAt ? FileOutcome.KILLED : FileOutcome.DONE);
    const sure = { made: false, used: new Map<number, string>(), destroyed: new Map<number, string>(), doomed: [] as number[] };
    try {
      const vault = Vault.create(file, MASTER, random, SLOTS_MIN);
      sure.made = true;
      const take = (count: number) => {
        for (let i = 0; i < count; i++) {
          const slot = vault.take();
          sure.used.set(slot, vault.keyOf(slot).toString('hex'));
        }
      };
      const destroy = (slots: readonly number[]) => {
        // Their values are removed before: whether the key lives or not, nobody needs it.
        const keys = slots.map((slot) => [slot, sure.used.get(slot)!] as const);
        for (const slot of slots) sure.used.delete(slot);
        sure.doomed = [...slots];
        vault.destroy(slots);
        sure.doomed = [];
        for (const [slot, key] of keys) sure.destroyed.set(slot, key);
      };
      take(5);
      destroy([1, 2, 4]);
      take(9);
      destroy([0]);
      take(12);
      destroy([...sure.used.keys()].filter((slot) => slot % 2 === 0));
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      return { file, sure, died: true };
    }
    return { file, sure, died: false };
  }

  let calls = 0;
  for (let died = true; died; calls++) {
    for (let seed = 1; seed <= 12; seed++) {
      const life = live(calls, seed);
      died = life.died;
      const file = life.file.crashed();
      const { random } = source(seed + 100);
      if (!life.sure.made) continue; // folder.ts makes it under another name
      const vault = Vault.open(file, MASTER, random, SLOTS_MIN);
      const { used, destroyed } = life.sure;
      const where = `crash at call ${calls}, seed ${seed}`;
      for (const [slot, key] of used) expect(vault.keyOf(slot).toString('hex'), where).toBe(key);
      vault.keepOnly((slot) => used.has(slot), Math.max(-1, ...used.keys()));
      for (const [slot, key] of used) expect(vault.keyOf(slot).toString('hex'), where).toBe(key);
      const old = new Set(destroyed.values());
      for (let slot = 0; slot < vault.slots; slot++) {
        if (!used.has(slot)) expect(old.has(vault.keyOf(slot).toString('hex')), where).toBe(false);
      }
      expect(vault.freeSlots, where).toBe(vault.slots - used.size);
    }
  }
  expect(calls).toBeGreaterThan(15);
});

describe('rotate', () => {
  test('the new key opens it, the old one does not, and every slot is as it was', () => {
    for (const [from, to] of [
      [MASTER, OTHER],
      [null, MASTER],
      [MASTER, null],
    ]) {
      const { file, random, vault } = create(from);
      const slot = vault.take();
      const slots = Buffer.from(file.content.subarray(SLOTS_FROM));
      Vault.rotate(file, from!, to!, random);
      expect(codeOf(() => Vault.open(file, from!, random))).not.toBe('opened');
      const again = Vault.open(file, to!, random, SLOTS_MIN);
      expect(again.keyOf(slot)).toEqual(vault.keyOf(slot));
      expect(again.hasMaster).toBe(to !== null);
      expect(file.content.subarray(SLOTS_FROM).equals(slots)).toBe(true);
    }
  });

  test('a broker that runs on the file goes on, and what it writes is read under the new key', () => {
    const { file, random, vault } = create(MASTER);
    vault.destroy([vault.take()]);
    Vault.rotate(file, MASTER, OTHER, random);
    const slots = Array.from({ length: 20 }, () => vault.take());
    vault.destroy(slots.slice(0, 3));
    const again = Vault.open(file.crashed(), OTHER, random, SLOTS_MIN);
    for (const slot of slots.slice(3)) expect(again.keyOf(slot)).toEqual(vault.keyOf(slot));
  });

  test('a crash at any moment, with a torn copy of the header: one of the two keys opens it', () => {
    for (const [from, to] of [
      [MASTER, OTHER],
      [null, MASTER],
      [MASTER, null],
    ]) {
      for (let dieAt = 0; dieAt < 5; dieAt++) {
        for (let seed = 1; seed <= 30; seed++) {
          const { file, random, vault } = create(from, seed);
          const slot = vault.take();
          const before = file.calls;
          file.outcome = () => (file.calls - before > dieAt ? FileOutcome.KILLED : FileOutcome.DONE);
          let done = true;
          try {
            Vault.rotate(file, from!, to!, random);
          } catch (error) {
            expect(error).toBeInstanceOf(Killed);
            done = false;
          }
          const after = file.crashed();
          const codes = [from!, to!].map((master) => codeOf(() => Vault.open(after, master, random)));
          expect(codes, `crash at call ${dieAt}, seed ${seed}`).toContain('opened');
          if (done) expect(codes[1]).toBe('opened');
          const master = codes[1] === 'opened' ? to! : from!;
          expect(Vault.open(after, master, random, SLOTS_MIN).keyOf(slot)).toEqual(vault.keyOf(slot));
          // Whichever it is, the rotation can be done again to its end.
          Vault.rotate(after, master, OTHER, random);
          expect(codeOf(() => Vault.open(after, OTHER, random))).toBe('opened');
        }
      }
    }
  });
});
