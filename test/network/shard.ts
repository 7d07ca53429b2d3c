// One shard of the tests: listeners of every kind on given ports, whose links answer each chunk with who they are. Runs in the
// thread of the test as shard 0 and in workers (shard-worker.ts) as the others.
import { systemClock } from '../../engine/clock.ts';
import type { Accept, Link, LinkSink, Listener } from '../../engine/link.ts';
import type { ShardPlace } from '../../engine/network/bind.ts';
import { type HandOut, type HandOutEnd, joinHandOut } from '../../engine/network/hand-out.ts';
import { listenTcp } from '../../engine/network/tcp.ts';
import { listenWebSocket } from '../../engine/network/websocket.ts';
import { until } from './temporary.ts';

export type Kind = 'tcp' | 'tls' | 'proxy' | 'ws' | 'wss';

export interface ShardJob {
  readonly index: number;
  readonly count: number;
  readonly end: HandOutEnd | null;
  /** By kind, which is also the listener's name; 0 for a free port in shard 0. */
  readonly ports: Readonly<Partial<Record<Kind, number>>>;
  readonly certFile: string;
  readonly keyFile: string;
  readonly ticketKeys: Uint8Array;
}

/** What the test tells a worker, which answers with `ShardReport` when it is done. */
export type ShardCommand = 'closeListeners' | 'stop';

export interface ShardReport {
  readonly done: 'open' | ShardCommand;
  /** Links that were accepted. */
  readonly accepted: number;
}

const HOST = '127.0.0.1';

export class TestShard {
  readonly listeners: Listener[] = [];
  readonly ports: Partial<Record<Kind, number>> = {};
  readonly #links = new Set<Link>();
  readonly #handOut: HandOut | null;
  accepted = 0;

  private constructor(handOut: HandOut | null) {
    this.#handOut = handOut;
  }

  /** A worker's: joins the hand-out, if there is one, then listens. */
  static async join(job: ShardJob): Promise<TestShard> {
    return TestShard.open(job, job.end === null ? null : await joinHandOut(job.end));
  }

  static async open(job: ShardJob, handOut: HandOut | null): Promise<TestShard> {
    const shard = new TestShard(handOut);
    const shards: ShardPlace = { index: job.index, count: job.count, handOut };
    const accept: Accept = (link) => shard.#accept(link, job.index);
    try {
      for (const [kind, port] of Object.entries(job.ports) as [Kind, number][]) {
        const listener = await listen(kind, port, shards, job, accept);
        shard.listeners.push(listener);
        shard.ports[kind] = listener.port;
      }
    } catch (error) {
      await shard.stop();
      throw error;
    }
    return shard;
  }

  get links(): number {
    return this.#links.size;
  }

  async closeListeners(): Promise<void> {
    await Promise.all(this.listeners.map((listener) => listener.close()));
  }

  /** In the order in which the broker stops; nothing keeps the thread alive afterwards. */
  async stop(): Promise<void> {
    await this.closeListeners();
    for (const link of this.#links) link.destroy();
    await until('every link is closed', () => this.#links.size === 0);
    for (const listener of this.listeners) listener.destroy();
    await this.#handOut?.close();
  }

  #accept(link: Link, index: number): LinkSink {
    this.accepted++;
    this.#links.add(link);
    const { address, port } = link.peer;
    return {
      linkBytes: (chunk, from, to) => {
        const said = Buffer.from(chunk.subarray(from, to)).toString();
        const answer = Buffer.from(`${index} ${address} ${port} ${said}`);
        link.write(answer, 0, answer.length);
        link.flush();
      },
      linkReturned() {},
      linkDrained() {},
      linkClosed: () => void this.#links.delete(link),
    };
  }
}

function listen(kind: Kind, port: number, shards: ShardPlace, job: ShardJob, accept: Accept): Promise<Listener> {
  const { certFile, keyFile, ticketKeys } = job;
  const base = { name: kind, host: HOST, port, shards, accept, clock: systemClock, endTimeoutMs: 5_000 };
  // A burst is no attack here.
  const handshakes = { perSecondMax: 0, pendingMax: 0 };
  const tls = { certFile, keyFile, minVersion: 'TLSv1.2' as const, clientCertificate: 'none' as const };
  switch (kind) {
    case 'tcp':
      return listenTcp({ ...base, backlog: 4_096 });
    case 'tls':
      return listenTcp({ ...base, tls, handshakes, ticketKeys });
    case 'proxy':
      return listenTcp({ ...base, handshakes, proxyProtocol: { trusted: [HOST], timeoutMs: 10_000 } });
    case 'ws':
      return listenWebSocket({ ...base, handshakes, origins: null, payloadBytesMax: 65_536 });
    case 'wss':
      return listenWebSocket({ ...base, tls, handshakes, origins: null, payloadBytesMax: 65_536 });
  }
}
