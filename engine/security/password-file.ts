// The users of a password file in Mosquitto's format, `user:hash` a line, `#` lines and blank lines aside. Invariant: a name that
// is not in the file costs the same work as one that is, so an answer's time does not tell who exists.
//
// Hashing is work that a stranger can ask for: few run at once, few wait, and who does not fit is told so. The hashes themselves are
// password-hash.ts; changing a file is password-edit.ts.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { type Random, systemRandom } from '../random.ts';
import { type Derive, derive, type PasswordHash, parsePasswordHash } from './password-hash.ts';
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

export interface PasswordFileOptions {
  readonly random?: Random;
  readonly derive?: Derive;
  /** Hashes computed at once. Default: half the cores, at most 2, which is half of Node's thread pool. */
  readonly atOnceMax?: number;
  /** Passwords that wait for their hash. */
  readonly waitingMax?: number;
  /** Sum of the PBKDF2 iterations that wait: about 10 s of one core, after which most clients have given up. */
  readonly waitingIterationsMax?: number;
}

const WAITING_MAX = 4_096;
const WAITING_ITERATIONS_MAX = 20_000_000;
const DECOY_KEY_BYTES = 32;

/** Reads a password file; throws Error `path:line: what is wrong and what to do`, without any name or hash of the file. */
export function loadPasswordFile(path: string, options: PasswordFileOptions = {}): PasswordFile {
  const { lines, mode } = readTextFile(path);
  const users = parseUsers(lines, path);
  const warnings: string[] = [];
  if ((mode & 0o007) !== 0)
    warnings.push(`${path}: everybody on this machine can read or change the password file; run chmod 600 on it`);

  const compute = options.derive ?? derive;
  const places = createPlaces(options);
  const decoys = [...users.values()];
  const decoyKey = (options.random ?? systemRandom).bytes(DECOY_KEY_BYTES);

  /** A hash of the file chosen by the name, the same one each time: unknown names cost what known ones cost, spread alike. */
  const decoyFor = (user: string): PasswordHash => {
    const digest = createHmac('sha256', decoyKey).update(user).digest();
    return decoys[digest.readUInt32BE(0) % decoys.length]!;
  };

  return {
    users: users.size,
    has: (user) => users.has(user),
    warnings,
    async verify(user, password) {
      const decoy = decoyFor(user);
      const known = users.get(user);
      const expected = known ?? decoy;
      const place = places.enter(expected.iterations);
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
  enter(iterations: number): Promise<void> | null;
  leave(): void;
}

function createPlaces(options: PasswordFileOptions): Places {
  const atOnceMax = options.atOnceMax ?? Math.min(2, Math.max(1, availableParallelism() >> 1));
  const waitingMax = options.waitingMax ?? WAITING_MAX;
  const waitingIterationsMax = options.waitingIterationsMax ?? WAITING_ITERATIONS_MAX;
  const waiting: { readonly iterations: number; readonly wake: () => void }[] = [];
  let waitingIterations = 0;
  let running = 0;
  return {
    enter(iterations) {
      if (running < atOnceMax) {
        running++;
        return Promise.resolve();
      }
      if (waiting.length >= waitingMax || waitingIterations + iterations > waitingIterationsMax) return null;
      waitingIterations += iterations;
      return new Promise((wake) => waiting.push({ iterations, wake }));
    },
    leave() {
      const next = waiting.shift();
      if (next === undefined) {
        running--;
        return;
      }
      waitingIterations -= next.iterations;
      next.wake(); // the place passes on: `running` stays as it is
    },
  };
}
