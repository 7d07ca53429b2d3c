// One round of the spool's benchmark: sessions that persist, publishers that wait for their acknowledgements, and an account of what came.
import { connect as connectSocket, type Socket } from 'node:net';
import { encodeSubscribe, type PublishShape, publishShape } from './packets.ts';

export interface SpoolPlan {
  readonly publishers: number;
  readonly sessions: number;
  /** Every session takes everything; otherwise session i what publisher i sends. */
  readonly shared: boolean;
  /** Of all publishers together. */
  readonly messages: number;
  /** The sessions are connected while the publishers send. */
  readonly online: boolean;
  /** Messages a second of all publishers together; 0: as fast as the window lets them. */
  readonly rate: number;
}

export interface StageResult {
  readonly seconds: number;
  readonly lost: number;
  /** Messages whose number had passed. */
  readonly behind: number;
}

const WINDOW = 8_192;
const BURST = 512;
const TIMEOUT_MS = 120_000;
/** Time between two sends of a publisher that keeps a rate. */
const PACE_MS = 5;
const PAYLOAD_BYTES = 32;
const CONNACK_BYTES = 4;
const PUBACK_BYTES = 4;
const DISCONNECT = Buffer.from([0xe0, 0]);

export class SpoolRun {
  /** Where the broker listens now: it may be another one after a restart. */
  port: number;
  readonly #plan: SpoolPlan;
  readonly #shapes: readonly PublishShape[];
  readonly #online: Taker[] = [];

  constructor(port: number, plan: SpoolPlan) {
    this.port = port;
    this.#plan = plan;
    this.#shapes = Array.from({ length: plan.publishers }, (_, i) => publishShape(i, 1, PAYLOAD_BYTES, 1));
  }

