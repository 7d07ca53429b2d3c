// Connections that do nothing: what each costs the broker in memory.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Failure } from '../../engine/cli/failure.ts';
import { localPlan } from '../plan/local-plan.ts';
import { Course } from '../plan/plan.ts';
import { showCount } from '../plan/quantity.ts';
import { processCost } from '../process-cost.ts';
import { settleAccounts } from '../result/accounts.ts';
import { run } from '../run.ts';
import type { Aim, Cell } from './cell.ts';
import { showKilobytes } from './show.ts';

const CONNECTIONS = 20_000;
/** Files that the load, or the broker, has open for something else. */
const OTHER_FILES = 500;
/** Time in which a broker may tidy up before its memory is taken. */
const SETTLE_S = 2;
/** Each of Linux's loopback addresses has some 28,000 ports to connect from; those of a run before may not be free again. */
const FROM = process.platform === 'linux' ? ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5'] : [];

export function idleCell(transport: 'tcp' | 'ws', aim: Aim): Cell {
  return {
    key: transport === 'tcp' ? 'idle' : 'idle-ws',
    group: 'At rest',
    // Not before it is asked for: the bound may have been lifted by then.
    get title() {
      return `${showCount(connectionsMax())} idle connections, ${transport}`;
    },
    figures: [{ key: 'bytes', title: 'memory each', better: 'less', show: showKilobytes, aims: [aim] }],
    roundsMax: 1,
    limitS: 120,
    async measure(stand) {
      const broker = await stand.start();
      const place = broker.places[transport];
      if (place === undefined) throw new Failure(`is not there over ${transport}`);
      const { pid } = broker;
      const memory = (): number => (pid === null ? 0 : (processCost(pid)?.residentBytes ?? 0));
      await sleep(SETTLE_S * 1_000);
      const before = memory();
      if (before === 0) throw new Failure('its memory is not known');
      const connections = connectionsMax();
      let held = 0;
      const outcome = await run(
        localPlan({
          broker: { transport, ...place },
          clients: { localAddresses: place.host === '127.0.0.1' ? FROM : [] },
          course: Course.CONNECTIONS,
          publishers: [],
          subscribers: [],
          idle: connections,
          durationS: SETTLE_S,
        }),
        {
          giveUp: stand.giveUp,
          stage: (name, edge) => {
            if (name === 'hold' && edge === 'end') held = memory();
          },
        },
      );
      const ended = broker.ended();
      if (ended !== null) throw new Failure(ended);
      const { failed, connectionsLost, troubles } = settleAccounts(outcome);
      if (failed + connectionsLost > 0) {
        const [trouble = 'no reason is known'] = Object.keys(troubles);
        throw new Failure(`keeps ${connections - failed - connectionsLost} of ${connections} connections: ${trouble}`);
      }
      return {
        figures: { bytes: (held - before) / connections },
        cpuPerMillionS: null,
        residentBytes: held,
        wrongs: {},
        bound: null,
      };
    },
  };
}

/** Lifts this process's bound on open files, and with it that of the brokers which it starts, where the system lets it. */
export function liftOpenFiles(): void {
  const wanted = CONNECTIONS + OTHER_FILES;
  if (openFilesMax() >= wanted) return;
  try {
    execFileSync('prlimit', [`--pid=${process.pid}`, `--nofile=${wanted}:${wanted}`], { stdio: 'ignore' });
  } catch {
    // Fewer connections then; the cell says how many.
  }
}

function connectionsMax(): number {
  return Math.min(CONNECTIONS, openFilesMax() - OTHER_FILES);
}

function openFilesMax(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'latin1');
    return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? CONNECTIONS);
  } catch {
    return CONNECTIONS;
  }
}
