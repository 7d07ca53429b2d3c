// Limits that fit the memory that there is: those that were left at their defaults are lowered on a small machine, or in a small control group, so that a broker refuses by reason code what it cannot hold instead of being ended by the kernel.
// Whoever sets a limit has it as it was set.
import { totalmem } from 'node:os';
import { defaultLimits, type Limits } from '../../protocol/limits.ts';
import type { Config } from './load.ts';

const MiB = 1_048_576;
/** What a broker needs before it has any message: runtime, code, shared memory, and some per shard. */
const BASE_BYTES = 96 * MiB;
const SHARD_BYTES = 24 * MiB;
const ROOM_BYTES_MIN = 8 * MiB;

/** Bytes of memory that this process may use. */
export function memoryBytes(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}

/**
 * The configuration with limits that fit `bytes` of memory. What waits on a disk takes none; all parts together are three quarters of what the broker itself leaves, because a message takes more than its bytes, and so do the
 * pages of the disk that are being written.
 */
export function fitToMemory(config: Config, bytes = memoryBytes()): Config {
  const { threads, dataDir } = config.server;
  const room = Math.max(ROOM_BYTES_MIN, bytes - BASE_BYTES - threads * SHARD_BYTES);
  const shares: Partial<Limits> = {
    unsentBytesMax: room / 4 / threads,
    retainedBytesMax: room / 8,
    sessionBytesMax: room / 8,
    ...(dataDir === '' ? { queuedBytesMax: room / 4, queuedBytesPerClientMax: room / 8 } : {}),
  };
  const lowered = Object.entries(shares).filter(([name, share]) => {
    const limit = name as keyof Limits;
    return config.limits[limit] === defaultLimits[limit] && share < defaultLimits[limit];
  });
  if (lowered.length === 0) return config;
  return {
    ...config,
    limits: { ...config.limits, ...Object.fromEntries(lowered.map(([name, share]) => [name, Math.floor(share)])) },
  };
}
