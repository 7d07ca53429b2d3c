// The audit log: who did what to the broker, for whoever has to show it. Lines of JSON, chained (audit-chain.ts), only ever added to. No entry holds personal data: fields are
// numbers, words of this program and pseudonyms; `reason` is the operator's own words.
//
// Written by the first shard's thread, from a queue: `record` costs an array's push. A line counts once it is flushed to the disk; the head follows it. A disk that does not take a line
// keeps the queue waiting, and what the queue has no room for is counted and told, in the log of the broker and by an entry once there is room again.
import { closeSync, existsSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { type FileHandle, open, rename, rm, writeFile } from 'node:fs/promises';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { type AuditFields, entryOf, type Head, hashOf, headLine, headOf, lineOf, NO_LINE } from './audit-chain.ts';
import { asideFiles, asideName, headName, readLines, tornName } from './audit-files.ts';

export type { AuditFields } from './audit-chain.ts';

/** What is recorded. */
export const AuditEvent = {
  START: 'start',
  STOP: 'stop',
  /** Hash of the configuration that holds from now on. */
  CONFIGURATION: 'configuration',
  KEY_ROTATED: 'key-rotated',
  KICK: 'kick',
  LOG_LEVEL: 'log-level',
  RELOAD: 'reload',
  BAN: 'ban',
  EXPORT: 'export',
  ERASE: 'erase',
  TRACE_BEGIN: 'trace-begin',
  TRACE_END: 'trace-end',
  LOGINS_REFUSED: 'logins-refused',
  /** First entry of a file: the entries from `keptFrom` on are kept. */
  ROTATED: 'rotated',
  /** A line that a crash has torn was set aside. */
  TORN_LINE: 'torn-line',
  /** Entries found no room. */
  ENTRIES_LOST: 'entries-lost',
  /** The head names an entry that is not in the log. */
  ENTRIES_MISSING: 'entries-missing',
} as const;
export type AuditEvent = (typeof AuditEvent)[keyof typeof AuditEvent];

export interface Audit {
  /** Adds an entry, in order. @throws Error for a field that is no number, word or reason: a fault of the program */
  record(event: AuditEvent, fields?: AuditFields): void;
  /** Entries that found no room. */
  readonly lost: number;
  /** Whether the disk has not taken the last that was to be written. */
  readonly isFailing: boolean;
  /** Resolves when what was recorded by now is on the disk, or the disk does not take it: nobody waits for a disk to come back. */
  settle(): Promise<void>;
  /** Resolves when what was recorded is on the disk, or the disk does not take it. */
  close(): Promise<void>;
}

/** Where nothing is kept. */
export const noAudit: Audit = { record: () => {}, lost: 0, isFailing: false, settle: async () => {}, close: async () => {} };

/** Longest reason, in characters. */
export const REASON_LENGTH_MAX = 200;

export interface AuditSettings {
  readonly file: string;
  readonly rotateBytes: number;
  readonly keepFiles: number;
  /** Seals the lines; null: they are chained only. */
  readonly key: Uint8Array | null;
}

interface Waiting {
  readonly time: string;
  readonly event: AuditEvent;
  readonly fields: AuditFields;
}

const WAITING_MAX = 4_096;
const BATCH_MAX = 64;
const RETRY_MS = 1_000;

/**
 * Opens the audit log, goes on where it ended, and sets aside what a crash has left of a line.
 * @throws Error in one line that names the file
 */
export function openAudit(settings: AuditSettings, clock: Clock, log: Log): Audit {
  const { file, key } = settings;
  try {
    const found = findEnd(settings);
    const audit = new AuditLog(settings, found, clock, log);
    if (found.torn > 0) audit.record(AuditEvent.TORN_LINE, { bytes: found.torn });
    const head = existsSync(headName(file)) ? headOf(readFileSync(headName(file), 'utf8'), key) : null;
    if (head !== null && head.sequence > found.head.sequence) {
      audit.goOnFrom(head);
      const missing = head.sequence - found.head.sequence;
      log.error('the audit log lacks entries that its head names; lethe audit verify says which', { entries: missing });
      audit.record(AuditEvent.ENTRIES_MISSING, { entries: missing });
    }
    return audit;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(`${file}: the audit log cannot be opened (${code ?? (error as Error).message}); correct audit.file`);
  }
}

interface End {
  readonly head: Head;
  readonly bytes: number;
  /** Bytes of a torn line that was set aside. */
  readonly torn: number;
  /** Number of the first entry in the file. */
  readonly first: number;
}

/** Where the log ends. A torn line is cut off and kept beside it. */
function findEnd({ file }: AuditSettings): End {
  const aside = asideFiles(file).at(-1);
  const before = aside === undefined ? { sequence: 0, hash: NO_LINE } : headIn(readLines(aside.path).lines);
  const descriptor = openSync(file, 'a+', 0o600);
  try {
    if (!fstatSync(descriptor).isFile()) throw new Error('it is not a file');
    const { lines, rest, bytes } = readLines(file);
    const head = lines.length === 0 ? before : headIn(lines);
    if (rest.length > 0) {
      writeFileSync(tornName(file, head.sequence), rest, { mode: 0o600 });
      ftruncateSync(descriptor, bytes);
      fsyncSync(descriptor);
    }
    const first = lines.length === 0 ? head.sequence + 1 : (entryOf(lines[0]!)?.sequence ?? head.sequence);
    return { head, bytes, torn: rest.length, first };
  } finally {
    closeSync(descriptor);
  }
}

/** The last entry of some lines. A line that is none has a hash all the same: the chain goes on, and a verification finds it. */
function headIn(lines: readonly string[]): Head {
  const last = lines.findLastIndex((line) => entryOf(line) !== null);
  const sequence = last < 0 ? 0 : entryOf(lines[last]!)!.sequence;
  return { sequence, hash: lines.length === 0 ? NO_LINE : hashOf(lines.at(-1)!) };
}

class AuditLog implements Audit {
  lost = 0;
  readonly #settings: AuditSettings;
  readonly #clock: Clock;
  readonly #log: Log;
  #head: Head;
  #bytes: number;
  /** Number of the first entry of the file. */
  #first: number;
  #handle: FileHandle | null = null;
  readonly #waiting: Waiting[] = [];
  #writing: Promise<void> | null = null;
  #cancelRetry: (() => void) | null = null;
  isFailing = false;
  /** Lost since the last entry that said so. */
  #untold = 0;

  constructor(settings: AuditSettings, { head, bytes, first }: End, clock: Clock, log: Log) {
    this.#settings = settings;
    this.#clock = clock;
    this.#log = log;
    this.#head = head;
    this.#bytes = bytes;
    this.#first = first;
  }

  /** The chain goes on behind an entry that is missing: the gap stays to be seen. */
  goOnFrom(head: Head): void {
    this.#head = head;
  }

  record(event: AuditEvent, fields: AuditFields = {}): void {
    judgeFields(fields);
    if (this.#waiting.length >= WAITING_MAX) {
      this.#lose(1);
      return;
    }
    this.#waiting.push({ time: new Date(this.#clock.wallMs()).toISOString(), event, fields });
    if (!this.isFailing) this.#write();
  }

  async settle(): Promise<void> {
    await this.#writing;
  }

  async close(): Promise<void> {
    this.#cancelRetry?.();
    await this.#writing;
    this.#cancelRetry?.();
    if (this.#waiting.length > 0) {
      this.#write();
      await this.#writing;
      this.#cancelRetry?.();
    }
    if (this.#waiting.length > 0) this.#lose(this.#waiting.splice(0).length);
    await this.#handle?.close();
    this.#handle = null;
  }

  #write(): void {
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = null;
    });
  }

  /** Writes what waits, a batch at a time. Whatever the disk says, nothing is thrown. */
  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, BATCH_MAX);
      try {
        await this.#put(batch);
      } catch (error) {
        this.#failed(error as NodeJS.ErrnoException);
        return;
      }
      this.#waiting.splice(0, batch.length);
      if (this.isFailing) this.#log.warn('the audit log can be written again');
      this.isFailing = false;
    }
  }

  async #put(batch: readonly Waiting[]): Promise<void> {
    const { rotateBytes } = this.#settings;
    const lost = this.#untold;
    const entries: Waiting[] = [...batch];
    if (lost > 0) entries.unshift({ time: batch[0]!.time, event: AuditEvent.ENTRIES_LOST, fields: { entries: lost } });
    if (this.#bytes >= rotateBytes) await this.#rotate();
    this.#handle ??= await open(this.#settings.file, 'a', 0o600);
    await this.#append(this.#handle, entries);
    this.#untold -= lost;
    await this.#writeHead();
  }

  /** Adds entries to the end of the file, or nothing: half a line is cut off again. */
  async #append(handle: FileHandle, entries: readonly Waiting[]): Promise<void> {
    let head = this.#head;
    let text = '';
    for (const { time, event, fields } of entries) {
      const entry = { sequence: head.sequence + 1, time, event, fields, previous: head.hash };
      const line = lineOf(entry, this.#settings.key);
      text += `${line}\n`;
      head = { sequence: entry.sequence, hash: hashOf(line) };
    }
    // What an earlier attempt has left goes first.
    await handle.truncate(this.#bytes);
    const bytes = Buffer.from(text);
    for (let written = 0; written < bytes.length; ) written += (await handle.write(bytes, written)).bytesWritten;
    await handle.datasync();
    this.#bytes += bytes.length;
    this.#head = head;
  }

  /** Begins the next file. Its first entry says what is kept before anything is removed. */
  async #rotate(): Promise<void> {
    const { file, keepFiles } = this.#settings;
    await this.#handle?.close();
    this.#handle = null;
    await rename(file, asideName(file, this.#first));
    this.#bytes = 0;
    this.#first = this.#head.sequence + 1;
    const aside = asideFiles(file);
    const surplus = aside.slice(0, Math.max(0, aside.length + 1 - keepFiles));
    const keptFrom = aside[surplus.length]?.first ?? this.#first;
    const handle = await open(file, 'ax', 0o600);
    this.#handle = handle;
    const time = new Date(this.#clock.wallMs()).toISOString();
    await this.#append(handle, [{ time, event: AuditEvent.ROTATED, fields: { keptFrom: keptFrom } }]);
    await this.#writeHead();
    for (const { path } of surplus) await rm(path, { force: true });
  }

  /** One that the disk does not take is no harm: an older head only shows less. */
  async #writeHead(): Promise<void> {
    const { file, key } = this.#settings;
    const fresh = `${headName(file)}.new`;
    await writeFile(fresh, headLine(this.#head, key), { mode: 0o600 })
      .then(() => rename(fresh, headName(file)))
      .catch(() => {});
  }

  #failed({ code = 'unknown error' }: NodeJS.ErrnoException): void {
    if (!this.isFailing) this.#log.error('the audit log cannot be written; its entries wait', { code });
    this.isFailing = true;
    this.#cancelRetry = this.#clock.after(RETRY_MS, () => this.#write());
  }

  #lose(entries: number): void {
    if (this.#untold === 0) this.#log.error('the audit log has no room; entries are lost');
    this.lost += entries;
    this.#untold += entries;
  }
}

/** Words of the program, hashes, pseudonyms, receipts. */
const WORD = /^[A-Za-z0-9._:-]{1,128}$/;

function judgeFields(fields: AuditFields): void {
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === 'number' ? Number.isFinite(value) : name === 'reason' ? isReason(value) : WORD.test(value)) continue;
    throw new Error(`audit: the field ${name} is neither a number nor a word`);
  }
}

/** Whether a text may stand as the reason of an entry: one line of at most 200 characters. */
export function isReason(text: string): boolean {
  return text.length > 0 && text.length <= REASON_LENGTH_MAX && !/\p{Cc}/u.test(text);
}
