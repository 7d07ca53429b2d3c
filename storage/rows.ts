// Where things stand in the spool's map: keys are numbers, so that no name is ever part of one (DESIGN §6).
//
//   kind u8 | session u32 | number u48          most rows; the number is a position, a filter's number, a retained message's number
//   EXPIRY u8 | until u48 ms | kind u8 | session u32 | number u48      which sealed value has something to forget, and when

export const RowKind = {
  META: 1,
  /** State of a session's queue. */
  STATE: 2,
  /** Deliveries of a session, by the first position. */
  QUEUE: 3,
  SESSION: 4,
  SUBSCRIPTION: 5,
  /** Messages that more than one session waits for, by the first number. */
  SHARED: 6,
  /** How many sessions wait for each of them. */
  COUNTS: 7,
  RETAINED: 8,
  EXPIRY: 9,
  /** Sealed values with damage, as they were found: by kind and number of the row. */
  QUARANTINE: 10,
} as const;
export type RowKind = (typeof RowKind)[keyof typeof RowKind];

/** Numbers of the META rows. */
export const MetaRow = {
  /** Format and count of starts. */
  STARTS: 0,
  /** The start that ended in order; not there while the store is in use. */
  ENDED: 3,
  /** There while the counts of shared messages are in doubt. */
  DOUBT: 4,
  /** Numbers below it may have been given to shared messages. */
  SHARED_NUMBERS: 1,
  /** Written to see whether the disk has room again. */
  PROBE: 2,
} as const;

export const ROW_NUMBER_MAX = 2 ** 48 - 1;
const ROW_KEY_BYTES = 11;
const EXPIRY_KEY_BYTES = 18;

export function rowKey(kind: RowKind, session: number, number: number): Buffer {
  const key = Buffer.allocUnsafe(ROW_KEY_BYTES);
  key[0] = kind;
  key.writeUInt32BE(session, 1);
  key.writeUIntBE(number, 5, 6);
  return key;
}

export function rowSession(key: Uint8Array): number {
  return view(key).getUint32(1);
}

export function rowNumber(key: Uint8Array): number {
  return readU48(key, 5);
}

export function expiryKey(untilMs: number, kind: RowKind, session: number, number: number): Buffer {
  const key = Buffer.allocUnsafe(EXPIRY_KEY_BYTES);
  key[0] = RowKind.EXPIRY;
  key.writeUIntBE(dueMs(untilMs), 1, 6);
  key[7] = kind;
  key.writeUInt32BE(session, 8);
  key.writeUIntBE(number, 12, 6);
  return key;
}

/** The time in whole ms under which a value that must be forgotten by `untilMs` is listed. */
export function dueMs(untilMs: number): number {
  return Math.min(Math.max(0, Math.ceil(untilMs)), ROW_NUMBER_MAX);
}

export interface Due {
  readonly untilMs: number;
  readonly kind: RowKind;
  readonly session: number;
  readonly number: number;
}

export function readExpiryKey(key: Uint8Array): Due {
  return { untilMs: readU48(key, 1), kind: key[7] as RowKind, session: view(key).getUint32(8), number: readU48(key, 12) };
}

function view(key: Uint8Array): DataView {
  return new DataView(key.buffer, key.byteOffset, key.byteLength);
}

function readU48(bytes: Uint8Array, at: number): number {
  return Buffer.prototype.readUIntBE.call(bytes, at, 6);
}
