// Verifies an audit log: every line of every file, in order, and the head. The first break is told; what stands behind it proves nothing.
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { type AuditEntry, checkSeal, entryOf, hashOf, headOf, NO_LINE, Seal } from './audit-chain.ts';
import { asideFiles, headName, readLines } from './audit-files.ts';

export interface AuditVerdict {
  readonly files: number;
  /** Entries that follow from each other. */
  readonly entries: number;
  /** Numbers and times of the first and the last of them; null when there is none. */
  readonly first: { readonly sequence: number; readonly time: string } | null;
  readonly last: { readonly sequence: number; readonly time: string } | null;
  /** Entries whose seal was checked; the chain holds those before them too. */
  readonly sealed: number;
  /** What is worth knowing, and no break. */
  readonly notes: readonly string[];
  /** The first break in one line; null: there is none. */
  readonly broken: string | null;
}

/**
 * A broker may write the log meanwhile: one that it has rotated under the reading is read again.
 * @param file the log; files put aside are found beside it
 * @param key what the lines are sealed with (`auditKey`); null: seals are not checked
 * @throws Error when a file cannot be read
 */
export function verifyAudit(file: string, key: Uint8Array | null): AuditVerdict {
  const before = filesOf(file);
  try {
    const verdict = verifyFiles(file, before, key);
    return isSame(before, filesOf(file)) ? verdict : verifyFiles(file, filesOf(file), key);
  } catch (error) {
    if (isSame(before, filesOf(file))) throw error;
    return verifyFiles(file, filesOf(file), key);
  }
}

function filesOf(file: string): readonly string[] {
  return [...asideFiles(file).map(({ path }) => path), ...(existsSync(file) ? [file] : [])];
}

function isSame(before: readonly string[], now: readonly string[]): boolean {
  return before.length === now.length && before.every((path, at) => path === now[at]);
}

function verifyFiles(file: string, files: readonly string[], key: Uint8Array | null): AuditVerdict {
  if (files.length === 0) throw new Error(`${file}: there is no audit log here`);
  // First: what is written from now on is behind the entry that it names.
  const head = existsSync(headName(file)) ? readFileSync(headName(file), 'utf8') : null;
  const walk = new Walk(key);
  for (const path of files) {
    walk.file(path, path === files.at(-1));
    if (walk.broken !== null) break;
  }
  if (walk.broken === null) walk.end(basename(headName(file)), head);
  return {
    files: files.length,
    entries: walk.entries,
    first: factsOf(walk.first),
    last: factsOf(walk.last),
    sealed: walk.sealed,
    notes: walk.notes,
    broken: walk.broken,
  };
}

function factsOf(entry: AuditEntry | null): { sequence: number; time: string } | null {
  return entry === null ? null : { sequence: entry.sequence, time: entry.time };
}

class Walk {
  entries = 0;
  sealed = 0;
  first: AuditEntry | null = null;
  last: AuditEntry | null = null;
  broken: string | null = null;
  readonly notes: string[] = [];
  readonly #key: Uint8Array | null;
  #hash = NO_LINE;
  #unchecked = 0;
  /** Entries without a seal, where seals are checked. */
  #unsealed = 0;
  /** Whether the last entry bears a seal, and whether the log says under one that the next may bear none. */
  #isSealed = false;
  #mayEnd = false;
  /** The first entry that says of a head that it told nothing. */
  #headless: AuditEntry | null = null;
  /** From which entry on the log says that it is kept. */
  #keptFrom = 1;
  /** Hashes of entries, for the head that may be older than the log. */
  readonly #hashes = new Map<number, string>();

  constructor(key: Uint8Array | null) {
    this.#key = key;
  }

  file(path: string, isLast: boolean): void {
    const { lines, rest } = readLines(path);
    const name = basename(path);
    for (const [at, line] of lines.entries()) {
      const problem = this.#take(line);
      if (problem === null) continue;
      this.broken = `${name}, line ${at + 1}: ${problem}`;
      return;
    }
    if (rest.length === 0) return;
    if (isLast) this.notes.push(`${name} ends with a line that is not finished: it is being written, or a crash has torn it`);
    else this.broken = `${name}: the last line is not finished`;
  }

