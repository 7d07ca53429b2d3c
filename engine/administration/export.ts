// The export of what is held for one client, from the whole broker.
import { realpath } from 'node:fs/promises';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
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
  await judgePath(administration, path);
  const ask = () => askAll({ kind: 'export', client: clientId, path });
  const answers = await whileNothingMoves(ask, clientId).catch((error: unknown) => {
    // Some of it may be in the file, or come to be.
    audit.record(AuditEvent.EXPORT, { subject, result: 'failed' });
    throw error;
  });
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

/** The broker's own files are none of anybody's to have written. @throws ApiError for a path in the data directory, or beside the audit log */
async function judgePath({ config }: Administration, path: string): Promise<void> {
  const { server, audit } = config;
  const file = await realOf(path);
  const data = server.dataDir === '' ? null : await realOf(server.dataDir);
  const besideAudit = audit.file === '' ? null : dirname(await realOf(resolve(audit.file)));
  if ((data === null || !isUnder(data, file)) && dirname(file) !== besideAudit) return;
  throw new ApiError(400, 'the file must not stand in the data directory or beside the audit log');
}

/** A path without symbolic links; of one that does not exist, as it is given: it cannot be opened. */
function realOf(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path));
}

function isUnder(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`);
}
