// The end of a campaign: a broker in this process gives everybody what they are owed, and then nothing is left, neither in its books nor in
// its files.
import { Figure } from '../../storage/figures.ts';
import { ONE_SHARD, type RunningBroker, shards, startBroker } from '../broker.ts';
import type { Cast } from './cast.ts';
import type { Ledger } from './ledger.ts';
import { remainsOf } from './remains.ts';
import { Manner } from './subscriber.ts';

/** Time for what takes a moment: the erasure, above all. */
const COUNT_MS_MAX = 10_000;
const COUNT_POLL_MS = 5;

export class Aftermath {
  readonly #folder: string;
  readonly #cast: Cast;
  readonly #ledger: Ledger;

  constructor(folder: string, cast: Cast, ledger: Ledger) {
    this.#folder = folder;
    this.#cast = cast;
    this.#ledger = ledger;
  }

  async judge(): Promise<void> {
    const set = [`server.data_dir=${this.#folder}`, 'spool.erase_within_ms=100', 'server.sys_interval_s=0'];
    const broker = await startBroker(set);
    await this.#judgeRetained(broker);
    const { subscribers } = this.#cast;
    await Promise.all(subscribers.map((subscriber) => subscriber.connect(broker.tcp, Manner.PROMPT)));
    await Promise.all(subscribers.map((subscriber) => subscriber.drain()));
    this.#ledger.judgeEnd();
    await this.#judgeBooks(broker);
    if (shards === 1) await this.#judgeKeys(broker);
    this.#cast.cutAll();
    await broker.stop();
    if (shards > 1) await this.#endTransfers(set);
    this.#judgeFiles();
  }

  /** The publishers come to their end; every notice is as it was left, and can be cleared. */
  async #judgeRetained(broker: RunningBroker): Promise<void> {
    const { sources, notices } = this.#cast;
    for (const { sender } of sources) await sender.peer.connect(broker.tcp);
    await Promise.all(sources.map(({ sender }) => sender.untilIdle()));
    await notices.look(broker.tcp);
    await this.#compare('retained messages', notices.kept, async () => (await broker.inventory()).retained.count);
    notices.clearAll();
    await notices.sender.untilIdle();
  }

  async #judgeBooks(broker: RunningBroker): Promise<void> {
    const held = broker.inventory;
    await this.#compare('queued deliveries', 0, async () => (await held()).queued.deliveries);
    await this.#compare('bytes of queued deliveries', 0, async () => (await held()).queued.bytes);
    await this.#compare('deliveries in flight', 0, async () => (await held()).inFlight.deliveries);
    await this.#compare('messages', 0, async () => (await held()).messages.count);
    await this.#compare('bytes of messages', 0, async () => (await held()).messages.bytes);
    await this.#compare('retained messages', 0, async () => (await held()).retained.count);
    await this.#compare('bytes of retained messages', 0, async () => (await held()).retained.bytes);
    await this.#compare('damaged values', 0, async () => (await held()).quarantined.count);
    await this.#compare('sessions', this.#sessions, async () => (await held()).sessions.count);
  }

  /** One key for each session and subscription; every other key is destroyed. */
  async #judgeKeys(broker: RunningBroker): Promise<void> {
    const { figures } = broker.spool!;
    const keysInUse = async () => figures.get(Figure.KEY_SLOTS) - figures.get(Figure.KEY_SLOTS_FREE);
    await this.#compare('keys in use', this.#sessions + this.#subscriptions, keysInUse);
  }

  /** Several shards keep sessions of their own in the store, for what is on its way between them; a start lets go of them. */
  async #endTransfers(set: readonly string[]): Promise<void> {
    const broker = await startBroker([ONE_SHARD, ...set]);
    await this.#judgeKeys(broker);
    await broker.stop();
  }

  #judgeFiles(): void {
    const { rows, keysInUse } = remainsOf(this.#folder);
    const { META: _, ...held } = rows;
    const expected = { STATE: this.#sessions, SESSION: this.#sessions, SUBSCRIPTION: this.#subscriptions };
    if (JSON.stringify(held) !== JSON.stringify(expected)) {
      this.#ledger.violation(`the spool has the rows ${JSON.stringify(held)} instead of ${JSON.stringify(expected)}`);
    }
    if (keysInUse !== this.#sessions + this.#subscriptions) this.#ledger.violation(`${keysInUse} values have a key of their own`);
  }

  get #sessions(): number {
    return this.#cast.subscribers.length + this.#cast.sources.length;
  }

  get #subscriptions(): number {
    const { subscribers } = this.#cast;
    return subscribers.reduce((sum, { plan }) => sum + (plan.shared === null ? 0 : 1) + (plan.hasOwn ? 1 : 0), 0);
  }

  /** Waits until a count is what it must become. */
  async #compare(what: string, expected: number, count: () => Promise<number>): Promise<void> {
    const startedMs = performance.now();
    let found = await count();
    while (found !== expected && performance.now() - startedMs < COUNT_MS_MAX) {
      await new Promise((resolve) => setTimeout(resolve, COUNT_POLL_MS));
      found = await count();
    }
    if (found !== expected) this.#ledger.violation(`the broker counts ${found} ${what} instead of ${expected}`);
  }
}
