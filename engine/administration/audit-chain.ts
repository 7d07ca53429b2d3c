// The lines of the audit log, as a chain: each names the SHA-256 of the line before it, so none can be changed, dropped or moved without a trace; and where a master key guards the
// spool, each bears a seal (HMAC-SHA-256 under a key that only the master key opens), so none can be made up either.
//
//   {"sequence":7,"time":"2026-…Z","event":"erase","fields":{…},"previous":"<64 hex digits>","seal":"<64 hex digits>"}
//
// The seal is of the line without it. Beside the log a file named `….head` holds the last entry's number and hash: what is cut off at the end would not be missed otherwise.
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/** What the first line names as the one before it. */
export const NO_LINE = '0'.repeat(64);

/** Numbers, words of the program, pseudonyms; and `reason`, the operator's own words. */
export type AuditFields = Readonly<Record<string, number | string>>;

export interface AuditEntry {
  readonly sequence: number;
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly event: string;
  readonly fields: AuditFields;
  /** SHA-256 of the line before, in hex. */
  readonly previous: string;
}

/** An entry as a line without its end; `key` null: without a seal. */
export function lineOf({ sequence, time, event, fields, previous }: AuditEntry, key: Uint8Array | null): string {
  const body = JSON.stringify({ sequence, time, event, fields, previous });
  return key === null ? body : `${body.slice(0, -1)},"seal":"${sealOf(key, body)}"}`;
}

/** What stands in a line; null when it is no entry. */
export function entryOf(line: string): AuditEntry | null {
  try {
    const value: unknown = JSON.parse(line);
    return isEntry(value) ? value : null;
  } catch {
    return null;
  }
}

export function hashOf(line: string): string {
  return createHash('sha256').update(line).digest('hex');
}

export const Seal = { NONE: 'none', GOOD: 'good', WRONG: 'wrong' } as const;
export type Seal = (typeof Seal)[keyof typeof Seal];

/** Whether a line bears the seal of a key. */
export function checkSeal(line: string, key: Uint8Array): Seal {
  const parts = /^(.*),"seal":"([0-9a-f]{64})"\}$/.exec(line);
  if (parts === null) return Seal.NONE;
  return isEqual(parts[2]!, sealOf(key, `${parts[1]}}`)) ? Seal.GOOD : Seal.WRONG;
}

/** The last entry, as the head file remembers it. */
export interface Head {
  readonly sequence: number;
  readonly hash: string;
}

export function headLine({ sequence, hash }: Head, key: Uint8Array | null): string {
  const head = { sequence, hash };
  return `${JSON.stringify(key === null ? head : { ...head, seal: sealOf(key, JSON.stringify(head)) })}\n`;
}

/** The head that a file holds, and whether it bears the key's seal; null when it is none, or bears another seal. */
export function headOf(text: string, key: Uint8Array | null): (Head & { readonly isSealed: boolean }) | null {
  try {
    const { sequence, hash, seal } = JSON.parse(text) as { sequence?: unknown; hash?: unknown; seal?: unknown };
    if (typeof sequence !== 'number' || typeof hash !== 'string') return null;
    const isSealed = typeof seal === 'string' && key !== null && isEqual(seal, sealOf(key, JSON.stringify({ sequence, hash })));
    // One from before there was a master key bears none.
    return key === null || seal === undefined || isSealed ? { sequence, hash, isSealed } : null;
  } catch {
    return null;
  }
}

function sealOf(key: Uint8Array, text: string): string {
  return createHmac('sha256', key).update(text).digest('hex');
}

function isEqual(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function isEntry(value: unknown): value is AuditEntry {
  if (typeof value !== 'object' || value === null) return false;
  const entry = value as Partial<Record<keyof AuditEntry, unknown>>;
  return (
    Number.isSafeInteger(entry.sequence) &&
    typeof entry.time === 'string' &&
    typeof entry.event === 'string' &&
    typeof entry.fields === 'object' &&
    entry.fields !== null &&
    typeof entry.previous === 'string'
  );
}
