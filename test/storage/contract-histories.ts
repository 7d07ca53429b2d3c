// The part of the store contract that is a property: random histories, with stops in between, against maps.
import { expect, test, vi } from 'vitest';
import type { MessageView } from '../../protocol/publish.ts';
import { SeededRandom } from '../seeded-random.ts';
import { bytesOf, contentOf, fieldsOf, messageOf } from './message.ts';
import { type Delivery, type Opened, Recovered, readOnce, settle, WAIT } from './opened-store.ts';

const SESSIONS = 4;
const STEPS = 60;

interface NaiveMessage {
  readonly view: MessageView;
  references: number;
}

interface NaiveSession {
  record: string;
  readonly subscriptions: Map<number, string>;
  readonly deliveries: Map<number, Delivery & { readonly kept: NaiveMessage | null }>;
  readonly inbound: Set<number>;
  end: number;
}

/** The contract in maps. */
class Naive {
  readonly sessions = new Map<number, NaiveSession>();
  readonly retained = new Map<number, MessageView>();
  nextSession = 1;

  get messages(): Set<NaiveMessage> {
    const kept = new Set<NaiveMessage>();
    for (const { deliveries } of this.sessions.values())
      for (const one of deliveries.values()) if (one.kept !== null) kept.add(one.kept);
    return kept;
  }

  get held() {
    const sum = (views: Iterable<MessageView>) => [...views].reduce((bytes, view) => bytes + bytesOf(view), 0);
    return {
      sessions: this.sessions.size,
      messages: this.messages.size,
      messageBytes: sum([...this.messages].map(({ view }) => view)),
      retained: this.retained.size,
      retainedBytes: sum(this.retained.values()),
    };
  }
}

/** One random history; the store is told everything that the maps are. */
class History {
  readonly #random: SeededRandom;
  readonly #naive = new Naive();
  opened: Opened;

  constructor(seed: number, opened: Opened) {
    this.#random = new SeededRandom(seed);
    this.opened = opened;
  }

  async play(): Promise<void> {
    for (let step = 0; step < STEPS; step++) {
      await this.#step();
      if (this.#random.below(4) === 0) this.opened.store.flush();
    }
    await this.#judge();
    for (const session of this.#naive.sessions.keys()) this.opened.store.dropSession(session);
    for (const number of this.#naive.retained.keys()) this.opened.store.dropRetained(number);
    this.#naive.sessions.clear();
    this.#naive.retained.clear();
    await this.#judgeHeld();
  }

  async #step(): Promise<void> {
    const { store } = this.opened;
    const naive = this.#naive;
    const dice = this.#random.below(100);
    const chosen = this.#session();
    if (dice < 8 || chosen === null) {
      if (naive.sessions.size < SESSIONS) this.#open();
    } else if (dice < 12) {
      const record = `again ${this.#random.below(1_000)}`;
      store.putSession(chosen.number, Buffer.from(record), false);
      chosen.session.record = record;
    } else if (dice < 14) {
      store.dropSession(chosen.number);
      naive.sessions.delete(chosen.number);
    } else if (dice < 45) this.#owe();
    else if (dice < 65) this.#finish(chosen);
    else if (dice < 72) this.#receive(chosen);
    else if (dice < 78) this.#subscribe(chosen);
    else if (dice < 86) this.#hold(chosen);
    else if (dice < 92) this.#retain();
    else if (dice < 98) await this.#compare(chosen.number);
    else await this.#restart();
  }

  #session(): { number: number; session: NaiveSession } | null {
    const { sessions } = this.#naive;
    if (sessions.size === 0) return null;
    const [number, session] = [...sessions][this.#random.below(sessions.size)]!;
    return { number, session };
  }

  #open(): void {
    const number = this.#naive.nextSession++;
    const record = `session ${number}`;
    this.opened.store.putSession(number, Buffer.from(record), false);
    this.#naive.sessions.set(number, { record, subscriptions: new Map(), deliveries: new Map(), inbound: new Set(), end: 0 });
  }

  #owe(): void {
    const random = this.#random;
    const view = this.#message();
    const number = this.opened.store.putMessage(view);
    expect(number).toBeGreaterThan(0);
    const message: NaiveMessage = { view, references: 0 };
    const owners = [...this.#naive.sessions].filter(() => random.below(2) === 0);
    if (owners.length === 0) owners.push([...this.#naive.sessions][0]!);
    for (const [session, { deliveries, end }] of owners) {
      const position = end + (random.below(8) === 0 ? random.below(50) : 0);
      const ids = random.below(3) === 0 ? Uint8Array.of(0x0b, 1 + random.below(100)) : new Uint8Array(0);
      const bits = 1 + random.below(2);
      this.opened.store.addDelivery(session, position, number, bits, ids);
      const fields = { position, bits, ids: Buffer.from(ids).toString('hex'), received: false, message: contentOf(view) };
      deliveries.set(position, { ...fields, kept: message });
      this.#naive.sessions.get(session)!.end = position + 1;
    }
  }

  #message(): MessageView {
    const random = this.#random;
    return messageOf({
      topic: `t/${random.below(5)}`,
      payload: Buffer.alloc(random.below(10) === 0 ? random.below(20_000) : random.below(60), random.below(256)),
      properties: random.below(3) === 0 ? Uint8Array.of(1, random.below(2)) : new Uint8Array(0),
      qos: 1 + random.below(2),
      retain: random.below(2),
    });
  }

  #finish({ number, session }: { number: number; session: NaiveSession }): void {
    const positions = [...session.deliveries.keys()];
    // Mostly in order, as acknowledgements come.
    const position = this.#random.below(3) > 0 ? positions[0] : positions[this.#random.below(positions.length)];
    if (position === undefined) return;
    this.opened.store.dropDelivery(number, position);
    session.deliveries.delete(position);
  }

  #receive({ number, session }: { number: number; session: NaiveSession }): void {
    const positions = [...session.deliveries.values()].filter(({ bits }) => bits === 2).map((delivery) => delivery.position);
    const position = positions[this.#random.below(Math.min(positions.length, 4))];
    if (position === undefined) return;
    this.opened.store.markReceived(number, position);
    const delivery = session.deliveries.get(position)!;
    session.deliveries.set(position, { ...delivery, ids: '', received: true, message: null, kept: null });
  }

  #subscribe({ number, session }: { number: number; session: NaiveSession }): void {
    const own = 1 + this.#random.below(5);
    if (this.#random.below(3) === 0) {
      this.opened.store.dropSubscription(number, own);
      session.subscriptions.delete(own);
      return;
    }
    const [options, identifier] = [this.#random.below(16), this.#random.below(1_000)];
    this.opened.store.putSubscription(number, own, Buffer.from(`f/${own}`), options, identifier);
    session.subscriptions.set(own, `f/${own} ${options} ${identifier}`);
  }

  #hold({ number, session }: { number: number; session: NaiveSession }): void {
    const packetId = 1 + this.#random.below(6);
    if (session.inbound.delete(packetId)) {
      this.opened.store.dropInbound(number, packetId);
    } else {
      this.opened.store.addInbound(number, packetId);
      session.inbound.add(packetId);
    }
  }

