// npm run bench:edge: what an edge box pays for a broker that does nothing yet - the file, the start, the memory - for the one-file program, for the same program from npm, and for
// Mosquitto beside them in the same run. A start ends when both ports take connections. Memory is taken after a rest. What of it lies in files is shared with whoever else
// has them open and goes when memory is short; how much of it the kernel maps depends on how the file came into its cache, so that each file is put out of it first.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { runProgram } from './choice.ts';
import { builtFile } from './contestants/built-file.ts';
import type { Contestant } from './contestants/contestant.ts';
import { LETHE_MAIN, lethe, oneFile } from './contestants/lethe.ts';
import { mosquitto } from './contestants/mosquitto.ts';
import { freePorts } from './contestants/pinned-process.ts';
import { median } from './median.ts';
import { describeMachine, thisMachine } from './result/machine.ts';

const MEBIBYTE = 1_048_576;
const KIBIBYTE = 1_024;
const NANOSECONDS_PER_MS = 1e6;
const REST_MS = 2_000;

const help = `usage: npm run bench:edge -- [options]
  --rounds N   starts of each, in turn, each after one that is not counted (default 15)`;

interface Subject {
  readonly name: string;
  readonly contestant: Contestant;
  /** What is installed for it, without the system's libraries. */
  readonly file: string;
  /** What besides. */
  readonly besides?: string;
}

interface Figures {
  readonly startMs: number;
  readonly cpuMs: number;
  readonly ownBytes: number;
  readonly shareBytes: number;
  readonly residentBytes: number;
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: { rounds: { type: 'string', default: '15' }, help: { type: 'boolean', default: false } },
  });
  if (flags.help) {
    console.log(help);
    return;
  }
  const subjects = lineUp();
  const measured = new Map<Subject, Figures[]>(subjects.map((subject) => [subject, []]));
  for (let round = 0; round < Number(flags.rounds); round++) {
    for (const subject of subjects) measured.get(subject)!.push(await measure(subject));
  }
  console.log(`${describeMachine(thisMachine())}\n`);
  console.log('| broker | file | start | computing until then | memory of its own | proportional (PSS) | resident (RSS) |');
  console.log('|---|---|---|---|---|---|---|');
  for (const [{ name, file, besides = '' }, figures] of measured) {
    const middle = (of: (one: Figures) => number): number => median(figures.map(of));
    const cells = [
      name,
      `${mebibytes(statSync(file).size)}${besides}`,
      `${middle(({ startMs }) => startMs).toFixed(0)} ms`,
      `${middle(({ cpuMs }) => cpuMs).toFixed(0)} ms`,
      ...(['ownBytes', 'shareBytes', 'residentBytes'] as const).map((key) => mebibytes(middle((one) => one[key]))),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / MEBIBYTE).toFixed(1)} MiB`;
}

function lineUp(): readonly Subject[] {
  const node = `Node ${process.versions.node.split('.')[0]}`;
  const subjects: Subject[] = [
    {
      name: `lethe from npm, ${node}`,
      contestant: lethe(LETHE_MAIN, 'lethe from npm'),
      file: process.execPath,
      besides: `, and ${(packagesBytes() / MEBIBYTE).toFixed(0)} MiB of packages`,
    },
  ];
  const file = builtFile(`lethe-${process.platform}-${process.arch}`);
  if (existsSync(file)) subjects.unshift({ name: 'lethe, one file', contestant: oneFile(file, 'lethe, one file'), file });
  else console.log(`there is no ${file}: npm run bundle makes it\n`);
  const other = mosquitto();
  if (other !== null)
    subjects.push({
      name: other.version.replace('mosquitto version', 'Mosquitto'),
      contestant: other,
      file: '/usr/sbin/mosquitto',
    });
  return subjects;
}

/** Of what `npm ci --omit=dev` installs. */
function packagesBytes(): number {
  const root = new URL(import.meta.url.endsWith('.ts') ? '../' : '../../', import.meta.url).pathname;
  const lock = JSON.parse(readFileSync(`${root}node_modules/.package-lock.json`, 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>;
  };
  const paths = Object.entries(lock.packages)
    .filter(([, { dev = false }]) => !dev)
    .map(([path]) => root + path);
  const sizes = execFileSync('du', ['--apparent-size', '--block-size=1', '--total', '--summarize', ...paths], {
    encoding: 'utf8',
  });
  return Number(/^(\d+)\ttotal$/m.exec(sizes)![1]);
}

async function measure({ contestant, file }: Subject): Promise<Figures> {
  execFileSync('sync', [file]);
  execFileSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none']);
  // Its pages are there again, as on a machine on which it was started before.
  await (await contestant.start({ cores: null })).stop();
  const ports = await freePorts();
  const startedMs = performance.now();
  const broker = await contestant.start({ cores: null, ports });
  const startMs = performance.now() - startedMs;
  try {
    const proc = `/proc/${broker.pid}`;
    const cpuMs = Number(readFileSync(`${proc}/schedstat`, 'latin1').split(' ')[0]) / NANOSECONDS_PER_MS;
    await sleep(REST_MS);
    const rollup = readFileSync(`${proc}/smaps_rollup`, 'latin1');
    const bytes = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(rollup)![1]) * KIBIBYTE;
    return { startMs, cpuMs, ownBytes: bytes('Private_Dirty'), shareBytes: bytes('Pss'), residentBytes: bytes('Rss') };
  } finally {
    await broker.stop();
  }
}

await runProgram(main);
