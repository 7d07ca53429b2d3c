// The small tables between shards: places of routes, the roster, gauges, the packing of control messages.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Counters } from '../../engine/counters.ts';
import { type Control, packControl, unpackControl } from '../../engine/peers/control.ts';
import { allocateGauges, Gauge, Gauges } from '../../engine/peers/gauges.ts';
import { Roster, rosterBytes, SessionFlag } from '../../engine/peers/roster.ts';
import { RemoteTargets, RoutePlaces } from '../../engine/peers/route-places.ts';
import { type Target, targetFor } from '../../engine/sessions/target.ts';
import { agree, check } from '../check.ts';

const PLACES = 4_096;
const TARGETS_MAX = 262_144;

/** Sizes of routes, made once. */
const SIZES = [1, 1_000, 75_000, TARGETS_MAX] as const;

/** As many targets as asked for, one object for all: only their number counts. */
function targets(count: number): readonly Target[] {
  const one = targetFor(1, 0, new Uint8Array(0));
  return new Array<Target>(count).fill(one);
}

describe('places of routes', () => {
  test('are used again from the oldest on, and the one before has lost its place', () => {
    const places = new RoutePlaces();
    const routes = Array.from({ length: PLACES + 10 }, () => new RemoteTargets(1, targets(1)));
    routes.forEach((route, at) => {
      agree(places.knows(route), false);
      agree(places.assign(route), at % PLACES);
      agree(places.knows(route), true);
    });
    expect(routes.filter((route) => places.knows(route))).toEqual(routes.slice(10));
    // One that has lost its place gets the next one, and does not find itself in its old one.
    expect(places.assign(routes[0]!)).toBe(10);
    expect([places.knows(routes[0]!), places.knows(routes[10]!)]).toEqual([true, false]);
  });

  test('are counted by the targets that they hold, also once they are used again', () => {
    const places = new RoutePlaces();
    for (let at = 0; at < PLACES + 100; at++) places.assign(new RemoteTargets(1, targets(50)));
    const room = TARGETS_MAX - PLACES * 50;
    expect(places.isFullFor(new RemoteTargets(1, targets(room)))).toBe(false);
    expect(places.isFullFor(new RemoteTargets(1, targets(room + 1)))).toBe(true);
  });

  test('are forgotten all together, and go on where they were', () => {
    const places = new RoutePlaces();
    const [one, two] = [new RemoteTargets(1, targets(3)), new RemoteTargets(1, targets(3))];
    places.assign(one);
    places.forget();
    expect(places.knows(one)).toBe(false);
    expect(places.assign(two)).toBe(1);
    expect([places.knows(one), places.knows(two)]).toEqual([false, true]);
  });

  const sizes = new Map(SIZES.map((count) => [count, targets(count)]));
  test('hold no more targets than they may, whatever is assigned, and a single route of any size', () =>
    check(
      fc.property(fc.array(fc.constantFrom(...SIZES), { maxLength: 60 }), (counts) => {
        const places = new RoutePlaces();
        const held: RemoteTargets[] = [];
        for (const count of counts) {
          const route = new RemoteTargets(1, sizes.get(count)!);
          if (places.isFullFor(route)) {
            places.forget();
            held.length = 0;
          }
          places.assign(route);
          held.push(route);
          const sum = held.reduce((total, one) => total + one.targets.length, 0);
          if (sum > TARGETS_MAX) throw new Error(`${sum} targets are held`);
          for (const one of held) agree(places.knows(one), true);
        }
      }),
      100,
    ));
});

describe('the roster', () => {
  const SESSIONS = 8;
  const index = fc.nat(SESSIONS - 1);
  const flag = fc.constantFrom(SessionFlag.CONNECTED, SessionFlag.SLOW, SessionFlag.STORED);
  const shard = fc.nat(255);
  type Act =
    | readonly ['host' | 'move', number, number]
    | readonly ['raise' | 'lower', number, SessionFlag]
    | readonly ['end', number];
  const act: fc.Arbitrary<Act> = fc.oneof(
    fc.tuple(fc.constantFrom('host' as const, 'move' as const), index, shard),
    fc.tuple(fc.constantFrom('raise' as const, 'lower' as const), index, flag),
    fc.tuple(fc.constant('end' as const), index),
  );

  test('knows host and flags of live handles and nothing of those that have ended', () =>
    check(
      fc.property(fc.array(act, { maxLength: 400, size: 'max' }), (acts) => {
        const roster = new Roster(new SharedArrayBuffer(rosterBytes(SESSIONS)));
        const generations = new Array<number>(SESSIONS).fill(0);
        const known = new Map<number, { owner: number; flags: number }>();
        for (const [what, at, value] of acts) {
          const handle = (generations[at]! << 24) | at;
          const before = known.get(at);
          if (what === 'host') {
            roster.host(handle, value);
            known.set(at, { owner: value, flags: 0 });
          } else if (before === undefined) {
            continue;
          } else if (what === 'move') {
            roster.move(handle, value);
            known.set(at, { owner: value, flags: before.flags & SessionFlag.STORED });
          } else if (what === 'end') {
            roster.end(handle);
            known.delete(at);
            generations[at] = (generations[at]! + 1) & 63;
            agree([roster.owner(handle), roster.flags(handle)], [-1, 0]);
          } else if (what === 'raise') {
            roster.raise(handle, value);
            before.flags |= value;
          } else {
            roster.lower(handle, value);
            before.flags &= ~value;
          }
          for (const [other, { owner, flags }] of known) {
            const own = (generations[other]! << 24) | other;
            const mask = SessionFlag.CONNECTED | SessionFlag.SLOW | SessionFlag.STORED;
            agree([roster.owner(own), roster.flags(own) & mask], [owner, flags]);
          }
        }
      }),
      300,
    ));
});

