// The record of a session as a store keeps it: MessagePack behind a version byte, with pinned options. Subscriptions and
// deliveries are not in it: they have intents of their own.
//
//   version 1: a user name stood where the principal stands; still read
//   version 2: as below
//
// 'msgpackr' itself also loads a native reader of strings, 4 MB, which records are too few to gain from.
import { Packr } from 'msgpackr/pack';
import type { Level } from '../../protocol/packet.ts';
import { isPrincipal, type Principal, principalOf } from '../principal.ts';
import type { QueueOverflow, Session, Will } from '../sessions/session.ts';

const VERSION = 2;
const VERSION_OF_NAMES = 1;
const packr = new Packr({ useRecords: false, mapsAsObjects: true, variableMapSize: true });

export interface SessionRecord {
  readonly clientId: string;
  readonly principal: Principal;
  readonly level: Level;
  readonly expiryS: number;
  /** Wall clock in ms; 0 while connected. */
  readonly disconnectedAtMs: number;
  /** Deliveries below this position may have been sent. */
  readonly sentBefore: number;
  readonly overflow: QueueOverflow;
  readonly will: Will | null;
  /** Listener that the client came to last; records of before have none. */
  readonly listener?: string;
}

/** Encodes what must survive of a session. */
export function packSession(session: Session): Uint8Array {
  const record: SessionRecord = {
    clientId: session.clientId,
    principal: session.principal,
    level: session.level,
    expiryS: session.expiryS,
    disconnectedAtMs: session.disconnectedAtMs,
    sentBefore: session.sentBefore,
    overflow: session.overflow,
    will: session.will,
    listener: session.listener,
  };
  const body = packr.pack(record);
  const bytes = new Uint8Array(body.length + 1);
  bytes[0] = VERSION;
  bytes.set(body, 1);
  return bytes;
}

/** Decodes a record; null when it is of another version or broken. */
export function unpackSession(bytes: Uint8Array): SessionRecord | null {
  if (bytes[0] !== VERSION && bytes[0] !== VERSION_OF_NAMES) return null;
  try {
    const unpacked: unknown = packr.unpack(bytes.slice(1));
    const record = bytes[0] === VERSION_OF_NAMES ? withPrincipal(unpacked) : unpacked;
    return isRecord(record) ? record : null;
  } catch {
    return null;
  }
}

/** A record of version 1 as one of this version. */
function withPrincipal(unpacked: unknown): unknown {
  if (typeof unpacked !== 'object' || unpacked === null) return null;
  const { username, ...rest } = unpacked as { username?: string | null };
  return { ...rest, principal: principalOf({ username: username as string | null }) };
}

function isRecord(value: unknown): value is SessionRecord {
  if (typeof value !== 'object' || value === null) return false;
  const record = value as Partial<Record<keyof SessionRecord, unknown>>;
  return (
    typeof record.clientId === 'string' &&
    isPrincipal(record.principal) &&
    typeof record.level === 'number' &&
    typeof record.expiryS === 'number' &&
    typeof record.disconnectedAtMs === 'number' &&
    typeof record.sentBefore === 'number' &&
    typeof record.overflow === 'number' &&
    (record.listener === undefined || typeof record.listener === 'string')
  );
}