  #retain(): void {
    const number = 1 + this.#random.below(5);
    if (this.#random.below(3) === 0) {
      this.opened.store.dropRetained(number);
      this.#naive.retained.delete(number);
      return;
    }
    const message = this.#message();
    message.retain = 1;
    expect(this.opened.store.putRetained(number, message)).toBe(0);
    this.#naive.retained.set(number, message);
  }

  async #restart(): Promise<void> {
    await settle(this.opened);
    this.opened = await this.opened.restart();
    const found = await Recovered.of(this.opened.store);
    const { sessions, retained } = this.#naive;
    const each = <Value>(value: (session: NaiveSession) => Value) =>
      new Map([...sessions].map(([number, session]) => [number, value(session)]));
    expect(found.sessions).toEqual(each(({ record }) => record));
    const subscriptions = [...sessions].flatMap(([number, session]) =>
      [...session.subscriptions].map(([own, one]) => [`${number} ${own}`, one] as const),
    );
    expect(found.subscriptions).toEqual(new Map(subscriptions));
    const inbound = [...sessions].map(([number, session]) => [number, [...session.inbound].sort((a, b) => a - b)] as const);
    expect(found.inbound).toEqual(new Map(inbound.filter(([, packetIds]) => packetIds.length > 0)));
    expect(found.retained).toEqual(new Map([...retained].map(([number, view]) => [number, fieldsOf(view)])));
    for (const [number, session] of sessions) {
      const { base, end } = found.deliveries.get(number) ?? { base: 0, end: 0 };
      for (const position of session.deliveries.keys())
        expect(position >= base && position < end, 'within base and end').toBe(true);
      session.end = Math.max(session.end, end);
    }
    await this.#judge();
  }

  async #judge(): Promise<void> {
    await this.#judgeHeld();
    for (const number of this.#naive.sessions.keys()) await this.#compare(number);
  }

  async #judgeHeld(): Promise<void> {
    await settle(this.opened);
    await vi.waitFor(() => expect(this.opened.store.held()).toEqual(this.#naive.held), WAIT);
  }

  /** Reads a session in pieces. */
  async #compare(number: number): Promise<void> {
    const { deliveries, end } = this.#naive.sessions.get(number)!;
    const found: Delivery[] = [];
    const limit = 1 + this.#random.below(8);
    for (let from = 0; from < end; ) {
      const { found: piece, next } = await readOnce(this.opened, number, from, limit);
      expect(next).toBeGreaterThan(from);
      found.push(...piece);
      from = next;
    }
    expect(found).toEqual([...deliveries.values()].map(({ kept: _, ...fields }) => fields));
  }
}

/** Plays `histories` of them on one store after the other; LETHE_SEED takes one again. */
export function testHistories(opened: () => Opened, replace: (next: Opened) => void, histories: number): void {
  test(`is what maps are, through ${histories} random histories with stops in between`, async () => {
    const again = process.env['LETHE_SEED'];
    const first = again === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(again);
    const history = { at: first };
    try {
      for (; history.at < first + (again === undefined ? histories : 1); history.at++) {
        const one = new History(history.at, opened());
        try {
          await one.play();
        } finally {
          replace(one.opened);
        }
      }
    } catch (error) {
      throw new Error(`the history of seed ${history.at} fails; run it again with LETHE_SEED=${history.at}`, { cause: error });
    }
  });
}
