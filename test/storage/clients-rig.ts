// A stepped spool with several clients, and what each of them hears.
import type { GoneReason, StoreListener } from '../../storage/store.ts';
import { messageOf, payloadOf } from './message.ts';
import { heard, type SteppedOptions, SteppedSpool } from './stepped-spool.ts';

const NO_IDS = new Uint8Array(0);

export interface ToldGone {
  readonly session: number;
  readonly position: number;
  readonly reason: GoneReason;
}

export class Heard implements StoreListener {
  durables = 0;
  readonly lost: ToldGone[] = [];
  readonly retainedLost: number[] = [];
  readonly troubles: string[] = [];

  taken(): void {}

  durable(): void {
    this.durables++;
  }

  gone(session: number, position: number, _bytes: number, reason: GoneReason): void {
    this.lost.push({ session, position, reason });
  }

  retainedGone(number: number): void {
    this.retainedLost.push(number);
  }

  trouble(message: string): void {
    this.troubles.push(message);
  }
}

/** What a start finds of a session. */
export interface FoundSession {
  readonly record: string;
  end: number;
  readonly inbound: number[];
  readonly filters: string[];
}

export class ClientsRig {
  readonly spool: SteppedSpool;
  /** By client. */
  readonly told: readonly Heard[];
  readonly found = new Map<number, FoundSession>();

  constructor(options: SteppedOptions) {
    this.spool = new SteppedSpool(options);
    this.told = this.spool.stores.map((store) => {
      const told = new Heard();
      store.listener = told;
      return told;
    });
  }

  /** Opens it, and takes what it holds. */
  static async open(options: SteppedOptions = {}): Promise<ClientsRig> {
    const rig = new ClientsRig({ clients: 3, ...options });
    const { found } = rig;
    await rig.during(
      rig.store(0).recover({
        session: (session, record) =>
          void found.set(session, { record: Buffer.from(record).toString(), end: 0, inbound: [], filters: [] }),
        subscription: (session, _number, filter) => void found.get(session)!.filters.push(Buffer.from(filter).toString()),
        deliveries: (session, _base, end) => {
          found.get(session)!.end = end;
        },
        inbound: (session, packetId) => void found.get(session)!.inbound.push(packetId),
        retained: () => {},
      }),
    );
    return rig;
  }

  /** The process dies, and another one finds what is on the disk. */
  crash(options: SteppedOptions = {}): Promise<ClientsRig> {
    return ClientsRig.open({ ...options, remains: this.spool.remains() });
  }

  store(client: number) {
    return this.spool.stores[client]!;
  }

  /** Steps the thread until `promise` is settled. */
  async during<Value>(promise: Promise<Value>): Promise<Value> {
    let isOver = false;
    const over = () => {
      isOver = true;
    };
    promise.then(over, over);
    while (!isOver) await this.spool.pass(0);
    return promise;
  }

  /** What these clients have sent is passed on and made durable, if the disk takes it, and they have heard of it. */
  async settle(...clients: number[]): Promise<void> {
    for (const client of clients) this.store(client).flush();
    await this.spool.pass(0);
    await this.spool.pass(0);
  }

  isSettled(client: number): boolean {
    return this.store(client).written === this.store(client).sequence;
  }

  putSession(client: number, session: number): void {
    this.store(client).putSession(session, Buffer.from(`session ${session}`), false);
  }

  /** A message to one position of each session. */
  owe(client: number, payload: string, ...to: readonly (readonly [session: number, position: number])[]): void {
    const store = this.store(client);
    const number = store.putMessage(messageOf({ payload }));
    if (number <= 0) throw new Error('the message is refused');
    for (const [session, position] of to) store.addDelivery(session, position, number, 1, NO_IDS);
  }

  /** A session's queue as a client reads it, in as many reads as it takes: payloads by position, null for one that was received. */
  async read(client: number, session: number): Promise<Map<number, string | null>> {
    const found = new Map<number, string | null>();
    for (let from = 0, before = -1; found.size > before; ) {
      before = found.size;
      from = await this.during(
        new Promise((resolve) => {
          this.store(client).read(session, from, 1_000, {
            delivery: (position, _bits, _ids, _received, message) =>
              void found.set(position, message === null ? null : payloadOf(message)),
            end: resolve,
          });
          this.store(client).flush();
        }),
      );
    }
    return found;
  }

  async payloads(client: number, session: number): Promise<(string | null)[]> {
    return [...(await this.read(client, session)).values()];
  }

  hear(): Promise<void> {
    return heard();
  }
}
