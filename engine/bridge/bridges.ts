// The bridges of a broker, in its first shard: their sessions before it listens, their links afterwards, and the end of sessions whose bridge is configured no more.
import type { BridgeFigures } from '../administration/bridge-figures.ts';
import { isPlainBridge } from '../config/bridges.ts';
import type { Config } from '../config/load.ts';
import { endSession } from '../routing/lifecycle.ts';
import type { Shard } from '../routing/shard.ts';
import { Bridge } from './bridge.ts';
import { LoopTag } from './loop-tag.ts';

/** Characters of the broker's own name in messages: 80 bits. */
const TAG_CHARACTERS = 16;

export class Bridges {
  readonly #bridges: readonly Bridge[];

  /**
   * @param pseudonym of a client identifier: of one that no client can have it names this broker where messages pass, the same after a restart
   */
  constructor(shard: Shard, config: Config, pseudonym: (clientId: string) => string) {
    const tag = new LoopTag(pseudonym('$bridge/').slice(0, TAG_CHARACTERS));
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
    for (const { local } of this.#bridges) await local.prepare();
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
