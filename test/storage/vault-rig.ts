// A vault over a key file in memory, for tests of what seals with it.
import { Vault } from '../../storage/vault.ts';
import { SeededRandom } from '../seeded-random.ts';
import { MemoryKeyFile } from './memory-key-file.ts';

/** A fresh vault without a master key, and the randomness that it draws from. */
export function makeVault(seed = 1) {
  const seeded = new SeededRandom(seed);
  const random = (bytes: number) => seeded.bytes(bytes);
  const file = new MemoryKeyFile(seeded);
  return { file, random, seeded, vault: Vault.create(file, null, random, 8) };
}
