// Several clients of one spool over random lives, with rings that are too small, sessions that move, and crashes at every kind of moment. After
// a crash there is, of each client's intents, all up to the number that was published for it and no half of what goes together. A
// failure names its seed: LETHE_SEED=123 npx vitest run --config test/vitest.config.ts test/storage/clients-model.test.ts
import { expect, test } from 'vitest';
import { GoneReason } from '../../storage/store.ts';
import { SeededRandom } from '../seeded-random.ts';
import { ClientsRig, type ToldGone } from './clients-rig.ts';
import { Killed, Outcome } from './memory-disk.ts';
import { messageOf } from './message.ts';

const LIVES = 150 * Number(process.env['LETHE_LIVES'] ?? 1);
const STEPS = 120;
const CLIENTS = 3;
const SESSIONS_MAX = 7;
const NO_IDS = new Uint8Array(0);
/** The smallest there is: a message to many does not fit. */
const OPTIONS = { clients: CLIENTS, intentBytes: 4_096, reportBytes: 262_144, commitWindowMs: 5 };

/** What a session is, in the end, a string of. */
interface State {
  record: string;
  readonly deliveries: Map<number, string | null>;
  readonly inbound: Set<number>;
}

interface Change {
  readonly client: number;
  readonly sequence: number;
  readonly apply: (state: State | null) => State | null;
}

interface Hosted {
  client: number;
  /** The client that it is moving to; -1 when it is not. */
  next: number;
  readonly changes: Change[];
  state: State | null;
  end: number;
}

class Life {
  readonly random: SeededRandom;
  rig!: ClientsRig;
  readonly sessions = new Map<number, Hosted>();
  #nextSession = 1;
  #messages = 0;
  /** By client: numbers of intents between which nothing may be parted, each piece from (exclusive) and to (exclusive). */
  #pieces: [from: number, to: number][][] = [];
  /** Where the piece that goes on began, -1 for none. */
  #begun: number[] = [];
  #gone: ToldGone[][] = [];

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  async play(): Promise<void> {
    this.#opened(await ClientsRig.open(OPTIONS));
    for (let step = 0; step < STEPS; step++) {
      try {
        await this.#step();
      } catch (error) {
        if (!(error instanceof Killed)) throw error;
        await this.#crash();
      }
    }
    this.rig.spool.disk.outcome = () => Outcome.DONE;
    await this.#settle();
    await this.#crash();
    for (const session of [...this.sessions.keys()]) await this.#compare(session);
  }

