// The thread of a shard other than the first: joins what is shared, opens the same listeners, and works until it is told to end. It ends by itself once nothing keeps its event
// loop alive: ended from outside while uWebSockets has a socket open, the process would abort.
import { workerData } from 'node:worker_threads';
import { MemoryStore } from '../../storage/memory.ts';
import { answerQuestion } from '../administration/questions.ts';
import { clockWith } from '../clock.ts';
import type { Config } from '../config/load.ts';
import type { Log, LogLevel } from '../log.ts';
import { BindError } from '../network/bind.ts';
import { joinHandOut } from '../network/hand-out.ts';
import { Peers } from '../peers/peers.ts';
import { systemRandom } from '../random.ts';
import { joinSpool } from '../spool/join.ts';
import type { Errand, ShardThreadData, Word } from './errand.ts';
import { loadGate, loadSecurity } from './gatekeeper.ts';
import { Host } from './host.ts';

const data = workerData as ShardThreadData;
const { port, config, index } = data;
const clock = clockWith(data.keptTime);

function say(word: Word): void {
  port.postMessage(word);
}

const at =
  (level: LogLevel) =>
  (message: string, fields?: Readonly<Record<string, number | string>>): void =>
    say({ kind: 'log', level, message, fields });
const log: Log = { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') };

async function run(): Promise<void> {
  const peers = new Peers(data.fabric, index, clock);
  const store = data.spool === null ? new MemoryStore(config.spool.maxRetentionS * 1_000) : joinSpool(data.spool);
  const handOut = data.handOut === null ? null : await joinHandOut(data.handOut);
  // Warnings about the files are the first shard's to give.
  const quiet = { ...log, warn: () => {} };
  const gate = data.gate === '' ? {} : await loadGate(data.gate);
  const time = { clock, random: systemRandom };
  const security = { ...time, kept: { last: null } };
  const keeperOf = (of: Config) => loadSecurity(of, quiet, security, gate);
  const seams = { config, ...time, log, store, keeperOf };
  const host = new Host({ ...seams, ...(await keeperOf(config)), peers, trie: data.trie });
  if (data.judgesAll) host.shard.judgeAll();
  host.join();

  const errands: Record<Errand['kind'], (errand: never) => Promise<void>> = {
    async open({ ports, firstStored }: Extract<Errand, { kind: 'open' }>) {
      host.shard.nextStored = firstStored;
      await host.open({ index, count: peers.count, handOut }, ports);
      say({ kind: 'opened' });
    },
    async end() {
      await host.endConnections();
      say({ kind: 'ended' });
    },
    async abandon() {
      host.abandon();
      const abandoned = new Int32Array(data.abandoned);
      Atomics.add(abandoned, 0, 1);
      Atomics.notify(abandoned, 0);
      say({ kind: 'abandoned' });
    },
    async close() {
      host.close();
      await handOut?.close();
      await store.close();
      say({ kind: 'closed' });
      port.close();
    },
    async ask({ number, question }: Extract<Errand, { kind: 'ask' }>) {
      try {
        say({ kind: 'answer', number, answer: await answerQuestion(host.shard, question, host) });
      } catch (error) {
        say({ kind: 'unanswered', number, message: error instanceof Error ? error.message : String(error) });
      }
    },
  };
  port.on('message', (errand: Errand) => {
    errands[errand.kind](errand as never).catch(fail);
  });
  say({ kind: 'joined' });
}

function fail(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  say({ kind: 'failed', message, isBinding: error instanceof BindError });
}

// What nobody caught leaves the shard in no known state: the process is to end, and says why. The thread must not end before it does.
process.on('uncaughtException', (error) => fail(new Error(`shard ${index} has died: ${error.message}`)));
run().catch(fail);
