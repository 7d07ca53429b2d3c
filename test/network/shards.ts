// Several shards on the same ports for a test, and clients that say something and hear which shard has them.
import { randomBytes } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Worker } from 'node:worker_threads';
import { WebSocket } from 'ws';
import { type HandOutGiver, openHandOut } from '../../engine/network/hand-out.ts';
import { type Kind, type ShardCommand, type ShardJob, type ShardReport, TestShard } from './shard.ts';
import { until } from './temporary.ts';

const HOST = '127.0.0.1';

/** How TCP connections come to the shards. */
export type Way = 'handOut' | 'reusePort';

/** A shard in another thread. */
export class WorkerShard {
  readonly #worker: Worker;
  readonly #reports: ShardReport[] = [];
  exitCode: number | null = null;
  failure: Error | null = null;

  constructor(job: ShardJob) {
    this.#worker = new Worker(new URL('../../dist/test/network/shard-worker.js', import.meta.url), { workerData: job });
    this.#worker.on('message', (report: ShardReport) => this.#reports.push(report));
    this.#worker.on('error', (error) => {
      this.failure = error as Error;
    });
    this.#worker.on('exit', (code) => {
      this.exitCode = code;
    });
  }

  tell(command: ShardCommand): void {
    this.#worker.postMessage(command);
  }

  async heard(done: ShardReport['done']): Promise<ShardReport> {
    const find = () => this.#reports.find((report) => report.done === done);
    await until(`a shard reports ${done}`, () => find() !== undefined || this.exitCode !== null);
    if (this.failure !== null) throw this.failure;
    return find()!;
  }

  /** Stops in the right order; resolves with the exit code when the thread has ended by itself. */
  async stop(): Promise<number> {
    if (this.exitCode === null) this.tell('stop');
    await until('the thread has ended', () => this.exitCode !== null);
    return this.exitCode!;
  }
}

export class Shards {
  readonly first: TestShard;
  readonly workers: WorkerShard[] = [];
  readonly giver: HandOutGiver | null;
  readonly #job: Omit<ShardJob, 'index' | 'end' | 'ports'>;

  private constructor(first: TestShard, giver: HandOutGiver | null, job: Omit<ShardJob, 'index' | 'end' | 'ports'>) {
    this.first = first;
    this.giver = giver;
    this.#job = job;
  }

  /** Opens shard 0; `addWorkers` opens the rest. */
  static async openFirst(
    way: Way,
    ports: ShardJob['ports'],
    files: { readonly serverCert: string; readonly serverKey: string },
    count = 3,
    choose?: () => number,
  ): Promise<Shards> {
    const giver = way === 'handOut' ? await openHandOut(count, choose) : null;
    const job = { count, certFile: files.serverCert, keyFile: files.serverKey, ticketKeys: randomBytes(48) };
    return new Shards(await TestShard.open({ ...job, index: 0, end: null, ports }, giver), giver, job);
  }

  async addWorkers(): Promise<void> {
    for (let index = 1; index < this.#job.count; index++) {
      this.workers.push(new WorkerShard({ ...this.#job, index, end: this.giver?.end(index) ?? null, ports: this.first.ports }));
    }
    for (const worker of this.workers) await worker.heard('open');
  }

  port(kind: Kind): number {
    return this.first.ports[kind]!;
  }

  /** Stops the shards in this order, each one before the next. */
  async stop(order: readonly number[] = [2, 1, 0]): Promise<void> {
    for (const index of order) {
      if (index === 0) await this.first.stop();
      else await this.workers[index - 1]?.stop();
    }
  }
}

export class Client {
  answer = '';
  isClosed = false;
  readonly localPort: () => number;
  readonly close: () => void;

  private constructor(localPort: () => number, close: () => void) {
    this.localPort = localPort;
    this.close = close;
  }

  /** Connects and says `hello`; `authority` is the certificate that TLS is to trust. */
  static open(kind: Kind, port: number, authority: Buffer): Client {
    if (kind === 'ws' || kind === 'wss') return Client.#overWebSocket(`${kind}://${HOST}:${port}/mqtt`, authority);
    const socket: Socket = kind === 'tls' ? connectTls({ host: HOST, port, ca: authority }) : connectTcp(port, HOST);
    const client = new Client(
      () => socket.localPort!,
      () => socket.destroy(),
    );
    socket.on('error', () => {});
    socket.on('close', () => {
      client.isClosed = true;
    });
    socket.on('data', (chunk) => {
      client.answer += chunk.toString();
    });
    // In one write with the header, so that bytes of both come in one read.
    socket.write(kind === 'proxy' ? 'PROXY TCP4 192.0.2.7 192.0.2.1 4711 1883\r\nhello' : 'hello');
    return client;
  }

  static #overWebSocket(url: string, ca: Buffer): Client {
    const socket = new WebSocket(url, ['mqtt'], { ca });
    const client = new Client(
      () => 0,
      () => socket.terminate(),
    );
    socket.on('error', () => {});
    socket.on('close', () => {
      client.isClosed = true;
    });
    socket.on('open', () => socket.send(Buffer.from('hello')));
    socket.on('message', (data: Buffer) => {
      client.answer += data.toString();
    });
    return client;
  }

  get shard(): number {
    return this.answer === '' ? -1 : Number(this.answer.split(' ')[0]);
  }

  get isSettled(): boolean {
    return this.isClosed || this.answer !== '';
  }
}

/** How many of the clients each shard has. */
export function spread(clients: readonly Client[], count: number): number[] {
  const found = new Array<number>(count).fill(0);
  for (const { shard } of clients) if (shard >= 0) found[shard]!++;
  return found;
}
