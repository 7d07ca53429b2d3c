// A life of the spool over doubles that fail, and what its tests do to it: damage, and the way back.
import type { Disk } from '../../storage/disk.ts';
import { RowKind } from '../../storage/rows.ts';
import { sealedFacts } from '../../storage/sealed.ts';
import { MemoryDisk } from './memory-disk.ts';
import { SpoolHistory } from './spool-history.ts';
import { printSteps, type Steps, takeStep } from './spool-steps.ts';

export const NO_BYTES = new Uint8Array(0);

export function makeHistory(seed: number): SpoolHistory {
  const history = new SpoolHistory(
    seed,
    (random) => new MemoryDisk(random),
    (disk) => disk.reopened(),
  );
  if (process.env['LETHE_SEED'] !== undefined) printSteps(general(history));
  return history;
}

export function general(history: SpoolHistory): SpoolHistory<Disk> {
  return history as unknown as SpoolHistory<Disk>;
}

/** What the storage thread does between intents, whatever comes of it. */
export const TRIES: Steps = [
  [12, (history) => history.commit()],
  [5, (history) => history.erase()],
  [6, (history) => history.idle()],
];

export function live(history: SpoolHistory, steps: Steps, count: number, each: () => void = () => history.check()): void {
  for (let left = count; left > 0; left--) {
    takeStep(general(history), steps);
    each();
  }
}

/** Steps until everything is durable, as the thread does once the disk works again. */
export function recoverRoom(history: SpoolHistory): void {
  for (let tries = 0; tries < 4; tries++) {
    history.pass(1_000);
    history.commit();
    history.idle();
    history.erase();
  }
}

export interface Hit {
  /** Deliveries that it may cost. */
  readonly costsAtMost: number;
  readonly kind: RowKind;
}

/** Flips one bit of a stored value of one of the kinds; null when there is none. */
export function damageOne(history: SpoolHistory, kinds: readonly RowKind[]): Hit | null {
  const { random } = history;
  const entries = history.disk.entries.filter(({ key }) => key.length === 11 && kinds.includes(key[0] as RowKind));
  if (entries.length === 0) return null;
  const { key, value } = entries[random.below(entries.length)]!;
  const bit = random.below(value.length * 8);
  history.damages++;
  history.disk.damage(key, (bytes) => {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  });
  const kind = key[0] as RowKind;
  // A bit in what stands in clear costs the value; any other one costs a record. Several sessions may wait for a shared one.
  const records = bit < CLEAR_BITS ? (sealedFacts(value)?.count ?? 1) : 1;
  const waiting = kind === RowKind.SHARED ? waitingAtMost(history) : 1;
  return { costsAtMost: kind === RowKind.COUNTS ? 0 : records * waiting, kind };
}

/** Version, facts and nonce of a sealed value. */
export const CLEAR_BITS = 56 * 8;

/** Most deliveries that one message has. */
function waitingAtMost({ oracle, durable }: SpoolHistory): number {
  let most = 0;
  for (const one of [oracle, durable]) {
    const counts = new Map<object, number>();
    for (const { deliveries } of one.sessions.values()) {
      for (const { message } of deliveries.values()) if (message !== null) counts.set(message, (counts.get(message) ?? 0) + 1);
    }
    most = Math.max(most, ...counts.values());
  }
  return most;
}