describe('gauges', () => {
  test('sum the rows of the others, and of all', () => {
    const memory = allocateGauges(4);
    const all = Array.from({ length: 4 }, (_, at) => new Gauges(memory, 4, at));
    all.forEach((gauges, at) => {
      gauges.own[Gauge.CONNECTIONS] = 10 ** at;
      gauges.own[Gauge.QUEUED_BYTES] = 2 ** 40 + at;
    });
    all.forEach((gauges, at) => {
      expect(gauges.elsewhere[Gauge.CONNECTIONS]).toBe(0);
      gauges.gather();
      gauges.gather();
      expect(gauges.elsewhere[Gauge.CONNECTIONS]).toBe(1_111 - 10 ** at);
      expect(gauges.total(Gauge.CONNECTIONS)).toBe(1_111);
      expect(gauges.total(Gauge.QUEUED_BYTES)).toBe(4 * 2 ** 40 + 6);
      expect(gauges.of(2, Gauge.CONNECTIONS)).toBe(100);
    });
  });

  test('have room for every counter, and give each one back', () => {
    const gauges = new Gauges(allocateGauges(2), 2, 1);
    const counters = new Counters();
    let next = 1;
    for (const name of Object.keys(counters) as (keyof Counters)[])
      if (typeof counters[name] === 'number') (counters as unknown as Record<string, number>)[name] = next++;
    for (const reason of Object.keys(counters.dropped) as (keyof Counters['dropped'])[]) counters.dropped[reason] = next++;
    counters.copyTo(gauges.own, Gauge.COUNTERS);
    const back = Counters.from(gauges.own, Gauge.COUNTERS);
    expect(back).toEqual(counters);
    expect(Gauge.COUNTERS + next - 1).toBeLessThanOrEqual(gauges.own.length);
  });
});

describe('control messages', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 200 });
  const number = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.integer());
  const will = fc.option(
    fc.record({
      topic: fc.uint8Array({ minLength: 1, maxLength: 40 }),
      properties: fc.uint8Array({ maxLength: 40 }),
      payload: fc.uint8Array({ maxLength: 200 }),
      qos: fc.nat(2),
      retain: fc.boolean(),
      delayS: fc.nat(),
      expiryS: fc.integer({ min: -1 }),
    }),
  );
  const username = fc.option(text);
  const claim = fc.record({ shard: fc.nat(255), request: number, clientId: text, username, clean: fc.boolean() });
  const subscription = fc.record({
    filter: fc.uint8Array({ minLength: 1, maxLength: 60 }),
    options: fc.nat(63),
    identifier: fc.nat(268_435_455),
    number,
    entry: number,
  });
  const texts = fc.array(text, { maxLength: 5 });
  const grants = fc.option(fc.record({ publish: texts, subscribe: texts }));
  const principal = fc.record({ username: fc.option(text), roles: texts, grants });
  const session = fc.record({
    handle: number,
    clientId: text,
    principal,
    level: fc.constantFrom(3, 4, 5),
    expiryS: fc.nat(0xffff_ffff),
    stored: number,
    base: fc.maxSafeNat(),
    tail: fc.maxSafeNat(),
    sentBefore: fc.maxSafeNat(),
    queuedMessages: number,
    queuedBytes: number,
    overflow: fc.nat(2),
    listener: fc.string(),
    disconnectedAtMs: fc.maxSafeNat(),
    inbound: fc.array(fc.nat(65_535), { maxLength: 50 }),
    will,
    nextSubscription: number,
    subscriptions: fc.array(subscription, { maxLength: 20 }),
  });
  const control: fc.Arbitrary<Control> = fc.oneof(
    fc.record({ kind: fc.constant('claim' as const), claim }),
    fc.record({ kind: fc.constantFrom('fresh' as const, 'yours' as const), request: number, handle: number }),
    fc.record({ kind: fc.constantFrom('full' as const, 'denied' as const), request: number }),
    fc.record({ kind: fc.constant('kept' as const), handle: number, host: fc.nat(255) }),
    fc.record({ kind: fc.constant('release' as const), handle: number, claim }),
    fc.record({ kind: fc.constant('ended' as const), handle: number, shard: fc.nat(255) }),
    fc.record({ kind: fc.constant('moved' as const), session }),
    fc.record({ kind: fc.constant('moved-end' as const), handle: number, request: number }),
    fc.record({
      kind: fc.constant('gone' as const),
      stored: number,
      position: fc.maxSafeNat(),
      bytes: number,
      reason: fc.nat(3),
    }),
    fc.record({ kind: fc.constant('arrived' as const), handle: number }),
    fc.record({ kind: fc.constant('fence' as const), shard: fc.nat(255), fence: number, relayed: fc.boolean() }),
    fc.record({ kind: fc.constant('fenced' as const), fence: number, to: fc.nat(255) }),
  );

  test('are read as they were written, and keep no hold of where they lay', () =>
    check(
      fc.property(control, (written) => {
        const bytes = packControl(written);
        const read = unpackControl(bytes);
        bytes.fill(0xff);
        expect(normal(read)).toEqual(normal(written));
      }),
      500,
    ));

  test('of another version are refused', () => {
    const bytes = packControl({ kind: 'arrived', handle: 1 });
    bytes[0] = 9;
    expect(() => unpackControl(bytes)).toThrow('another version');
  });
});

/** Bytes as text, so that a view of any kind compares by content. */
function normal(value: unknown): unknown {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, normal(own)]));
}
