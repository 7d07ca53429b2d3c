// Forgetting across a crash: the real process is killed in the middle of a storm of acknowledgements, again and again on one directory.
// After the next start it holds what is still owed and nothing else; when that is consumed too, nothing.
import { expect, test } from 'vitest';
import { askOwner } from '../../engine/spool/folder-lock.ts';
import { type Served, serve } from '../end-to-end/served.ts';
import { SeededRandom } from '../seeded-random.ts';
import { Client, type ClientOptions } from './client.ts';
import { Place } from './place.ts';
import { Effort } from './scanner.ts';

const ROUNDS = 3;
const SESSIONS = ['a', 'b', 'c'] as const;
const OWN = 60;
const SHARED = 120;
/** Acknowledgements between two chances to be killed. */
const STORM_STEP = 9;
const seed = Number(process.env['LETHE_SEED'] ?? Date.now() % 1_000_000);

interface Counted {
  readonly queued: { readonly deliveries: number };
}

class Storm {
  readonly #place: Place;
  readonly #random = new SeededRandom(seed);
  #served: Served | null = null;

  constructor(place: Place) {
    this.#place = place;
  }

  async start(): Promise<void> {
    this.#served = await serve('', ['--data', this.#place.folder]);
    this.#place.pid = this.#served.child.pid;
  }

  async kill(): Promise<void> {
    this.#served!.child.kill('SIGKILL');
    await this.#served!.child.exited;
  }

  async stop(): Promise<void> {
    expect(await this.#served!.stop()).toEqual({ code: 0, signal: null });
  }

  connect(round: string, session: string, options: Partial<ClientOptions> = {}): Promise<Client> {
    return Client.connect(this.#served!.port('tcp'), { clientId: this.#place.text(`${round}.client-${session}`), ...options });
  }

  topic(round: string, whose: string): string {
    return `${this.#place.text(`${round}.topic-${whose}`)}/x`;
  }

  /** Sessions that are away, each with messages of its own and with its share in those for all of them. */
  async fill(round: string): Promise<string[]> {
    for (const session of SESSIONS) {
      const client = await this.connect(round, session);
      for (const whose of [session, 'all']) await client.subscribe(this.topic(round, whose));
      client.cut();
    }
    const publisher = await this.connect(round, 'publisher', { expiryS: 0 });
    const names: string[] = [];
    const sent: Promise<number>[] = [];
    const publish = (whose: string, i: number) => {
      const name = `${round}.m.${whose}-${i}`;
      const qos = i % 2 === 0 ? 1 : 2;
      names.push(name);
      sent.push(publisher.publish({ topic: this.topic(round, whose), payload: this.#place.text(name), qos }));
    };
    for (let i = 0; i < OWN; i++) for (const session of SESSIONS) publish(session, i);
    for (let i = 0; i < SHARED; i++) publish('all', i);
    await Promise.all(sent);
    await publisher.leave();
    return names;
  }

  /** Everything is received; some of it is acknowledged, by each session at its own pace, and in the middle of that the broker dies. */
  async rage(round: string): Promise<void> {
    const clients = await Promise.all(SESSIONS.map((session) => this.connect(round, session, { holds: true })));
    for (const client of clients) await client.got(OWN + SHARED);
    for (const client of clients) client.acknowledge(1 + this.#random.below(OWN));
    while ((await this.#owed()) > SESSIONS.length * (OWN + SHARED - 1)) await new Promise((resolve) => setImmediate(resolve));
    const steps = this.#random.below((2 * (OWN + SHARED)) / STORM_STEP);
    for (let i = 0; i < steps; i++) {
      for (const client of clients) client.acknowledge(this.#random.below(STORM_STEP));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await this.kill();
  }

  /** Connects every session and receives what it is still owed, without acknowledging it. */
  async receive(round: string): Promise<{ clients: Client[]; names: Set<string> }> {
    const clients = await Promise.all(SESSIONS.map((session) => this.connect(round, session, { holds: true })));
    const owed = await this.#owed();
    const count = () => clients.reduce((sum, { received }) => sum + received.length, 0);
    // Whoever gets the last one sees it.
    const all = clients.map((client) => client.until('everything that is owed has come', () => count() >= owed));
    await Promise.any(all);
    const payloads = clients.flatMap((client) => client.payloads);
    return { clients, names: new Set(payloads.map((payload) => this.#place.canaries.find(Buffer.from(payload))[0]!.name)) };
  }

  /** Deliveries that the broker has and nobody has acknowledged. */
  async #owed(): Promise<number> {
    const { queued } = (await askOwner(this.#place.folder, 'inventory')) as Counted;
    return queued.deliveries;
  }
}

test(`killed in the middle of an acknowledgement storm, ${ROUNDS} times (LETHE_SEED=${seed})`, async () => {
  const place = new Place();
  const storm = new Storm(place);
  await storm.start();
  for (let i = 1; i <= ROUNDS; i++) {
    const round = `round-${i}`;
    const names = await storm.fill(round);
    await place.holdsOnly(`${round}.m.`, new Set(names));
    await storm.rage(round);
    expect(place.scan({ effort: Effort.NO_KEYS }).found).toEqual([]);
    await storm.start();
    const { clients, names: owed } = await storm.receive(round);
    await place.holdsOnly(`${round}.m.`, owed);
    for (const client of clients) {
      client.acknowledge();
      await client.leave(0);
    }
    await place.isGone(round);
  }
  const report = place.scan({ effort: Effort.EVERY_KEY });
  expect(report.found).toEqual([]);
  expect(report.pairs.tried).toBeGreaterThan(10_000);
  await storm.stop();
  expect(place.scan({ effort: Effort.EVERY_KEY }).found).toEqual([]);
});
