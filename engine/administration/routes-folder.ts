// What only a command may tell that may enter the data directory: served on the socket in it, and nowhere else.
import type { Route } from './api.ts';
import { ApiError } from './api-error.ts';
import { AuditEvent } from './audit.ts';
import { keepPseudonymKey } from './pseudonym.ts';

/** What a change of the master key means for the seals of the audit log. */
export const Sealing = { BEGINS: 'begins', STAYS: 'stays', ENDS: 'ends' } as const;
export type Sealing = (typeof Sealing)[keyof typeof Sealing];

/** How `lethe key rotate` tells of a change. */
export interface KeyRotated {
  readonly sealing: Sealing;
  /** What lines are sealed with where that begins: 64 hex digits. */
  readonly key?: string;
}

export const folderRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/audit/key-rotated',
    summary: 'Records in the audit log that the keys were wrapped under another master key (lethe key rotate)',
    handle: async ({ audit, config, pseudonymKey }, { body }) => {
      const { sealing, key } = (body ?? {}) as Readonly<Record<string, unknown>>;
      if (sealing === Sealing.BEGINS) audit.seal(keyOf(key));
      else if (sealing !== Sealing.STAYS && sealing !== Sealing.ENDS)
        throw new ApiError(400, `give {"sealing": …} with one of ${Object.values(Sealing).join(', ')}`);
      audit.record(AuditEvent.KEY_ROTATED);
      if (sealing === Sealing.ENDS) {
        audit.record(AuditEvent.SEALING_ENDS);
        audit.seal(null);
        // The names stay as they are, also when the next start has no master key to derive them from.
        keepPseudonymKey({ file: config.admin.pseudonymKeyFile, folder: config.server.dataDir }, pseudonymKey);
      }
      await audit.settle();
      return { status: 200, body: {} };
    },
  },
];

function keyOf(key: unknown): Uint8Array {
  if (typeof key !== 'string' || !/^[0-9a-f]{64}$/.test(key)) throw new ApiError(400, 'the key must have 64 hex digits');
  return Uint8Array.from(Buffer.from(key, 'hex'));
}
