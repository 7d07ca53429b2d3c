// npm run bench:peers: Lethe beside Mosquitto, NATS, aedes and any broker by address, in every cell of the speed issue.
//
// The broker has core 0 to itself and the load core 1. What is measured and why so stands in peers/cells.ts, how in peers/contest.ts.
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { runProgram } from './choice.ts';
import { type Certificate, makeCertificate } from './contestants/certificate.ts';
import { canPin, pinSelf } from './contestants/pinned-process.ts';
import { cells } from './peers/cells.ts';
import { contest } from './peers/contest.ts';
import { withSection } from './peers/document.ts';
import { type Flags, helpFor, parseFlags } from './peers/flags.ts';
import { liftOpenFiles } from './peers/idle.ts';
import { lineUp } from './peers/lineup.ts';
import { powersHere } from './peers/packages.ts';
import { renderPlot } from './peers/plot.ts';
import { Progress } from './peers/progress.ts';
import { renderSection } from './peers/section.ts';
import { thisMachine } from './result/machine.ts';

const BROKER_CORE = 0;
const LOAD_CORE = 1;
/** From dist/bench. */
const DOCS = new URL('../../docs/', import.meta.url);

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  const flags = parseFlags(args, cells);
  if (flags === null) {
    console.log(helpFor(cells));
    return;
  }
  await compare(flags, args);
}

async function compare(flags: Flags, args: readonly string[]): Promise<void> {
  const startedAt = new Date();
  const machine = thisMachine();
  const contenders = lineUp(flags, powersHere(flags.mayInstall), (line) => process.stderr.write(`${line}\n`));
  liftOpenFiles();
  const isPinned = availableParallelism() > 1 && canPin();
  if (isPinned) pinSelf(LOAD_CORE);
  let certificate: Certificate | null = null;
  const conditions = {
    rounds: flags.rounds,
    times: flags.times,
    cores: isPinned ? String(BROKER_CORE) : null,
    certificate: () => {
      certificate ??= makeCertificate();
      return certificate;
    },
  };
  const progress = new Progress(process.stderr, (line) => console.log(line), flags.cells, {
    rounds: flags.rounds,
    names: contenders.length,
    sampleS: flags.times.warmUpS + flags.times.measureS,
  });
  const results = await contest(flags.cells, contenders, conditions, progress);

  const brokers = contenders.map(({ contestant }) => ({ name: contestant.name, version: contestant.version }));
  const command = ['npm run bench:peers', ...(args.length > 0 ? ['--', ...args] : [])].join(' ');
  const { rounds, times } = flags;
  const loadAverageAfter = thisMachine().loadAverage;
  const facts = { startedAt: startedAt.toISOString(), command, machine, loadAverageAfter, isPinned, rounds, times, brokers };
  const section = renderSection(facts, results);
  console.log(`\n${section}`);
  const plot = renderPlot(results);
  if (flags.json !== null)
    writeFileSync(flags.json, `${JSON.stringify({ format: 'lethe-peers/1', ...facts, results }, null, 1)}\n`);
  if (!flags.write) return;
  const document = new URL('PERFORMANCE.md', DOCS);
  writeFileSync(document, withSection(readFileSync(document, 'utf8'), section));
  if (plot !== null) writeFileSync(new URL('peers.svg', DOCS), plot);
}

await runProgram(main);
