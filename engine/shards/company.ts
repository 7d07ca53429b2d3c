// The first shard of several, and what it makes for the others before they start: the memory that all share, and the hand-out of connections.
import type { ShardPlace } from '../network/bind.ts';
import { type HandOutGiver, needsHandOut, openHandOut } from '../network/hand-out.ts';
import { allocateFabric } from '../peers/fabric.ts';
import { Peers } from '../peers/peers.ts';
import { FenceWay, raiseFence } from '../routing/fence.ts';
import { tellAllRetained } from '../routing/retain.ts';
import type { RunningSpool } from '../spool/open.ts';
import { Crew } from './crew.ts';
import { Host, type HostParts } from './host.ts';

export interface Company {
  /** The first shard; it does not listen yet. */
  readonly host: Host;
  readonly place: ShardPlace;
  readonly handOut: HandOutGiver | null;
  /** Starts the threads of the others, once what a store remembers is in the first shard. @throws Error in one line */
  hire(keptTime: SharedArrayBuffer): Promise<Crew>;
  /** Resolves when what the shards had to say to each other has arrived. */
  settle(): Promise<void>;
}

/** @param gate module that exports the parts of a Gate; empty for none */
export async function gather(parts: HostParts, spool: RunningSpool | null, gate: string): Promise<Company> {
  const { config, clock, log } = parts;
  const { threads } = config.server;
  const fabric = allocateFabric(threads, config.limits.sessionsMax, config.limits.connectionsMax);
  const peers = new Peers(fabric, 0, clock);
  const host = new Host({ ...parts, peers });
  const { shard } = host;
  const handOut = needsHandOut() ? await openHandOut(threads) : null;
  const settle = () => new Promise<void>((resolve) => raiseFence(shard, FenceWay.DIRECT, resolve));
  return {
    host,
    place: { index: 0, count: threads, handOut },
    handOut,
    async hire(keptTime) {
      host.join();
      const ends = spool?.ends ?? [];
      const judgesAll = shard.rights !== null;
      const crew = await Crew.start({
        config,
        fabric,
        trie: shard.trie.memory,
        gate,
        judgesAll,
        log,
        clock,
        keptTime,
        ends,
        handOut,
      });
      await Promise.race([tellAllRetained(shard), crew.died]);
      await Promise.race([settle(), crew.died]);
      return crew;
    },
    settle,
  };
}