  /** Makes the sessions; those that are to be away go away. */
  async subscribe(): Promise<void> {
    for (let i = 0; i < this.#plan.sessions; i++) {
      const socket = await this.#connect(`session-${i}`, false);
      const taker = new Taker(socket, this.#shapeOf(i), this.#expected());
      socket.write(encodeSubscribe(this.#shapeOf(i).filter, 1));
      await taker.subscribed;
      if (this.#plan.online) this.#online.push(taker);
      else await ended(socket);
    }
  }

  /** Publishes everything and waits for every acknowledgement; with sessions that are connected, until they have it all. */
  async fill(): Promise<StageResult> {
    const startedMs = performance.now();
    const each = this.#expected();
    await Promise.all(this.#shapes.map((shape, i) => this.#publish(`publisher-${i}`, shape, each)));
    await Promise.all(this.#online.map(({ done }) => done));
    return result(startedMs, this.#online);
  }

  /** The sessions come back and take what they are owed. */
  async drain(): Promise<StageResult> {
    const startedMs = performance.now();
    const takers = await Promise.all(
      Array.from({ length: this.#plan.sessions }, async (_, i) => {
        const socket = await this.#connect(`session-${i}`, false);
        const taker = new Taker(socket, this.#shapeOf(i), this.#expected());
        taker.begin();
        return taker;
      }),
    );
    await Promise.all(takers.map(({ done }) => done));
    this.#online.push(...takers);
    return result(startedMs, takers);
  }

  async end(): Promise<void> {
    await Promise.all(this.#online.map(({ socket }) => ended(socket)));
  }

  #shapeOf(session: number): PublishShape {
    return this.#shapes[this.#plan.shared ? 0 : session]!;
  }

  /** Messages of one publisher, which are those of one session. */
  #expected(): number {
    return Math.floor(this.#plan.messages / this.#plan.publishers);
  }

  /** Opens a connection and reads its CONNACK, to the byte. */
  #connect(clientId: string, clean: boolean): Promise<Socket> {
    const id = Buffer.from(clientId);
    const body = Buffer.concat([Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, 4, clean ? 2 : 0, 0, 0, 0, id.length]), id]);
    return new Promise((resolve, reject) => {
      const socket = connectSocket({ port: this.port, host: '127.0.0.1', noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => socket.write(Buffer.concat([Buffer.from([0x10, body.length]), body])));
      socket.once('readable', () => {
        const connack = socket.read(CONNACK_BYTES) as Buffer | null;
        socket.off('error', reject);
        socket.on('error', () => {});
        if (connack?.[0] === 0x20 && connack[3] === 0) resolve(socket);
        else reject(new Error(`bench: the broker refused ${clientId}`));
      });
    });
  }

  async #publish(clientId: string, shape: PublishShape, count: number): Promise<void> {
    const socket = await this.#connect(clientId, true);
    let sent = 0;
    let ackBytes = 0;
    const startedMs = performance.now();
    const perMs = this.#plan.rate / this.#plan.publishers / 1_000;
    const allowed = (): number => (perMs === 0 ? count : Math.min(count, Math.ceil((performance.now() - startedMs) * perMs)));
    const pump = (): void => {
      while (sent < allowed() && sent - Math.floor(ackBytes / PUBACK_BYTES) <= WINDOW - BURST) {
        const burst = Math.min(BURST, allowed() - sent);
        const block = Buffer.allocUnsafe(burst * shape.bytes);
        for (let i = 0; i < burst; i++) {
          const at = i * shape.bytes;
          shape.templates[0]!.copy(block, at);
          block.writeUInt16BE(((sent + i) % 60_000) + 1, at + shape.packetIdAt);
          block.writeUInt32BE(sent + i, at + shape.numberAt);
        }
        sent += burst;
        socket.write(block);
      }
    };
    let pace: NodeJS.Timeout | undefined;
    await within(
      new Promise<void>((resolve) => {
        socket.on('data', (chunk: Buffer) => {
          ackBytes += chunk.length;
          if (ackBytes >= count * PUBACK_BYTES) resolve();
          else pump();
        });
        pump();
        if (perMs > 0) pace = setInterval(pump, PACE_MS);
      }),
      'not every publish was acknowledged',
    );
    clearInterval(pace);
    await ended(socket);
  }
}

/** One session's connection: counts, checks the numbers and acknowledges. */
class Taker {
  readonly socket: Socket;
  readonly subscribed: Promise<void>;
  readonly done: Promise<void>;
  lost = 0;
  behind = 0;
  #next = 0;
  #taken = 0;
  #rest: Buffer = Buffer.alloc(0);
  readonly #shape: PublishShape;
  readonly #expected: number;
  #finish: () => void = () => {};

  constructor(socket: Socket, shape: PublishShape, expected: number) {
    this.socket = socket;
    this.#shape = shape;
    this.#expected = expected;
    this.done = within(
      new Promise<void>((resolve) => {
        this.#finish = resolve;
      }),
      'not everything was delivered',
    );
    this.done.catch(() => {});
    this.subscribed = new Promise((resolve) => {
      socket.once('data', () => {
        this.begin();
        resolve();
      });
    });
  }

  begin(): void {
    this.socket.removeAllListeners('data');
    this.socket.on('data', (chunk: Buffer) => this.#take(chunk));
  }

  get missing(): number {
    return this.lost + Math.max(0, this.#expected - this.#next);
  }

  #take(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const { bytes: size, packetIdAt, numberAt } = this.#shape;
    const count = Math.floor(bytes.length / size);
    const acks = Buffer.allocUnsafe(count * PUBACK_BYTES);
    for (let i = 0; i < count; i++) {
      const at = i * size;
      const number = bytes.readUInt32BE(at + numberAt);
      if (number < this.#next) this.behind++;
      else {
        this.lost += number - this.#next;
        this.#next = number + 1;
      }
      acks[i * 4] = 0x40;
      acks[i * 4 + 1] = 2;
      acks[i * 4 + 2] = bytes[at + packetIdAt]!;
      acks[i * 4 + 3] = bytes[at + packetIdAt + 1]!;
    }
    this.#rest = Buffer.from(bytes.subarray(count * size));
    this.#taken += count;
    if (count > 0) this.socket.write(acks);
    if (this.#taken >= this.#expected) this.#finish();
  }
}

function result(startedMs: number, takers: readonly Taker[]): StageResult {
  return {
    seconds: (performance.now() - startedMs) / 1_000,
    lost: takers.reduce((sum, { missing }) => sum + missing, 0),
    behind: takers.reduce((sum, { behind }) => sum + behind, 0),
  };
}

function ended(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    socket.resume();
    socket.end(DISCONNECT);
  });
}

function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`bench: ${what} within ${TIMEOUT_MS / 1_000} s`)), TIMEOUT_MS);
    timer.unref();
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