  #opened(rig: ClientsRig): void {
    this.rig = rig;
    this.#pieces = Array.from({ length: CLIENTS }, () => []);
    this.#begun = Array.from({ length: CLIENTS }, () => -1);
    this.#gone = Array.from({ length: CLIENTS }, () => []);
  }

  async #step(): Promise<void> {
    const dice = this.random.below(100);
    const session = this.#session();
    if (session === -1 || dice < 6) this.#open();
    else if (dice < 36) this.#owe();
    else if (dice < 50) this.#finish(session);
    else if (dice < 55) this.#receive(session);
    else if (dice < 60) this.#hold(session);
    else if (dice < 62) this.#trim(session);
    else if (dice < 63) this.#change(session, (store) => store.dropSession(session), drop);
    else if (dice < 72) this.#flush(this.random.below(CLIENTS));
    else if (dice < 82) await this.rig.spool.pass(this.random.below(3) * 2);
    else if (dice < 87) await this.#compare(session);
    else if (dice < 93) this.#offer(session);
    else if (dice < 95) await this.#settle();
    else if (dice < 97) this.#kill();
    else await this.#crash();
    await this.#move();
  }

  /** A session that is used now, -1 for none. */
  #session(): number {
    const numbers = [...this.sessions].filter(([, { state, next }]) => state !== null && next < 0).map(([number]) => number);
    return numbers.length === 0 ? -1 : numbers[this.random.below(numbers.length)]!;
  }

  #open(): void {
    if (this.#nextSession > SESSIONS_MAX) return;
    const number = this.#nextSession++;
    const client = this.random.below(CLIENTS);
    this.sessions.set(number, { client, next: -1, changes: [], state: null, end: 0 });
    this.#putSession(number);
  }

  #putSession(number: number): void {
    const record = `session ${number}.${this.random.below(1_000)}`;
    this.#change(
      number,
      (store) => store.putSession(number, Buffer.from(record), false),
      (state) => ({ record, deliveries: new Map(state?.deliveries), inbound: new Set(state?.inbound) }),
    );
  }

  /** Tells the store of an intent, and remembers what it does. */
  #change(session: number, tell: (store: ReturnType<ClientsRig['store']>) => void, apply: Change['apply']): void {
    const hosted = this.sessions.get(session)!;
    const store = this.rig.store(hosted.client);
    tell(store);
    hosted.changes.push({ client: hosted.client, sequence: store.sequence, apply });
    hosted.state = apply(hosted.state);
  }

  /** A message to sessions of one client, to some of them so often that it does not fit the ring. */
  #owe(): void {
    const { random } = this;
    const client = random.below(CLIENTS);
    const own = [...this.sessions].filter(([, one]) => one.client === client && one.next < 0 && one.state !== null);
    if (own.length === 0) return;
    const store = this.rig.store(client);
    const before = store.sequence;
    const payload = `message ${this.#messages++} ${'x'.repeat(random.below(300))}`;
    this.#endPiece(client);
    const message = store.putMessage(messageOf({ payload }));
    if (message <= 0) return;
    this.#begun[client] = before;
    const times = random.below(6) === 0 ? 100 : 1 + random.below(3);
    for (let i = 0; i < times; i++) {
      const [session, hosted] = own[random.below(own.length)]!;
      const position = hosted.end++;
      this.#change(
        session,
        () => store.addDelivery(session, position, message, 1, NO_IDS),
        changed(({ deliveries }) => deliveries.set(position, payload)),
      );
    }
  }

  #finish(session: number): void {
    const positions = [...this.sessions.get(session)!.state!.deliveries.keys()];
    const first = this.random.below(Math.min(3, positions.length + 1));
    for (const position of positions.slice(first, first + 1 + this.random.below(30))) {
      this.#change(
        session,
        (store) => store.dropDelivery(session, position),
        changed(({ deliveries }) => deliveries.delete(position)),
      );
    }
  }

  #receive(session: number): void {
    const position = this.#kept(session);
    if (position < 0) return;
    this.#change(
      session,
      (store) => store.markReceived(session, position),
      changed(({ deliveries }) => deliveries.set(position, null)),
    );
  }

  #trim(session: number): void {
    const position = this.#kept(session);
    if (position < 0) return;
    this.#gone[this.sessions.get(session)!.client]!.push({ session, position, reason: GoneReason.TRIMMED });
    this.#change(
      session,
      (store) => store.trim(session, 0),
      changed(({ deliveries }) => deliveries.delete(position)),
    );
  }

  /** The first position whose message is kept, -1 for none. */
  #kept(session: number): number {
    for (const [position, payload] of this.sessions.get(session)!.state!.deliveries) if (payload !== null) return position;
    return -1;
  }

  #hold(session: number): void {
    const packetId = 1 + this.random.below(5);
    if (this.sessions.get(session)!.state!.inbound.has(packetId))
      this.#change(
        session,
        (store) => store.dropInbound(session, packetId),
        changed(({ inbound }) => inbound.delete(packetId)),
      );
    else
      this.#change(
        session,
        (store) => store.addInbound(session, packetId),
        changed(({ inbound }) => inbound.add(packetId)),
      );
  }

  #flush(client: number): void {
    this.rig.store(client).flush();
    this.#endPiece(client);
  }

  #endPiece(client: number): void {
    const begun = this.#begun[client]!;
    if (begun >= 0) this.#pieces[client]!.push([begun, this.rig.store(client).sequence]);
    this.#begun[client] = -1;
  }

  async #settle(): Promise<void> {
    for (let client = 0; client < CLIENTS; client++) this.#flush(client);
    await this.rig.spool.pass(300);
    for (let client = 0; client < CLIENTS; client++) {
      expect(this.rig.isSettled(client), `client ${client} is settled`).toBe(true);
      expect(this.rig.told[client]!.lost, `what client ${client} is told of`).toEqual(this.#gone[client]);
    }
  }

  /** The client stops using a session. */
  #offer(session: number): void {
    this.sessions.get(session)!.next = this.random.below(CLIENTS);
  }

  /** Sessions whose client has everything on the disk go to the next one. */
  async #move(): Promise<void> {
    await this.rig.hear();
    for (const [number, hosted] of this.sessions) {
      if (hosted.next < 0 || !this.rig.isSettled(hosted.client)) continue;
      hosted.client = hosted.next;
      hosted.next = -1;
      this.#putSession(number);
    }
  }

  /** The process dies in one of the next commits. */
  #kill(): void {
    const { disk } = this.rig.spool;
    const at = disk.steps + 1 + this.random.below(3);
    const outcome = this.random.below(2) === 0 ? Outcome.KILLED : Outcome.KILLED_AFTER;
    disk.outcome = () => (disk.steps >= at ? outcome : Outcome.DONE);
  }

  async #crash(): Promise<void> {
    const { figures } = this.rig.spool;
    for (let client = 0; client < CLIENTS; client++) this.#endPiece(client);
    const next = await this.rig.crash(OPTIONS);
    const found = new Map<number, string>();
    for (const [number, { record, inbound }] of next.found) {
      const deliveries = await next.read(0, number);
      found.set(number, describe({ record, deliveries, inbound: new Set(inbound) }));
    }
    for (let client = 0; client < CLIENTS; client++) this.#judge(client, figures.durableOf(client), found);
    this.#opened(next);
    for (const [number, hosted] of this.sessions) {
      const end = next.found.get(number)?.end;
      if (end === undefined) this.sessions.delete(number);
      else hosted.end = end;
      Object.assign(hosted, { client: 0, next: -1 });
      hosted.changes.length = 0;
      const state = hosted.state;
      hosted.changes.push({ client: 0, sequence: 0, apply: () => state });
    }
  }

  /** What is found of a client's sessions is what its intents make up to some number from `durable` on that parts nothing. */
  #judge(client: number, durable: number, found: ReadonlyMap<number, string>): void {
    const own = [...this.sessions].filter(([, hosted]) => hosted.client === client);
    let nearest = '';
    for (let cut = durable; cut <= this.rig.store(client).sequence; cut++) {
      if (this.#pieces[client]!.some(([from, to]) => cut > from && cut < to)) continue;
      const states = own.map(([number, { changes }]) => [number, stateAt(changes, client, cut)] as const);
      const difference = states.find(([number, state]) => (state === null ? undefined : describe(state)) !== found.get(number));
      if (difference === undefined) {
        for (const [number, state] of states) this.sessions.get(number)!.state = state;
        return;
      }
      nearest ||= `${difference[0]}: ${difference[1] === null ? 'dropped' : describe(difference[1])}\nfound: ${found.get(difference[0])}`;
    }
    throw new Error(`what is found of client ${client} is nothing that was there from ${durable} on; session ${nearest}`);
  }

  /** A read gives what the client has put, also what is on its way to the disk. */
  async #compare(session: number): Promise<void> {
    const { client, state } = this.sessions.get(session)!;
    if (state === null) return;
    this.#flush(client);
    const found = await this.rig.read(client, session);
    expect([...found], `session ${session} read by client ${client}`).toEqual([...state.deliveries]);
  }
}

function drop(): null {
  return null;
}

/** A change to a copy of the state. */
function changed(change: (state: State) => void): Change['apply'] {
  return (state) => {
    if (state === null) return null;
    const next = { ...state, deliveries: new Map(state.deliveries), inbound: new Set(state.inbound) };
    change(next);
    return next;
  };
}

function stateAt(changes: readonly Change[], client: number, cut: number): State | null {
  let state: State | null = null;
  for (const one of changes) if (one.client !== client || one.sequence <= cut) state = one.apply(state);
  return state;
}

function describe({ record, deliveries, inbound }: State): string {
  return JSON.stringify([record, [...deliveries], [...inbound].sort()]);
}

test(`${LIVES} lives of ${CLIENTS} clients`, async () => {
  const given = process.env['LETHE_SEED'];
  const seeds = given === undefined ? Array.from({ length: LIVES }, (_, i) => i + 1) : [Number(given)];
  for (const seed of seeds) {
    try {
      await new Life(seed).play();
    } catch (cause) {
      throw new Error(`a life with LETHE_SEED=${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }
});
