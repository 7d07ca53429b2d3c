// The users of a password file in Mosquitto's format, `user:hash` a line, `#` lines and blank lines aside. Invariant: a name that
// is not in the file costs the same work as one that is, so an answer's time does not tell who exists.
//
// Hashing is work that a stranger can ask for: few run at once, few wait, and who does not fit is told so. The hashes themselves are
// password-hash.ts; changing a file is password-edit.ts; those who can come by SCRAM are scram-users.ts.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { type Derive, derive, type PasswordHash, parsePasswordHash } from './password-hash.ts';
import { type ScramUsers, scramUsersOf } from './scram-users.ts';
import { readTextFile } from './text-file.ts';

/** What became of a password. */
export const Verdict = { OK: 'ok', DENIED: 'denied', BUSY: 'busy' } as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

export interface PasswordFile {
  /** Number of users, at least 1. */
  readonly users: number;
  /** Whether a name is in the file. To be told to nobody outside. */
  has(user: string): boolean;
  /** What the operator should know though the file is valid. No personal data. */
  readonly warnings: readonly string[];
  /** Never rejects. `password` is copied before the call returns, and the copy is overwritten after use. */
  verify(user: string, password: Uint8Array): Promise<Verdict>;
}

export interface LoadedPasswordFile extends PasswordFile {
  /** Null when no line has keys of SCRAM. */
  readonly scram: ScramUsers | null;
}

export interface PasswordFileOptions {
  readonly derive?: Derive;
  /** Hashes computed at once. Default: half the cores, at most 2, which is half of Node's thread pool; the shards have it together, and each at least one. */
  readonly atOnceMax?: number;
  /** Shards that hash beside each other, in the one thread pool of the process. Default: 1. */
  readonly shards?: number;
  /** Passwords that wait for their hash. */
  readonly waitingMax?: number;
  /** Sum of the costs that wait, in iterations of PBKDF2-HMAC-SHA512: about 10 s of one core, after which most clients have given up. */
  readonly waitingCostMax?: number;
}

const WAITING_MAX = 4_096;
const WAITING_COST_MAX = 20_000_000;

/** Reads a password file; throws Error `path:line: what is wrong and what to do`, without any name or hash of the file. */
export function loadPasswordFile(path: string, options: PasswordFileOptions = {}): LoadedPasswordFile {
  const { lines, mode } = readTextFile(path);
  const users = parseUsers(lines, path);
  const warnings: string[] = [];
  if ((mode & 0o007) !== 0)
    warnings.push(`${path}: everybody on this machine can read or change the password file; run chmod 600 on it`);

  const compute = options.derive ?? derive;
  const places = createPlaces(options);
  const decoys = [...users.values()];
  // A secret that every shard has, and that a start does not change: a name that costs one thing here and another there would be one that nobody has.
  const decoyKey = createHmac('sha256', decoys[0]!.hash).update('decoys').digest();

  /** A hash of the file chosen by the name, the same one each time: unknown names cost what known ones cost, spread alike. */
  const decoyFor = (user: string): PasswordHash => {
    const digest = createHmac('sha256', decoyKey).update(user).digest();
    return decoys[digest.readUInt32BE(0) % decoys.length]!;
  };

  return {
    users: users.size,
    has: (user) => users.has(user),
    warnings,
    scram: scramUsersOf(users),
    async verify(user, password) {
      const decoy = decoyFor(user);
      const known = users.get(user);
      const expected = known ?? decoy;
      const place = places.enter(expected.cost);
      if (place === null) return Verdict.BUSY;
      const own = Uint8Array.from(password);
      try {
        await place;
        const equal = timingSafeEqual(await compute(expected, own), expected.hash);
        return equal && known !== undefined ? Verdict.OK : Verdict.DENIED;
      } catch {
        return Verdict.DENIED;
      } finally {
        own.fill(0);
        places.leave();
      }
    },
  };
}

function parseUsers(lines: readonly string[], path: string): Map<string, PasswordHash> {
  const users = new Map<string, PasswordHash>();
  for (const [index, line] of lines.entries()) {
    if (line.startsWith('#') || line.trim() === '') continue;
    try {
      const colon = line.indexOf(':');
      if (colon < 0) throw new Error('there is no colon; a line is user:hash');
      if (colon === 0) throw new Error('the user name is missing; a line is user:hash');
      const user = line.slice(0, colon);
      if (users.has(user)) throw new Error('this user has a line above; delete one of the two');
      users.set(user, parsePasswordHash(line.slice(colon + 1).trimEnd()));
    } catch (error) {
      throw new Error(`${path}:${index + 1}: ${error instanceof Error ? error.message : 'broken line'}`);
    }
  }
  if (users.size === 0) throw new Error(`${path}: the file has no user; add one with \`lethe passwd\``);
  return users;
}

/** Places for hashing, given in the order of asking. */
interface Places {
  /** Resolves when there is a place, which `leave` gives back; null at once when too many wait. */
  enter(cost: number): Promise<void> | null;
  leave(): void;
}

function createPlaces(options: PasswordFileOptions): Places {
  const atOnceMax =
    options.atOnceMax ?? Math.max(1, Math.floor(Math.min(2, availableParallelism() >> 1) / (options.shards ?? 1)));
  const waitingMax = options.waitingMax ?? WAITING_MAX;
  const waitingCostMax = options.waitingCostMax ?? WAITING_COST_MAX;
  const waiting: { readonly cost: number; readonly wake: () => void }[] = [];
  let waitingCost = 0;
  let running = 0;
  return {
    enter(cost) {
      if (running < atOnceMax) {
        running++;
        return Promise.resolve();
      }
      if (waiting.length >= waitingMax || waitingCost + cost > waitingCostMax) return null;
      waitingCost += cost;
      return new Promise((wake) => waiting.push({ cost, wake }));
    },
    leave() {
      const next = waiting.shift();
      if (next === undefined) {
        running--;
        return;
      }
      waitingCost -= next.cost;
      next.wake(); // the place passes on: `running` stays as it is
    },
  };
}
