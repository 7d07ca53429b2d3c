// npm run test:crash: many rounds of load and death on one data directory. Ends with exit code 1 when a promise was broken.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Campaign } from './campaign.ts';

const help = `usage: npm run test:crash -- [options]
  --rounds N   rounds (default 200)
  --seed N     plays the plan of an earlier run again; what the machine does meanwhile stays its own
  --keep       leaves the data directory where it is`;

const ROUNDS_PER_LINE = 5;

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      rounds: { type: 'string', default: '200' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (flags.help) {
    console.log(help);
    return;
  }
  const seed = Number(flags.seed);
  const rounds = Number(flags.rounds);
  const folder = mkdtempSync(join(tmpdir(), 'lethe-crash-'));
  console.log(`${rounds} rounds, seed ${seed}, data directory ${folder}`);
  const startedMs = performance.now();
  const seconds = () => `${Math.round((performance.now() - startedMs) / 1_000)} s`;
  const said = (campaign: Campaign): string => {
    const { published, delivered, redelivered } = campaign.ledger;
    return `${published} published, ${delivered} delivered, ${redelivered} of them again, ${campaign.outstanding} waited for`;
  };
  const campaign = new Campaign({
    folder,
    seed,
    rounds,
    onRound(now) {
      if (now.round % ROUNDS_PER_LINE !== 0) return;
      console.log(`round ${now.round} of ${rounds} after ${seconds()}: ${said(now)}; start ${Math.round(now.bootMs)} ms`);
    },
  });
  const violations = await campaign.run();
  if (violations.length > 0) {
    console.log(
      `${violations.join('\n')}\nagain: npm run test:crash -- --seed ${seed} --rounds ${rounds}; data directory ${folder}`,
    );
    process.exitCode = 1;
    return;
  }
  console.log(
    `every promise was kept in ${rounds} rounds, ${seconds()}: ${said(campaign)}; ${campaign.compactions} compactions were cut off`,
  );
  if (!flags.keep) rmSync(folder, { recursive: true });
}

await main();
