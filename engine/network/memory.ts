// A transport without a network: pairs of a link and a peer in one process, for tests and for seeded simulation. What happens,
// and in which order, follows from the calls and the seed alone.
//
// Nothing is delivered inside a call to Link or MemoryPeer. Work is done in rounds: one for each end of turn of the clock while
// there is work, or one for each `step()`. A round visits the connections in the order of their making.
import type { Clock } from '../clock.ts';
import { type Accept, CloseCause, type Listener, type Peer, TransportKind } from '../link.ts';
import type { Random } from '../random.ts';
import { MemoryLink, type MemoryPeer } from './memory-link.ts';

export interface MemoryOptions {
  readonly name?: string;
  readonly clock: Clock;
  /** Who starts a round: the clock's end of turn, or the caller of `step`. */
  readonly drive?: 'turns' | 'steps';
  /** Bytes that a direction holds between the two sides, like a socket buffer. */
  readonly kernelBytes?: number;
  /** Delivers in pieces of a random length of 1 to 64 bytes. Null delivers all that is there. */
  readonly split?: Random | null;
  /** How long `Link.end` waits for the peer to read. */
  readonly endTimeoutMs?: number;
}

export interface MemoryListener extends Listener {
  /** A new connection, as from `peer`. When the listener refuses it, or is closed, it is closed from the start. */
  connect(peer?: Partial<Omit<Peer, 'transport' | 'listener'>>): MemoryPeer;
  /** Does one round; false when there was nothing to do. */
  step(): boolean;
}

const KERNEL_BYTES = 65_536;
const END_TIMEOUT_MS = 5_000;

export function memoryListener(accept: Accept, options: MemoryOptions): MemoryListener {
  const { clock } = options;
  const name = options.name ?? 'memory';
  const links: MemoryLink[] = [];
  let accepting = true;
  let asked = false;

  function step(): boolean {
    let worked = false;
    // A connection that is made meanwhile waits for the next round.
    const count = links.length;
    for (let i = 0; i < count; i++) if (links[i]!.round()) worked = true;
    for (let i = links.length - 1; i >= 0; i--) if (links[i]!.isDone) links.splice(i, 1);
    return worked;
  }

  function ask(): void {
    if (asked || options.drive === 'steps') return;
    asked = true;
    clock.endOfTurn(() => {
      asked = false;
      if (step()) ask();
    });
  }

  return {
    name,
    transport: TransportKind.MEMORY,
    port: 0,
    connect(from = {}) {
      const peer: Peer = {
        transport: TransportKind.MEMORY,
        listener: name,
        address: from.address ?? '127.0.0.1',
        port: from.port ?? 0,
        secure: from.secure ?? false,
        certificate: from.certificate ?? null,
      };
      const link = new MemoryLink(peer, {
        clock,
        kernelBytes: options.kernelBytes ?? KERNEL_BYTES,
        split: options.split ?? null,
        endTimeoutMs: options.endTimeoutMs ?? END_TIMEOUT_MS,
        ask,
      });
      const sink = accepting ? accept(link) : null;
      if (sink === null) link.close(CloseCause.LOCAL);
      else link.attach(sink);
      links.push(link);
      ask();
      return link.client;
    },
    step,
    close() {
      accepting = false;
      return Promise.resolve();
    },
    destroy() {},
  };
}
