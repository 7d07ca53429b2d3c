// Who can come by SCRAM-SHA-256, and what the others are shown. Invariant: a name without keys gets a salt and a number of rounds as a user could have them,
// the same at each asking, in each shard and after each start, so that nothing tells it from a user with keys.
//
// What decoys are made of is derived from the first keys of the file, which are secret and which every shard has. They change when those keys do.
import type { PasswordHash, ScramHash } from './password-hash.ts';
import { hmacSha256 } from './scram-keys.ts';

export interface ScramUser {
  /** False for a decoy: no proof is right. */
  readonly known: boolean;
  readonly salt: Uint8Array;
  readonly iterations: number;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

export interface ScramUsers {
  find(user: string): ScramUser;
}

/** How many users have salts of this length and this many rounds, those before them in order included. */
interface Shape {
  readonly saltBytes: number;
  readonly iterations: number;
  readonly upTo: number;
}

/** Null when nobody in the file has keys of SCRAM. */
export function scramUsersOf(hashes: ReadonlyMap<string, PasswordHash>): ScramUsers | null {
  const users = new Map<string, ScramUser>();
  for (const [name, hash] of hashes) if (hash.scheme === 'scram-sha-256') users.set(name, userOf(hash));
  const [first] = users.values();
  if (first === undefined) return null;
  const key = hmacSha256(first.serverKey, first.storedKey);
  const shapes = shapesOf([...users.values()]);

  const decoyFor = (name: string): ScramUser => {
    const salt = hmacSha256(key, `salt ${name}`);
    const lot = (hmacSha256(key, `shape ${name}`).readUInt32BE(0) / 2 ** 32) * users.size;
    const { saltBytes, iterations } = shapes.find(({ upTo }) => lot < upTo)!;
    const keys = hmacSha256(key, `keys ${name}`);
    return { known: false, salt: stretch(salt, saltBytes), iterations, storedKey: keys, serverKey: keys };
  };

  return {
    find(name) {
      const decoy = decoyFor(name); // also for those who are known: the work is the same
      return users.get(name) ?? decoy;
    },
  };
}

function userOf({ salt, iterations, hash, serverKey }: ScramHash): ScramUser {
  return { known: true, salt, iterations, storedKey: hash, serverKey };
}

/** Ordered, so that one user more moves few decoys from one shape to the next. */
function shapesOf(users: readonly ScramUser[]): Shape[] {
  const counts = new Map<string, { saltBytes: number; iterations: number; count: number }>();
  for (const { salt, iterations } of users) {
    const name = `${iterations} ${salt.length}`;
    const shape = counts.get(name) ?? { saltBytes: salt.length, iterations, count: 0 };
    shape.count++;
    counts.set(name, shape);
  }
  const ordered = [...counts.values()].sort((a, b) => a.iterations - b.iterations || a.saltBytes - b.saltBytes);
  let upTo = 0;
  return ordered.map(({ saltBytes, iterations, count }) => {
    upTo += count;
    return { saltBytes, iterations, upTo };
  });
}

/** As many bytes that look random as are asked for. */
function stretch(seed: Buffer, bytes: number): Uint8Array {
  const blocks = [seed];
  while (blocks.length * seed.length < bytes) blocks.push(hmacSha256(seed, String(blocks.length)));
  return Buffer.concat(blocks).subarray(0, bytes);
}
