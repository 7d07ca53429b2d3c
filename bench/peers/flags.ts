// The command line of the comparison.
import { parseArgs } from 'node:util';
import { ExitCode } from '../../engine/cli/exit-code.ts';
import { Failure, messageOf } from '../../engine/cli/failure.ts';
import { chosen, keysOf, positive } from '../choice.ts';
import { GUARDS } from '../contestants/guarded-lethe.ts';
import type { Cell, Times } from './cell.ts';
import { NAMES, type Wanted } from './lineup.ts';

export interface Flags extends Wanted {
  readonly cells: readonly Cell[];
  readonly rounds: number;
  readonly times: Times;
  readonly mayInstall: boolean;
  readonly json: string | null;
  readonly write: boolean;
}

export function helpFor(cells: readonly Cell[]): string {
  return `usage: npm run bench:peers -- [options]
  --cells KEYS          some of those below (default all)
  --brokers NAMES       of ${NAMES.join(', ')} and those named below (default all)
  --rounds N            rounds of each cell (default 3)
  --seconds S           time that counts in each round (default 1.5)
  --warm-up S           time before it (default 1)
  --also MAIN           another build of Lethe to run beside: its dist/cli/main.js (repeatable; lethe-also-1, ...)
  --threads N           this build with so many shards to run beside (repeatable; lethe-N-threads)
  --guard KIND          this build with what protects it to run beside: guarded (passwords, rights, metrics read every
                        second) or limited (rates, quotas and ceilings too) (repeatable; lethe-KIND)
  --address NAME=URLS   another broker that runs already: mqtt://HOST:PORT[,ws://HOST:PORT/PATH] (repeatable)
  --pid NAME=PID        its process, for what it costs (repeatable)
  --no-install          leave out what is not installed, also where it could be
  --json FILE           write everything measured
  --write               write docs/PERFORMANCE.md and docs/peers.svg
  --help                this text

cells: ${wrapped(keysOf(cells), '       ')}`;
}

const COLUMNS = 100;

function wrapped(text: string, indent: string): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1)!;
    if (line.length + word.length < COLUMNS) lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
    else lines.push(word);
  }
  return lines.join(`\n${indent}`);
}

/** Null when help was asked for. */
export function parseFlags(args: readonly string[], cells: readonly Cell[]): Flags | null {
  const values = parse(args);
  if (values.help) return null;
  const rounds = positive('--rounds', values.rounds);
  if (!Number.isInteger(rounds)) throw new Failure(`--rounds: '${values.rounds}' is not a whole number`, ExitCode.USAGE);
  return {
    cells: withNeeds(chosen(cells, values.cells, 'cell'), cells),
    brokers: values.brokers?.split(',').map((name) => name.trim()) ?? null,
    rounds,
    times: { warmUpS: positive('--warm-up', values['warm-up']), measureS: positive('--seconds', values.seconds) },
    also: values.also,
    threads: values.threads.map((text) => wholeThreads(text)),
    guards: values.guard.map((text) => knownGuard(text)),
    addresses: values.address,
    pids: new Map(values.pid.map(parsePid)),
    mayInstall: !values['no-install'],
    json: values.json ?? null,
    write: values.write,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        cells: { type: 'string' },
        brokers: { type: 'string' },
        rounds: { type: 'string', default: '3' },
        seconds: { type: 'string', default: '1.5' },
        'warm-up': { type: 'string', default: '1' },
        also: { type: 'string', multiple: true, default: [] },
        threads: { type: 'string', multiple: true, default: [] },
        guard: { type: 'string', multiple: true, default: [] },
        address: { type: 'string', multiple: true, default: [] },
        pid: { type: 'string', multiple: true, default: [] },
        'no-install': { type: 'boolean', default: false },
        json: { type: 'string' },
        write: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new Failure(messageOf(error), ExitCode.USAGE);
  }
}

/** The chosen cells and those that they need, in the order of the table. */
function withNeeds(chosenCells: readonly Cell[], all: readonly Cell[]): readonly Cell[] {
  const wanted = new Set(chosenCells.flatMap(({ key, needs }) => (needs === undefined ? [key] : [key, needs])));
  return all.filter(({ key }) => wanted.has(key));
}

function wholeThreads(text: string): number {
  const threads = positive('--threads', text);
  if (!Number.isInteger(threads)) throw new Failure(`--threads: '${text}' is not a whole number`, ExitCode.USAGE);
  return threads;
}

function knownGuard(text: string): keyof typeof GUARDS {
  if (Object.hasOwn(GUARDS, text)) return text as keyof typeof GUARDS;
  throw new Failure(`--guard '${text}': must be ${Object.keys(GUARDS).join(' or ')}`, ExitCode.USAGE);
}

function parsePid(text: string): [string, number] {
  const match = /^([^=]+)=(\d+)$/.exec(text);
  if (match === null) throw new Failure(`--pid '${text}': must be NAME=PID`, ExitCode.USAGE);
  return [match[1]!, Number(match[2])];
}
