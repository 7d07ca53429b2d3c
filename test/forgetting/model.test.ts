// Random lives of a spool on real files, killed and started again at random, against a model that says who is owed what. Whenever the
// eraser has had its turn, the directory must hold exactly the canaries of what the model holds: no more, which is the promise, and no
// less, which says that the scanner looked. What the spool counts as held must be what it holds.
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { rotateMaster } from '../../storage/folder.ts';
import { takeInventory } from '../../storage/inventory.ts';
import { check } from '../check.ts';
import { BareSpool } from './bare-spool.ts';
import { Place } from './place.ts';

const RUNS = Number(process.env['LETHE_RUNS'] ?? 25);
const SESSIONS = 3;
const NUMBERS = 3;
/** Longer than the time between two turns of the eraser. */
const TURN_MS = 300;

interface ModelMessage {
  readonly name: string;
  readonly untilMs: number;
}

interface ModelSession {
  /** Its number in the store: never used twice, unlike the model's own. */
  readonly stored: number;
  record: string;
  readonly filters: Map<number, string>;
  /** By position; null once it was received. */
  readonly owed: Map<number, ModelMessage | null>;
}

interface ModelState {
  readonly sessions: Map<number, ModelSession>;
  readonly retained: Map<number, ModelMessage>;
}

type Step =
  | { readonly do: 'session' | 'end' | 'finish' | 'receive' | 'trim'; readonly session: number; readonly nth: number }
  | { readonly do: 'message'; readonly sessions: readonly number[]; readonly expiryMs: number; readonly length: number }
  | { readonly do: 'subscribe' | 'unsubscribe'; readonly session: number; readonly number: number }
  | { readonly do: 'retain'; readonly number: number; readonly expiryMs: number }
  | { readonly do: 'clear'; readonly number: number }
  | { readonly do: 'commit' | 'stop' | 'compact' | 'rotate' }
  | { readonly do: 'kill' | 'pass'; readonly ms: number };

const session = fc.integer({ min: 1, max: SESSIONS });
const number = fc.integer({ min: 1, max: NUMBERS });
const expiryMs = fc.constantFrom(Infinity, Infinity, 500, 2_000);

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('session' as const), session, nth: fc.constant(0) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end' as const), session, nth: fc.constant(0) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('message' as const),
      sessions: fc.uniqueArray(session, { minLength: 1, maxLength: SESSIONS }),
      expiryMs,
      length: fc.constantFrom(0, 40, 700, 5_000, 20_000),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constantFrom('finish' as const, 'receive' as const), session, nth: fc.nat({ max: 5 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('trim' as const), session, nth: fc.nat({ max: 2 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('subscribe' as const, 'unsubscribe' as const), session, number }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('retain' as const), number, expiryMs }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const), number }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('commit' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('kill' as const), ms: fc.constantFrom(0, 0, TURN_MS, 3_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('stop' as const, 'compact' as const, 'rotate' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(TURN_MS, 1_000, 3_000) }) },
);

class Life {
  readonly #place = new Place();
  #master: Uint8Array = randomBytes(32);
  #bare: BareSpool;
  #live: ModelState = { sessions: new Map(), retained: new Map() };
  #durable: ModelState = this.#live;
  /** By stored session: the next position. */
  readonly #ends = new Map<number, number>();
  #nextStored = 1;
  #names = 0;

  constructor() {
    this.#bare = new BareSpool(this.#place.folder, null, this.#master);
    this.#commit();
  }

