// The audit log: who did what to the broker, for whoever has to show it. Lines of JSON, chained (audit-chain.ts), only ever added to. No entry holds personal data: fields are
// numbers, words of this program and pseudonyms; `reason` is the operator's own words.
//
// Written by the first shard's thread, from a queue: `record` costs an array's push. A line counts once it is flushed to the disk; the head follows it. A disk that does not take a line
// keeps the queue waiting, and what the queue has no room for is counted and told, in the log of the broker and by an entry once there is room again.
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from '../../storage/sync-folder.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { type AuditFields, type Head, hashOf, lineOf } from './audit-chain.ts';
import { type End, findEnd, readHead, writeHead } from './audit-end.ts';
import { asideFiles, asideName } from './audit-files.ts';

export type { AuditFields } from './audit-chain.ts';

/** What is recorded. */
export const AuditEvent = {
  START: 'start',
  STOP: 'stop',
  /** Hash of the configuration that holds from now on. */
  CONFIGURATION: 'configuration',
  KEY_ROTATED: 'key-rotated',
  /** The master key was given up: what follows bears no seal. */
  SEALING_ENDS: 'sealing-ends',
  KICK: 'kick',
  LOG_LEVEL: 'log-level',
  RELOAD: 'reload',
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
  /** Somebody else has changed the file while it was written. */
  LOG_CHANGED: 'log-changed',
  /** The head names an entry that is not in the log, or `head` says why it names none. */
  ENTRIES_MISSING: 'entries-missing',
} as const;
export type AuditEvent = (typeof AuditEvent)[keyof typeof AuditEvent];

export interface Audit {
  /** Adds an entry, in order. @throws Error for a field that is no number, word or reason: a fault of the program */
  record(event: AuditEvent, fields?: AuditFields): void;
  /** Seals what is recorded from now on; null: nothing is sealed any more. */
  seal(key: Uint8Array | null): void;
  /** Entries that found no room, or came after the end. */
  readonly lost: number;
  /** Whether the disk has not taken the last that was to be written. */
  readonly isFailing: boolean;
  /** Resolves when what was recorded by now is on the disk, or the disk does not take it: nobody waits for a disk to come back. */
  settle(): Promise<void>;
  /** Resolves when what was recorded is on the disk, or the disk does not take it. The files are not touched any more: another process may have them. */
  close(): Promise<void>;
}

