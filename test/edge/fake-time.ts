// The wall clock of a process as a test has it, by Debian's faketime: Date and everything else that asks for the time of day jumps when the test says so, while the monotonic clock runs on as it is.
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Each architecture has a folder of its own. */
const LIBRARY = readdirSync('/usr/lib')
  .map((name) => join('/usr/lib', name, 'faketime/libfaketimeMT.so.1'))
  .find((path) => existsSync(path))!;

export class FakeTime {
  readonly #folder = mkdtempSync(join(tmpdir(), 'lethe-time-'));
  readonly #file = join(this.#folder, 'time');

  /** For `env` of a process; it looks at the file at every call. */
  readonly env: Readonly<Record<string, string>> = {
    LD_PRELOAD: LIBRARY,
    FAKETIME_TIMESTAMP_FILE: this.#file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    // It would fake what files say of themselves too.
    NO_FAKE_STAT: '1',
  };

  constructor(offsetS = 0) {
    this.jump(offsetS);
  }

  /** From now on the wall clock is so far from the true one. Never half written. */
  jump(offsetS: number): void {
    writeFileSync(`${this.#file}.next`, `${offsetS < 0 ? '' : '+'}${offsetS}\n`);
    renameSync(`${this.#file}.next`, this.#file);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export const YEAR_S = 365 * 86_400;