  run(steps: readonly Step[]): void {
    for (const one of steps) this.#do(one);
    this.#kill(0);
    this.#pass(TURN_MS);
    for (const ended of [...this.#live.sessions.keys()]) this.#end(ended);
    for (const retained of [...this.#live.retained.keys()]) this.#clear(retained);
    this.#commit();
    this.#pass(TURN_MS);
    expect(this.#place.scan({ masters: [this.#master] }).found).toEqual([]);
    this.#bare.stop();
  }

  #do(one: Step): void {
    const { spool } = this.#bare;
    switch (one.do) {
      case 'session': {
        const record = this.#name('session');
        const found = this.#live.sessions.get(one.session) ?? {
          stored: this.#nextStored++,
          record,
          filters: new Map(),
          owed: new Map(),
        };
        found.record = record;
        this.#live.sessions.set(one.session, found);
        spool.putSession(found.stored, this.#place.canaries.bytes(record), false);
        return;
      }
      case 'end':
        this.#end(one.session);
        return;
      case 'message':
        this.#message(one.sessions, one.expiryMs, one.length);
        return;
      case 'finish':
      case 'receive': {
        const found = this.#live.sessions.get(one.session);
        const positions = [...(found?.owed.keys() ?? [])];
        if (found === undefined || positions.length === 0) return;
        const position = positions[one.nth % positions.length]!;
        if (one.do === 'receive') {
          spool.markReceived(found.stored, position);
          found.owed.set(position, null);
        } else {
          spool.dropDelivery(found.stored, position);
          found.owed.delete(position);
        }
        return;
      }
      case 'trim': {
        const found = this.#live.sessions.get(one.session);
        if (found === undefined) return;
        const positions = [...found.owed.keys()];
        const from = positions[one.nth % Math.max(1, positions.length)] ?? 0;
        spool.trim(found.stored, from);
        const oldest = positions.find((at) => at >= from && (found.owed.get(at)?.untilMs ?? 0) > this.#bare.nowMs);
        if (oldest !== undefined) found.owed.delete(oldest);
        return;
      }
      case 'subscribe':
      case 'unsubscribe': {
        const found = this.#live.sessions.get(one.session);
        if (found === undefined) return;
        const { stored, filters } = found;
        if (one.do === 'unsubscribe') {
          spool.dropSubscription(stored, one.number);
          filters.delete(one.number);
          return;
        }
        const name = this.#name('filter');
        spool.putSubscription(stored, one.number, this.#place.canaries.bytes(name), 1, 0);
        filters.set(one.number, name);
        return;
      }
      case 'retain': {
        const name = this.#name('retained');
        const untilMs = this.#bare.nowMs + one.expiryMs;
        this.#bare.retain(one.number, { topic: 'retained', payload: this.#place.text(name), expiresAtMs: untilMs });
        this.#live.retained.set(one.number, { name, untilMs });
        return;
      }
      case 'clear':
        this.#clear(one.number);
        return;
      case 'commit':
        this.#commit();
        return;
      case 'pass':
        this.#commit();
        this.#pass(one.ms);
        return;
      case 'kill':
        this.#kill(one.ms);
        return;
      case 'stop':
        this.#bare.stop();
        this.#durable = this.#live;
        this.#open();
        return;
      case 'compact':
        this.#commit();
        this.#bare.ground.disk.compact();
        return;
      case 'rotate': {
        const next = randomBytes(32);
        rotateMaster(this.#place.folder, this.#master, next, randomBytes);
        this.#master = next;
        return;
      }
    }
  }

  #message(sessions: readonly number[], expires: number, length: number): void {
    const open = sessions.flatMap((one) => this.#live.sessions.get(one) ?? []);
    if (open.length === 0) return;
    const name = this.#name('message');
    const untilMs = this.#bare.nowMs + expires;
    const deliveries = open.map(({ stored, owed }): [number, number] => {
      const position = this.#ends.get(stored) ?? 0;
      this.#ends.set(stored, position + 1);
      owed.set(position, { name, untilMs });
      return [stored, position];
    });
    const payload = this.#place.text(name) + 'x'.repeat(length);
    this.#bare.put({ topic: 'message', payload, expiresAtMs: untilMs }, ...deliveries);
  }

  #end(one: number): void {
    const found = this.#live.sessions.get(one);
    if (found === undefined) return;
    this.#live.sessions.delete(one);
    this.#bare.spool.dropSession(found.stored);
  }

  #clear(one: number): void {
    if (!this.#live.retained.delete(one)) return;
    this.#bare.spool.dropRetained(one);
  }

  #commit(): void {
    const { spool } = this.#bare;
    expect(spool.publishIfClean() || spool.commit()).toBe(true);
    this.#durable = copy(this.#live);
  }

  /** Time passes; then the books and the disk must say the same as the model. */
  #pass(ms: number): void {
    this.#bare.pass(ms);
    this.#expire();
    this.#durable = copy(this.#live);
    const messages = new Set<string>();
    const names = new Set<string>();
    for (const { stored, record, filters, owed } of this.#live.sessions.values()) {
      names.add(record);
      for (const name of filters.values()) names.add(name);
      for (const message of owed.values()) if (message !== null) messages.add(message.name);
      const expected = [...owed.values()].filter((message) => message !== null).map((message) => this.#place.text(message.name));
      const actual = this.#bare.owed(stored).map((payload) => payload.replace(/x*$/, ''));
      expect(actual).toEqual(expected);
    }
    for (const { name } of this.#live.retained.values()) names.add(name);
    const held = this.#bare.spool.held();
    expect(held).toMatchObject({
      sessions: this.#live.sessions.size,
      messages: messages.size,
      retained: this.#live.retained.size,
    });
    const inventory = takeInventory(this.#bare.spool);
    expect(inventory.messages.count).toBe(messages.size);
    expect(inventory.messages.oldestMs === null).toBe(messages.size === 0);
    expect(inventory.quarantined.count).toBe(0);
    const report = this.#place.scan({ masters: [this.#master] });
    expect(report.names).toEqual([...names, ...messages].sort());
  }

  #expire(): void {
    const { nowMs } = this.#bare;
    const { sessions, retained } = this.#live;
    for (const { owed } of sessions.values())
      for (const [position, message] of owed) if (message !== null && message.untilMs <= nowMs) owed.delete(position);
    for (const [one, { untilMs }] of retained) if (untilMs <= nowMs) retained.delete(one);
  }

  /** The process ends as it stands, and another one begins `ms` later. */
  #kill(ms: number): void {
    this.#bare.kill();
    this.#bare.wait(ms);
    this.#open();
  }

  #open(): void {
    this.#live = copy(this.#durable);
    const ends = new Map<number, number>();
    this.#bare = new BareSpool(this.#place.folder, this.#bare, this.#master, {
      session() {},
      subscription() {},
      deliveries: (stored, _base, end) => void ends.set(stored, end),
      inbound() {},
      retained() {},
    });
    for (const [stored, end] of ends) this.#ends.set(stored, Math.max(end, this.#ends.get(stored) ?? 0));
  }

  #name(what: string): string {
    return `${what}.${++this.#names}`;
  }
}

function copy({ sessions, retained }: ModelState): ModelState {
  return {
    sessions: new Map(
      [...sessions].map(([key, { stored, record, filters, owed }]) => [
        key,
        { stored, record, filters: new Map(filters), owed: new Map(owed) },
      ]),
    ),
    retained: new Map(retained),
  };
}

test('the directory holds what is owed, whatever happens, and nothing else', async () => {
  await check(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => new Life().run(steps)),
    RUNS,
  );
});
