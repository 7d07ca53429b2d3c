// Threads that subscribe, unsubscribe, change and match in one trie at the same time. At each pause the whole memory is looked through,
// and what each of them finds is compared with what all of them hold. LETHE_RUNS makes it longer, LETHE_SEED draws it again.
import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { SubscriptionTrie, type TrieOptions } from '../../engine/topics/trie.ts';
import { SeededRandom } from '../seeded-random.ts';
import { takeStock } from './census.ts';
import { naiveMatch } from './naive.ts';
import { type Found, isShared, type Own, plainFilter, type Report, type StressJob } from './trie-worker.ts';

const RUNS = Number(process.env['LETHE_RUNS'] ?? 1);
const THREADS = 3;

interface Story {
  readonly name: string;
  readonly options: TrieOptions;
  readonly levels: readonly string[];
  readonly depthMax: number;
  readonly filters: number;
  readonly groups: readonly string[];
  readonly operations: number;
  readonly rounds: number;
  readonly ownMax: number;
  readonly turnMax: number;
  readonly isRefused: boolean;
}

const LONG = 'a level of forty bytes, which takes a cell';
const VERY_LONG = 'x'.repeat(300);

const stories: readonly Story[] = [
  {
    name: 'a few filters that all want',
    options: { nodesMax: 512, subscriptionsMax: 512 },
    levels: ['a', LONG],
    depthMax: 2,
    filters: 12,
    groups: ['g', 'a group with a name of forty bytes, about'],
    operations: 30_000,
    rounds: 12,
    ownMax: 30,
    turnMax: 4,
    isRefused: false,
  },
  {
    name: 'many filters, deep and long',
    options: { nodesMax: 8_192, subscriptionsMax: 8_192 },
    levels: ['', 'a', 'b', '$x', LONG, VERY_LONG],
    depthMax: 6,
    filters: 400,
    groups: ['g', 'h', LONG],
    operations: 20_000,
    rounds: 8,
    ownMax: 200,
    turnMax: 30,
    isRefused: false,
  },
  {
    name: 'one filter and long lists',
    options: { nodesMax: 64, subscriptionsMax: 64 },
    levels: ['a'],
    depthMax: 1,
    filters: 6,
    groups: ['g', 'h', 'i', 'j'],
    operations: 30_000,
    rounds: 8,
    ownMax: 20,
    turnMax: 2,
    isRefused: false,
  },
  {
    name: 'a reserve that runs full',
    options: { nodesMax: 40, subscriptionsMax: 48, levelBytesMax: 1_024 },
    levels: ['a', 'b', LONG, VERY_LONG],
    depthMax: 4,
    filters: 100,
    groups: ['g', LONG],
    operations: 30_000,
    rounds: 12,
    ownMax: 40,
    turnMax: 4,
    isRefused: true,
  },
];

describe('threads that change one trie', () => {
  for (const story of stories) {
    test(story.name, { timeout: 120_000 * RUNS }, async () => {
      const seed = Number(process.env['LETHE_SEED'] ?? Math.floor(performance.timeOrigin) % 1_000_000_007);
      const again = `LETHE_SEED=${seed} npx vitest run --config test/vitest.config.ts test/topics/trie-stress.test.ts`;
      await tell(story, seed).catch((error: unknown) => {
        throw new Error(`${String(error)}\n\nThe same choices again (not the same order of threads): ${again}`, { cause: error });
      });
    });
  }
});

async function tell(story: Story, seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const filters = drawFilters(story, random);
  const topics = drawTopics(story, random);
  const trie = new SubscriptionTrie({ ...story.options, seed, participantsMax: THREADS });
  const { memory } = trie;
  const rounds = story.rounds * RUNS;
  const { operations, ownMax, turnMax } = story;
  const crew = Array.from(
    { length: THREADS },
    (_, participant) => new Member({ memory, participant, seed, operations, rounds, filters, topics, ownMax, turnMax }),
  );
  try {
    for (let round = 0; round < rounds; round++) {
      const resting = await together(crew);
      const own = resting.flatMap((report) => report.own);
      expect(takeStock(memory).subscriptions).toBe(own.length);
      for (const member of crew) member.goOn();
      for (const [at, topic] of topics.entries()) {
        const expected = expectedOf(own, filters, topic);
        for (const { found } of await together(crew)) expect({ topic, ...found[at]! }).toEqual({ topic, ...expected });
      }
      takeStock(memory);
      for (const member of crew) member.goOn();
    }
    const last = await together(crew);
    // A thread that the machine has put aside keeps what the others remove from being used again: the other stories may be refused, too.
    if (story.isRefused) expect(last.some((report) => report.refused > 0)).toBe(true);
    for (const member of crew) member.goOn();
    await together(crew);
    expect(takeStock(memory)).toEqual({ nodes: 0, subscriptions: 0, waiting: 0 });
    expect([trie.nodes, trie.subscriptions, trie.levelBytes]).toEqual([0, 0, 0]);
    for (const member of crew) member.goOn();
  } finally {
    await Promise.all(crew.map((member) => member.end()));
  }
}

/** A thread as the test sees it. */
class Member {
  readonly #worker: Worker;
  #report: Promise<Report>;

  constructor(job: StressJob) {
    this.#worker = new Worker(new URL('../../dist/test/topics/trie-worker.js', import.meta.url), { workerData: job });
    this.#report = this.#next();
  }

  /** What it tells at the pause that it has come to, or comes to next. */
  get report(): Promise<Report> {
    return this.#report;
  }

  goOn(): void {
    this.#report = this.#next();
    this.#report.catch(() => {}); // told to whoever asks next
    this.#worker.postMessage('go on');
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #next(): Promise<Report> {
    return new Promise((resolve, reject) => {
      this.#worker.removeAllListeners();
      this.#worker.once('message', resolve);
      this.#worker.once('error', reject);
      this.#worker.once('exit', () => reject(new Error('a thread has ended')));
    });
  }
}

function together(crew: readonly Member[]): Promise<Report[]> {
  return Promise.all(crew.map((member) => member.report));
}

function expectedOf(own: readonly Own[], filters: readonly string[], topic: string): Found {
  const rows: string[] = [];
  const groups = new Map<string, string[]>();
  for (const [index, subscriber, options] of own) {
    const filter = filters[index]!;
    if (!naiveMatch(plainFilter(filter), topic)) continue;
    const row = `${index} ${subscriber} ${options}`;
    if (!isShared(filter)) rows.push(row);
    else groups.set(filter, [...(groups.get(filter) ?? []), row]);
  }
  return { rows: rows.sort(), groups: Array.from(groups.values(), (members) => members.sort().join()).sort() };
}

function drawFilters(story: Story, random: SeededRandom): string[] {
  const filters = new Set<string>();
  for (let tries = 0; filters.size < story.filters && tries < story.filters * 20; tries++) {
    const parts = Array.from({ length: 1 + random.below(story.depthMax) }, () =>
      random.below(4) === 0 ? '+' : story.levels[random.below(story.levels.length)]!,
    );
    if (random.below(4) === 0) parts[parts.length - 1] = '#';
    const filter = parts.join('/') || '+';
    const group = story.groups[random.below(story.groups.length * 3)];
    filters.add(group === undefined ? filter : `$share/${group}/${filter}`);
  }
  return [...filters];
}

function drawTopics(story: Story, random: SeededRandom): string[] {
  return Array.from(
    { length: 40 },
    () =>
      Array.from({ length: 1 + random.below(story.depthMax) }, () => story.levels[random.below(story.levels.length)]!).join(
        '/',
      ) || 'a',
  );
}
