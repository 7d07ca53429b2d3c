// The bridges of a broker, in its first shard: their sessions before it listens, their links afterwards, and the end of sessions whose bridge is configured no more.
import type { BridgeFigures } from '../administration/bridge-figures.ts';
import { base32 } from '../administration/pseudonym.ts';
import { isPlainBridge } from '../config/bridges.ts';
import type { Config } from '../config/load.ts';
import { endSession } from '../routing/lifecycle.ts';
import type { Shard } from '../routing/shard.ts';
import { Bridge } from './bridge.ts';
import { LoopTag } from './loop-tag.ts';

/** Of the broker's own name in messages. */
const TAG_BYTES = 10;

export class Bridges {
  readonly #bridges: readonly Bridge[];

  constructor(shard: Shard, config: Config) {
    // Drawn for this run: one that is derived from a key, or kept, could be another broker's too, and then each would take the other's messages for its own.
    const tag = new LoopTag(base32(shard.random.bytes(TAG_BYTES)));
    this.#bridges = config.bridges.map((bridge) => new Bridge(shard, bridge, tag));
    const kept = new Set(this.#bridges.map(({ local }) => local.clientId));
    for (const session of [...shard.sessions])
      if (session.principal.isBroker === true && !kept.has(session.clientId)) endSession(shard, session);
    for (const bridge of config.bridges)
      if (isPlainBridge(bridge))
        shard.log.warn('a bridge is insecure by configuration: what it carries can be read on the way', { bridge: bridge.name });
  }

  /** Makes the sessions what the configuration says: before the first listener opens. @throws Error */
  async prepare(): Promise<void> {
    for (const bridge of this.#bridges) await bridge.prepare();
  }

  start(): void {
    for (const bridge of this.#bridges) bridge.start();
  }

  get figures(): readonly BridgeFigures[] {
    return this.#bridges.map(({ figures }) => figures);
  }

  /** Leaves the remote brokers in order; sessions stay. */
  async stop(): Promise<void> {
    await Promise.all(this.#bridges.map((bridge) => bridge.stop()));
  }

  abandon(): void {
    for (const bridge of this.#bridges) bridge.abandon();
  }
}