  /** What only the whole shows. */
  end(headFile: string, text: string | null): void {
    const { first, last } = this;
    if (first === null || last === null) {
      if (text !== null && headOf(text, this.#key)?.sequence !== 0)
        this.broken = 'there is no entry, and the head names one: the log was emptied';
      return;
    }
    if (first.sequence > this.#keptFrom) {
      this.broken = `the log begins with entry ${first.sequence}, and by its own account it is kept from entry ${this.#keptFrom} on: files are missing`;
      return;
    }
    if (first.sequence > 1) this.notes.push(`entries before ${first.sequence} are no longer kept (audit.keep_files)`);
    if (this.#unchecked > 0)
      this.notes.push(`${this.#unchecked} entries bear a seal, which was not checked: it needs the master key`);
    if (this.#unsealed > 0)
      this.notes.push(`${this.#unsealed} entries bear no seal, from times without a master key: those behind them hold them`);
    this.broken = this.#judgeEnd(last) ?? this.#judgeHead(headFile, text, last);
  }

  #take(line: string): string | null {
    const entry = entryOf(line);
    if (entry === null) return 'is no entry: it was changed';
    const { sequence, previous } = entry;
    const seal = this.#judgeSeal(line, entry);
    if (seal !== null) return seal;
    if (this.last !== null) {
      const expected = this.last.sequence + 1;
      if (sequence !== expected) return `is entry ${sequence} where entry ${expected} belongs: lines were dropped or moved`;
      if (previous !== this.#hash)
        return `entry ${sequence} names another line before it than entry ${expected - 1} as it stands: that one was changed`;
    } else if (sequence === 1 && previous !== NO_LINE) {
      return 'is the first entry, and names one before it';
    }
    this.#hash = hashOf(line);
    this.#hashes.set(sequence, this.#hash);
    this.first ??= entry;
    this.last = entry;
    this.entries++;
    const { keptFrom, head } = entry.fields;
    if (entry.event === 'entries-missing' && head !== undefined) this.#headless ??= entry;
    if (entry.event === 'log-changed')
      this.notes.push(`entry ${sequence}: somebody else had changed the file while the broker wrote it`);
    if (entry.event === 'rotated' && typeof keptFrom === 'number') this.#keptFrom = Math.max(this.#keptFrom, keptFrom);
    return null;
  }

  #judgeSeal(line: string, { sequence, event }: AuditEntry): string | null {
    if (this.#key === null) {
      if (line.includes('"seal":')) this.#unchecked++;
      return null;
    }
    const seal = checkSeal(line, this.#key);
    if (seal === Seal.WRONG) return `entry ${sequence} bears a wrong seal: it was changed or made up, or the key is another one`;
    this.#isSealed = seal === Seal.GOOD;
    if (this.#isSealed) {
      this.sealed++;
      this.#mayEnd = event === 'sealing-ends';
      return null;
    }
    // Before there was a master key there were no seals; from the first one on all bear one, until the log says under its seal that the master key was given up.
    if (this.sealed > 0 && !this.#mayEnd) return `entry ${sequence} bears no seal, and those before it do: it was made up`;
    this.#unsealed++;
    return null;
  }

  #judgeEnd({ sequence }: AuditEntry): string | null {
    // Whoever has the master key has sealed the last entry: the broker at its start, `lethe key rotate` else.
    if (this.#key !== null && !this.#isSealed)
      return `the log ends with entry ${sequence}, which bears no seal: its seals were taken off, or it is of a time without this master key`;
    if (this.#headless === null) return null;
    const { sequence: at, fields } = this.#headless;
    return `entry ${at} says that the head was ${fields['head']} when it was written: whether lines are missing before it cannot be told`;
  }

  #judgeHead(name: string, text: string | null, last: AuditEntry): string | null {
    if (text === null) {
      this.notes.push(`${name} is missing: whether lines are missing at the end cannot be told`);
      return null;
    }
    const head = headOf(text, this.#key);
    if (head === null) return `${name} is no head, or bears a wrong seal`;
    if (this.#key !== null && !head.isSealed) return `${name} bears no seal: it was made up`;
    if (head.sequence > last.sequence)
      return `the log ends with entry ${last.sequence}, and its head names entry ${head.sequence}: lines are missing at the end`;
    const hash = this.#hashes.get(head.sequence);
    if (hash !== undefined && hash !== head.hash)
      return `entry ${head.sequence} is not the one that the head names: it was changed`;
    return null;
  }
}
