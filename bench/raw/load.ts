// One thread's share of the load: its clients, and what it does with them when it is told to.
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { allocateDoorbell, Doorbell } from '../../storage/doorbell.ts';
import { makeRoster, threadOf } from '../plan/roster.ts';
import type { Answers, Command, Interval, LoadData, Sums, ThreadAccounts, Who } from './account.ts';
import { Client, type Role } from './client.ts';
import { nowUs } from './clock.ts';
import { partsOf } from './coverage-union.ts';
import { Gauge, Gauges } from './gauges.ts';
import { Ground } from './ground.ts';
import { joinAll } from './joiner.ts';
import { Ledger } from './ledger.ts';
import { Pattern } from './message.ts';
import { Pacer, Round } from './pacer.ts';
import { Places, StreamFacts } from './places.ts';
import { Publisher } from './publisher.ts';
import { Schedule } from './schedule.ts';
import { streamPacket } from './stream.ts';
import { Subscriber } from './subscriber.ts';

const GAUGE_EVERY_MS = 10;
const CLEAN_UP_MS = 10_000;
const SECOND_US = 1e6;

export class Load {
  readonly #data: LoadData;
  readonly #ground: Ground;
  readonly #gauges: Gauges;
  readonly #tell: (interval: Interval) => void;
  readonly #publishers: Publisher[] = [];
  readonly #subscribers: Subscriber[] = [];
  /** Ledgers of the shared subscriptions that have a member here, by number. */
  readonly #shares = new Map<number, Ledger>();
  readonly #clients: Readonly<Record<Who, Client[]>> = { subscribers: [], publishers: [], idle: [] };
  readonly #givingUp = new AbortController();
  #pacer: Pacer | null = null;
  #startUs = nowUs();
  #utilization = performance.eventLoopUtilization();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(data: LoadData, tell: (interval: Interval) => void) {
    const { plan, thread } = data;
    this.#data = data;
    this.#tell = tell;
    this.#gauges = new Gauges(data.gauges);
    const bells = data.bells.map((memory) => new Doorbell(memory));
    const roster = makeRoster(plan);
    this.#ground = new Ground(plan, roster, new Pattern(), thread, { ...data, bells });
    this.#makePublishers();
    this.#makeSubscribers();
    for (const seat of roster.idle) if (this.#isOwn(seat.index)) this.#addClient('idle', new Idler(), seat.index, seat);
    this.#listen(bells[thread] ?? new Doorbell(allocateDoorbell()));
    this.#timers.add(setInterval(() => this.#gauge(), GAUGE_EVERY_MS));
  }

