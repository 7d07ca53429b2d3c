// The engine's stores and the storage thread's server in one thread, over doubles: the thread works when the test says so, and its disk
// fails when the test says so.
import { allocateDoorbell, Doorbell } from '../../storage/doorbell.ts';
import { allocateFigures, Figures } from '../../storage/figures.ts';
import { allocateRing, RingConsumer, RingProducer } from '../../storage/ring.ts';
import { RowSealer } from '../../storage/sealed.ts';
import type { ServerLink } from '../../storage/served-client.ts';
import { Spool } from '../../storage/spool.ts';
import { SpoolServer } from '../../storage/spool-server.ts';
import { SpoolStore } from '../../storage/spool-store.ts';
import { noteStart, readStarts } from '../../storage/starts.ts';
import type { SpoolClock } from '../../storage/surroundings.ts';
import { Vault } from '../../storage/vault.ts';
import { SeededRandom } from '../seeded-random.ts';
import { MemoryDisk } from './memory-disk.ts';
import { MemoryKeyFile } from './memory-key-file.ts';

const SLOTS_MIN = 8;

export interface SteppedOptions {
  readonly clock?: SpoolClock;
  readonly intentBytes?: number;
  readonly reportBytes?: number;
  readonly commitWindowMs?: number;
  readonly clients?: number;
  readonly relaxed?: boolean;
  /** What a crash has left. */
  readonly remains?: { readonly disk: MemoryDisk; readonly file: MemoryKeyFile };
}

export class SteppedSpool {
  /** Of each client. */
  readonly stores: readonly SpoolStore[];
  readonly figures: Figures;
  readonly disk: MemoryDisk;
  readonly file: MemoryKeyFile;
  nowMs = 0;
  readonly #server: SpoolServer;
  #closed = false;

  constructor(options: SteppedOptions = {}) {
    const random = new SeededRandom(1);
    const bytes = (count: number) => random.bytes(count);
    this.disk = options.remains?.disk ?? new MemoryDisk(random);
    this.file = options.remains?.file ?? new MemoryKeyFile(random);
    const open = options.remains === undefined ? Vault.create : Vault.open;
    const vault = open(this.file, null, bytes, SLOTS_MIN);
    const ground = { disk: this.disk, vault, sealer: new RowSealer(vault, bytes), random: bytes };
    const clients = options.clients ?? 1;
    this.figures = new Figures(allocateFigures(clients));
    const threadBell = new Doorbell(allocateDoorbell());
    const pairs = Array.from({ length: clients }, (_, client) => this.#pair(client, threadBell, options));
    const links = pairs.map(({ link }) => link);
    this.#server = new SpoolServer(links, { commitWindowMs: options.commitWindowMs ?? 0 });
    const clock = options.clock ?? { wallMs: () => 1_767_225_600_000 + this.nowMs, monotonicMs: () => this.nowMs };
    const settings = { retentionMs: 100_000, eraseWithinMs: 1_000, diskFloorBytes: 1_000 };
    const started = noteStart(ground, readStarts(ground)?.started ?? 0);
    this.#server.attach(new Spool(ground, settings, clock, this.figures, this.#server.events, started));
    this.stores = pairs.map(({ store }) => store);
  }

  /** The store of client 0. */
  get store(): SpoolStore {
    return this.stores[0]!;
  }

  #pair(client: number, threadBell: Doorbell, options: SteppedOptions): { link: ServerLink; store: SpoolStore } {
    const intents = allocateRing(options.intentBytes ?? 1_048_576);
    const reports = allocateRing(options.reportBytes ?? 1_048_576);
    const engineBell = new Doorbell(allocateDoorbell());
    const toThread: Uint8Array[] = [];
    const toEngine: Uint8Array[] = [];
    const link: ServerLink = {
      intents: new RingConsumer(intents),
      reports: new RingProducer(reports),
      engineBell,
      sendLarge: (large) => void toEngine.push(large),
      receiveLarge: () => toThread.shift() ?? null,
      roomMade: () => {},
      pause: () => {
        throw new Error('the reports are full, and nobody else takes them out');
      },
    };
    const store = new SpoolStore(
      {
        client,
        intents: new RingProducer(intents),
        reports: new RingConsumer(reports),
        figures: this.figures,
        threadBell,
        engineBell,
        sendLarge: (large) => void toThread.push(large),
        receiveLarge: () => toEngine.shift() ?? null,
        waitForRoom: () => void this.step(),
        ended: async () => {
          while (client === 0 && !this.#closed) this.step();
        },
      },
      { relaxed: options.relaxed ?? false },
    );
    return { link, store };
  }

  /** One step of the thread; returns for how long it would sleep, in ms. */
  step(): number {
    if (this.#closed) return -1;
    const sleepMs = this.#server.step();
    this.#closed = sleepMs < 0;
    return sleepMs;
  }

  /** Steps for so much time, and lets the engine hear of it. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left >= 0; left -= 100) {
      this.step();
      this.nowMs += Math.min(100, left);
      await heard();
    }
  }

  /** Steps whenever the engine has nothing else to do, until the returned function is called. */
  run(): () => void {
    let next: NodeJS.Immediate | null = null;
    const turn = () => {
      this.step();
      next = this.#closed ? null : setImmediate(turn);
    };
    turn();
    return () => {
      if (next !== null) clearImmediate(next);
      next = null;
    };
  }

  /** What another process would find after a crash. */
  remains(): { disk: MemoryDisk; file: MemoryKeyFile } {
    return { disk: this.disk.reopened(), file: this.file.crashed() };
  }
}

/** Lets the store take out what it was rung for. */
export function heard(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
