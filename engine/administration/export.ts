// The export of what is held for one client, from the whole broker.
import { isAbsolute } from 'node:path';
import type { Administration } from './administration.ts';
import { ApiError } from './api-error.ts';
import { AuditEvent } from './audit.ts';
import { subjectOf } from './erasure.ts';
import type { ExportCounts } from './export-shard.ts';

/** What the one who asked can show; the data themselves are in the file. */
export interface ExportReceipt extends ExportCounts {
  /** Pseudonym of the client. */
  readonly subject: string;
  /** ISO 8601, UTC. */
  readonly time: string;
}

/** Writes what is held for a client into a file that is there, empty, and its owner's alone. @throws ApiError */
export async function exportHeld(administration: Administration, clientId: string, path: string): Promise<ExportReceipt> {
  if (!isAbsolute(path)) throw new ApiError(400, 'the path of the file must be absolute');
  const { askAll, audit, clock, whileNothingMoves } = administration;
  const subject = subjectOf(administration, { kind: 'client', name: clientId });
  const answers = await whileNothingMoves(() => askAll({ kind: 'export', client: clientId, path }), clientId);
  const exported = answers.find((answer) => answer !== null) ?? null;
  if (exported === null || 'problem' in exported) {
    audit.record(AuditEvent.EXPORT, { subject, result: exported === null ? 'nothing-held' : 'failed' });
    if (exported === null) throw new ApiError(404, 'nothing is held for this client: it has no session');
    throw new ApiError(409, exported.problem);
  }
  audit.record(AuditEvent.EXPORT, { subject, result: 'complete', ...exported });
  await audit.settle();
  return { subject, time: new Date(clock.wallMs()).toISOString(), ...exported };
}