/** Where nothing is kept. */
export const noAudit: Audit = {
  record: () => {},
  seal: () => {},
  lost: 0,
  isFailing: false,
  settle: async () => {},
  close: async () => {},
};

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
  /** Seals it. */
  readonly key: Uint8Array | null;
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
    const found = findEnd(file);
    if ((found.mode & 0o077) !== 0) log.warn('others may read or write the audit log; give its file mode 0600');
    const head = readHead(file, found, key);
    const audit = new AuditLog(settings, found, clock, log);
    if (typeof head === 'string') audit.distrustHead();
    if (found.torn > 0) audit.record(AuditEvent.TORN_LINE, { bytes: found.torn });
    if (typeof head === 'string') {
      log.error('the head of the audit log cannot tell whether entries are missing', { head });
      audit.record(AuditEvent.ENTRIES_MISSING, { head });
    } else if (head !== null && head.sequence > found.head.sequence) {
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

class AuditLog implements Audit {
  lost = 0;
  readonly #settings: AuditSettings;
  readonly #clock: Clock;
  readonly #log: Log;
  #head: Head;
  #bytes: number;
  /** Number of the first entry of the file. */
  #first: number;
  #inode: number;
  #handle: FileHandle | null = null;
  #key: Uint8Array | null;
  /** What the head file is sealed with; undefined: unknown. */
  #headKey: Uint8Array | null | undefined;
  /** Bytes that an attempt which failed may have left behind the last line. */
  #leftover = 0;
  /** What is to be said of a file that somebody else has changed. */
  #changed: Waiting | null = null;
  readonly #waiting: Waiting[] = [];
  #writing: Promise<void> | null = null;
  #cancelRetry: (() => void) | null = null;
  isFailing = false;
  #isClosed = false;
  /** Lost since the last entry that said so. */
  #untold = 0;

  constructor(settings: AuditSettings, { head, bytes, first, inode }: End, clock: Clock, log: Log) {
    this.#settings = settings;
    this.#clock = clock;
    this.#log = log;
    this.#head = head;
    this.#bytes = bytes;
    this.#first = first;
    this.#inode = inode;
    this.#key = settings.key;
  }

  /** The chain goes on behind an entry that is missing: the gap stays to be seen. */
  goOnFrom(head: Head): void {
    this.#head = head;
    if (this.#bytes === 0) this.#first = head.sequence + 1;
  }

  /** The head file is left as it was found until the log says so. */
  distrustHead(): void {
    this.#headKey = this.#key;
  }

  seal(key: Uint8Array | null): void {
    this.#key = key;
  }

  record(event: AuditEvent, fields: AuditFields = {}): void {
    judgeFields(fields);
    if (this.#isClosed || this.#waiting.length >= WAITING_MAX) {
      this.#lose(1);
      return;
    }
    this.#waiting.push(this.#waitingOf(event, fields, this.#key));
    if (!this.isFailing) this.#write();
  }

  async settle(): Promise<void> {
    await this.#writing;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
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
      const { key } = this.#waiting[0]!;
      const other = this.#waiting.findIndex((waiting) => waiting.key !== key);
      const batch = this.#waiting.slice(0, Math.min(BATCH_MAX, other < 0 ? BATCH_MAX : other));
      try {
        await this.#put(batch, key);
      } catch (error) {
        this.#failed(error as NodeJS.ErrnoException);
        return;
      }
      this.#waiting.splice(0, batch.length);
      if (this.isFailing) this.#log.warn('the audit log can be written again');
      this.isFailing = false;
    }
  }

  #waitingOf(event: AuditEvent, fields: AuditFields, key: Uint8Array | null): Waiting {
    return { time: new Date(this.#clock.wallMs()).toISOString(), event, fields, key };
  }

  /** @param key of all of the batch */
  async #put(batch: readonly Waiting[], key: Uint8Array | null): Promise<void> {
    await this.#look(key);
    // Before the first line, and before the first that is sealed or sealed no more: a log without its head has lost it.
    if (this.#headKey !== key) await this.#writeHead(key);
    if (this.#bytes >= this.#settings.rotateBytes) await this.#rotate(key);
    const lost = this.#untold;
    const changed = this.#changed;
    const entries: Waiting[] = [...batch];
    if (lost > 0) entries.unshift(this.#waitingOf(AuditEvent.ENTRIES_LOST, { entries: lost }, key));
    if (changed !== null) entries.unshift(changed);
    await this.#append(await this.#open('a'), entries);
    this.#untold -= lost;
    this.#changed = null;
    await this.#writeHead(key);
  }

  async #open(flags: 'a' | 'ax'): Promise<FileHandle> {
    if (this.#handle !== null) return this.#handle;
    const { file } = this.#settings;
    const handle = await open(file, flags, 0o600);
    this.#handle = handle;
    const { ino } = await handle.stat();
    if (ino !== this.#inode) syncFolder(dirname(file));
    this.#inode = ino;
    return handle;
  }

  /** Looks whether the file is as it was left. If it is not, the log goes on where it ends now, and says so; what is missing leaves a gap. */
  async #look(key: Uint8Array | null): Promise<void> {
    const { file } = this.#settings;
    const now = await stat(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    const surplus = (now?.size ?? 0) - this.#bytes;
    const isOurs = now === null ? this.#bytes === 0 : now.ino === this.#inode;
    if (isOurs && surplus >= 0 && surplus <= this.#leftover && now !== null) return;
    await this.#handle?.close();
    this.#handle = null;
    if (now === null && isOurs) return;
    const found = findEnd(file);
    const expected = this.#head.sequence;
    this.#log.error('somebody else has changed the audit log; lethe audit verify says where', {
      expected,
      found: found.head.sequence,
    });
    this.#changed = this.#waitingOf(AuditEvent.LOG_CHANGED, { expected, found: found.head.sequence }, key);
    this.#bytes = found.bytes;
    this.#first = found.first;
    this.#inode = found.inode;
    this.#leftover = 0;
    this.goOnFrom(found.head.sequence > expected ? found.head : this.#head);
  }

  /** Adds entries to the end of the file, or nothing: half a line is cut off again. */
  async #append(handle: FileHandle, entries: readonly Waiting[]): Promise<void> {
    let head = this.#head;
    let text = '';
    for (const { time, event, fields, key } of entries) {
      const entry = { sequence: head.sequence + 1, time, event, fields, previous: head.hash };
      const line = lineOf(entry, key);
      text += `${line}\n`;
      head = { sequence: entry.sequence, hash: hashOf(line) };
    }
    // What an earlier attempt has left goes first.
    if (this.#leftover > 0) await handle.truncate(this.#bytes);
    const bytes = Buffer.from(text);
    this.#leftover = bytes.length;
    for (let written = 0; written < bytes.length; ) written += (await handle.write(bytes, written)).bytesWritten;
    await handle.datasync();
    this.#leftover = 0;
    this.#bytes += bytes.length;
    this.#head = head;
  }

  /** Begins the next file. Its first entry says what is kept before anything is removed. */
  async #rotate(key: Uint8Array | null): Promise<void> {
    const { file, keepFiles } = this.#settings;
    await this.#handle?.close();
    this.#handle = null;
    await rename(file, asideName(file, this.#first));
    this.#bytes = 0;
    this.#leftover = 0;
    this.#first = this.#head.sequence + 1;
    const aside = asideFiles(file);
    const surplus = aside.slice(0, Math.max(0, aside.length + 1 - keepFiles));
    const keptFrom = aside[surplus.length]?.first ?? this.#first;
    await this.#append(await this.#open('ax'), [this.#waitingOf(AuditEvent.ROTATED, { keptFrom }, key)]);
    await this.#writeHead(key);
    for (const { path } of surplus) await rm(path, { force: true });
  }

  /** One that the disk does not take is no harm: an older head only shows less. */
  async #writeHead(key: Uint8Array | null): Promise<void> {
    await writeHead(this.#settings.file, this.#head, key).catch(() => {});
    this.#headKey = key;
  }

  #failed({ code = 'unknown error' }: NodeJS.ErrnoException): void {
    if (!this.isFailing) this.#log.error('the audit log cannot be written; its entries wait', { code });
    this.isFailing = true;
    this.#cancelRetry = this.#clock.after(RETRY_MS, () => this.#write());
  }

  #lose(entries: number): void {
    if (this.#untold === 0) this.#log.error('the audit log cannot take entries; they are lost');
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