  async act<Name extends Command['do']>(command: Command & { readonly do: Name }): Promise<Answers[Name]> {
    return (await this.#act(command)) as Answers[Name];
  }

  async #act(command: Command): Promise<Answers[keyof Answers]> {
    switch (command.do) {
      case 'begin':
        this.#begin(command.startUs);
        return null;
      case 'join':
        return this.#join(command.who, command.needsAll);
      case 'leave':
        for (const client of this.#clients[command.who]) client.leave();
        return null;
      case 'publish':
        this.#publish(command.startUs);
        return null;
      case 'stop':
        this.#pacer?.stop();
        for (const publisher of this.#publishers) publisher.stop();
        return null;
      case 'storm':
        for (const client of this.#clients.subscribers) client.drop();
        await this.#join('subscribers', false);
        return null;
      case 'mark':
        return this.#interval(this.#second(), false).sums;
      case 'owed':
        return this.#owed();
      case 'accounts':
        return this.#accounts();
      case 'end':
        await this.#end();
        return null;
    }
  }

  #isOwn(index: number): boolean {
    return threadOf(index, this.#data.plan.threads) === this.#data.thread;
  }

  #makePublishers(): void {
    const { roster, plan, pattern, publishers } = this.#ground;
    for (const seat of roster.publishers) {
      if (!this.#isOwn(seat.index)) continue;
      const { qos, retain, payloadBytes, limit, count } = seat.group;
      const packets = seat.topics.map((topic, i) =>
        streamPacket({ topic, stream: seat.firstStream + i, level: plan.broker.level, qos, retain, payloadBytes }, pattern),
      );
      // The first ones have what does not divide; one that has nothing to send at all takes no part.
      const own = Math.floor(limit / count) + (seat.position < limit % count ? 1 : 0);
      const publisher = new Publisher(this.#ground, seat, packets, limit === 0 ? Number.POSITIVE_INFINITY : own);
      publishers[seat.index] = publisher;
      this.#publishers.push(publisher);
      this.#addClient('publishers', publisher, seat.index, seat);
    }
  }

  #makeSubscribers(): void {
    const { roster, plan } = this.#ground;
    const facts = new StreamFacts(roster);
    for (const seat of roster.subscribers) {
      if (!this.#isOwn(seat.index)) continue;
      const streams = seat.streams.length;
      let share: Ledger | null = null;
      if (seat.share >= 0) {
        share = this.#shares.get(seat.share) ?? new Ledger(streams);
        this.#shares.set(seat.share, share);
      }
      const places = new Places(plan.closed, plan.run, facts, seat);
      const subscriber = new Subscriber(this.#ground, seat, places, new Ledger(streams), share);
      this.#subscribers.push(subscriber);
      this.#addClient('subscribers', subscriber, seat.index, seat, { filters: seat.filters, qos: seat.group.qos });
    }
  }

  #addClient(
    who: Who,
    role: Role,
    index: number,
    seat: ConstructorParameters<typeof Client>[1],
    subscription: ConstructorParameters<typeof Client>[3] = null,
  ): void {
    const { localAddresses } = this.#data.plan.clients;
    const from = localAddresses.length === 0 ? null : localAddresses[index % localAddresses.length]!;
    this.#clients[who].push(new Client(this.#ground, seat, role, subscription, from));
  }

  #begin(startUs: number): void {
    this.#startUs = startUs;
    const next = (second: number): void => {
      const waitMs = Math.max(1, Math.ceil((startUs + (second + 1) * SECOND_US - nowUs()) / 1_000));
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        this.#interval(second, true);
        for (const publisher of this.#publishers) publisher.forgive();
        this.#keepAlive();
        // Seconds that a busy thread slept through are told as part of the one before.
        next(Math.max(second + 1, this.#second()));
      }, waitMs);
      this.#timers.add(timer);
    };
    next(0);
  }

  async #join(who: Who, needsAll: boolean): Promise<Answers['join']> {
    const { plan } = this.#data;
    const perSecond = plan.clients.connectPerSecond / plan.threads;
    const failed = ({ message }: { readonly message: string }): void => this.#ground.trouble(message);
    return joinAll(this.#clients[who], { perSecond, needsAll, signal: this.#givingUp.signal, failed });
  }

  #publish(startUs: number): void {
    const rounds: Round[] = [];
    for (const group of this.#data.plan.publishers) {
      const own = this.#publishers.filter(({ seat }) => seat.group === group);
      if (group.rate === 0) for (const publisher of own) publisher.start(null);
      else if (own.length > 0) {
        const gapUs = SECOND_US / group.rate;
        for (const publisher of own) publisher.start(new Schedule(startUs, gapUs, publisher.seat.position, group.count));
        rounds.push(new Round(own, startUs, gapUs, group.count));
      }
    }
    this.#pacer = new Pacer(rounds, this.#data.plan.spins);
    this.#pacer.start();
  }

  /** Pumps the publishers whenever another thread rings. */
  #listen(bell: Doorbell): void {
    if (this.#data.plan.threads === 1) return;
    // What came in before the bell was armed is looked for once it is.
    const look = (): boolean => {
      for (const publisher of this.#publishers) publisher.pump();
      return false;
    };
    const arm = (): void => {
      // A ring that came in between has kept it awake: what it was about is looked for.
      let sleeps = false;
      while (!sleeps) sleeps = bell.sleepAsync(look, arm);
    };
    arm();
  }

  #keepAlive(): void {
    const now = nowUs();
    for (const clients of Object.values(this.#clients)) for (const client of clients) client.keepAlive(now);
  }

  #second(): number {
    return Math.max(0, Math.floor((nowUs() - this.#startUs) / SECOND_US));
  }

  #sums(): Sums {
    const { sent, acknowledged, received, receivedBytes } = this.#ground.totals;
    return { atUs: nowUs(), sent, acknowledged, received, receivedBytes };
  }

  #interval(second: number, isWhole: boolean): Interval {
    const { deliveries, acknowledgements, connects, totals } = this.#ground;
    const before = this.#utilization;
    this.#utilization = performance.eventLoopUtilization();
    const sums = this.#sums();
    const interval = {
      second,
      isWhole,
      spanS: (sums.atUs - this.#startUs) / SECOND_US - second,
      sums,
      connected: totals.connected,
      deliveries: deliveries.take(),
      acknowledgements: acknowledgements.take(),
      connects: connects.take(),
      busy: performance.eventLoopUtilization(this.#utilization, before).utilization,
    };
    this.#tell(interval);
    return interval;
  }

  #gauge(): void {
    const { thread } = this.#data;
    const { totals } = this.#ground;
    let unacknowledged = 0;
    let spent = 0;
    for (const publisher of this.#publishers) {
      unacknowledged += publisher.inflight?.count ?? 0;
      if (publisher.isSpent) spent++;
    }
    this.#gauges.set(thread, Gauge.SENT, totals.sent);
    this.#gauges.set(thread, Gauge.ACKNOWLEDGED, totals.acknowledged);
    this.#gauges.set(thread, Gauge.RECEIVED, totals.received);
    this.#gauges.set(thread, Gauge.DISTINCT, totals.distinct);
    this.#gauges.set(thread, Gauge.CONNECTED, totals.connected);
    this.#gauges.set(thread, Gauge.UNACKNOWLEDGED, unacknowledged);
    this.#gauges.set(thread, Gauge.SPENT, spent);
  }

  #owed(): number {
    const { audienceOf } = this.#ground.roster;
    let owed = 0;
    for (const { seat, sentOf, refusedOf } of this.#publishers)
      sentOf.forEach((sent, i) => {
        owed += (sent - refusedOf[i]!) * audienceOf[seat.firstStream + i]!;
      });
    return owed;
  }

  #accounts(): ThreadAccounts {
    const { roster, totals, troubles } = this.#ground;
    return {
      publishers: this.#publishers.map(({ seat, sent, acknowledged, refused, inflight, stalls, sentOf, refusedOf }) => {
        const unacknowledged = inflight?.count ?? 0;
        return { index: seat.index, sent, acknowledged, refused, unacknowledged, stalls, sentOf, refusedOf };
      }),
      subscribers: this.#subscribers.map((subscriber) => {
        const { seat, received, duplicated, redelivered, outOfOrder, corrupt, misdelivered, foreign, sessionsLost } = subscriber;
        const { ledger } = subscriber;
        const distinctOf = Float64Array.from(seat.streams, (_, place) => ledger.distinct(place));
        const counts = { received, duplicated, redelivered, outOfOrder, corrupt, misdelivered, foreign, sessionsLost };
        return { index: seat.index, ...counts, distinctOf, gaps: ledger.gaps };
      }),
      shares: [...this.#shares].map(([share, ledger]) => ({
        share,
        partsOf: Array.from(roster.shares[share]!.streams, (_, place) => partsOf(ledger.coverage(place))),
      })),
      connectionsLost: totals.connectionsLost,
      troubles,
    };
  }

  async #end(): Promise<void> {
    const { cleansUp, clients } = this.#data.plan;
    this.#givingUp.abort();
    this.#pacer?.stop();
    for (const timer of this.#timers) clearTimeout(timer);
    const all = Object.values(this.#clients).flat();
    for (const client of all) client.leave();
    if (!cleansUp || clients.clean) return;
    // A connection with a clean session that ends takes the old session with it. A broker that is gone is not waited for.
    await Promise.race([Promise.all(all.map((client) => client.open(true).catch(() => {}))), sleep(CLEAN_UP_MS)]);
    for (const client of all) client.leave();
  }
}

/** A client that only stays. */
class Idler implements Role {
  joined(): void {}
  left(): void {}

  work(framer: Parameters<Role['work']>[0], cold: Parameters<Role['work']>[1]): number {
    let said = framer.next();
    for (; said > 0; said = framer.next()) cold(framer);
    return said;
  }
}
