// The directory among hosts that answer late: random claims, ends and moves that cross each other on their way. A session has one host at a time, every claim is answered once,
// and no handle is given twice while it is live.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Control } from '../../engine/peers/control.ts';
import { Directory } from '../../engine/peers/directory.ts';
import { Roster, rosterBytes } from '../../engine/peers/roster.ts';
import { check } from '../check.ts';

const SHARDS = 3;
const CLIENTS = ['a', 'b', 'c', 'd'] as const;
const USERS = ['ada', 'bob'] as const;

type Ask = Extract<Control, { kind: 'claim' }>['claim'];
type Message =
  | Control
  | { readonly kind: 'handed'; readonly handle: number; readonly clientId: string; readonly request: number };

/** Hosts and the ways between them and the directory: each way keeps its order, and nothing else does. */
class World {
  readonly roster: Roster;
  readonly directory: Directory;
  /** What is on its way, by way: `to the directory from 1`, `from the directory to 1`, `1 to 2`. */
  readonly ways = new Map<string, Message[]>();
  /** Sessions by their host. */
  readonly hosted: Map<number, string>[] = Array.from({ length: SHARDS }, () => new Map());
  /** Whose a session is, by its handle. */
  readonly users = new Map<number, string | null>();
  readonly answers = new Map<number, string>();
  readonly asked = new Map<number, Ask>();
  /** No move may begin. */
  isHeld = false;
  /** Claims of clients that have gone. */
  readonly withdrawn = new Set<number>();
  #request = 1;

  constructor(sessionsMax: number) {
    this.roster = new Roster(new SharedArrayBuffer(rosterBytes(sessionsMax)));
    this.directory = new Directory(sessionsMax, this.roster, (shard, control) => this.#put(`directory > ${shard}`, control));
  }

  hold(isHeld: boolean, clientId: string | null = null): void {
    this.isHeld = isHeld && clientId === null;
    if (isHeld) this.directory.hold(clientId);
    else this.directory.release();
  }

  claim(shard: number, clientId: string, username: string, clean: boolean): void {
    const request = this.#request++;
    const claim = { shard, request, clientId, username, clean };
    this.asked.set(request, claim);
    this.#put(`${shard} > directory`, { kind: 'claim', claim });
  }

  /** A client goes that has no answer, as far as its shard knows. */
  withdraw(at: number): void {
    const open = [...this.asked.keys()].filter((request) => !this.answers.has(request) && !this.withdrawn.has(request));
    if (open.length === 0) return;
    const request = open[at % open.length]!;
    const { shard } = this.asked.get(request)!;
    this.withdrawn.add(request);
    this.#put(`${shard} > directory`, { kind: 'withdraw', shard, request });
  }

  /** A session ends on its own: it has expired, or its connection was all that it had. */
  end(shard: number, at: number): void {
    const handles = [...this.hosted[shard]!.keys()];
    if (handles.length > 0) this.#end(shard, handles[at % handles.length]!);
  }

  /** Delivers the first message of one way. */
  deliver(at: number): boolean {
    const ways = [...this.ways].filter(([, messages]) => messages.length > 0);
    if (ways.length === 0) return false;
    const [way, messages] = ways[at % ways.length]!;
    const message = messages.shift()!;
    if (way.endsWith('directory')) this.#decide(message);
    else this.#host(Number(way.at(-1)), message);
    this.judge();
    return true;
  }

  judge(): void {
    const handles: number[] = [];
    const clients: string[] = [];
    for (const sessions of this.hosted) {
      handles.push(...sessions.keys());
      clients.push(...sessions.values());
    }
    for (const messages of this.ways.values()) {
      for (const message of messages) {
        if (message.kind === 'handed') {
          handles.push(message.handle);
          clients.push(message.clientId);
        } else if (message.kind === 'fresh') {
          handles.push(message.handle);
          clients.push(this.asked.get(message.request)!.clientId);
        }
      }
    }
    if (new Set(handles).size !== handles.length) throw new Error(`a handle is given twice: ${handles}`);
    if (new Set(clients).size !== clients.length) throw new Error(`a session has two hosts: ${clients}`);
  }

  #put(way: string, message: Message): void {
    if (this.isHeld && message.kind === 'release') throw new Error('a move begins while none may');
    const known = this.ways.get(way);
    if (known === undefined) this.ways.set(way, [message]);
    else known.push(message);
  }

  #decide(message: Message): void {
    if (message.kind === 'claim') this.directory.claim(message.claim);
    else if (message.kind === 'withdraw') this.directory.withdraw(message.shard, message.request);
    else if (message.kind === 'ended') this.directory.ended(message.handle);
    else if (message.kind === 'kept') this.directory.kept(message.handle, message.host);
    else if (message.kind === 'arrived') this.directory.arrived(message.handle);
    else throw new Error(`the directory got ${message.kind}`);
  }

  #host(shard: number, message: Message): void {
    const sessions = this.hosted[shard]!;
    switch (message.kind) {
      case 'fresh': {
        const claim = this.asked.get(message.request)!;
        sessions.set(message.handle, claim.clientId);
        this.users.set(message.handle, claim.username);
        if (this.roster.owner(message.handle) !== shard) throw new Error('the roster names another host');
        this.#answer(message.request, 'fresh');
        return;
      }
      case 'withdrawn':
        if (!this.withdrawn.has(message.request)) throw new Error('a claim is let go whose client is there');
        this.#answer(message.request, message.kind);
        return;
      case 'full':
      case 'denied':
        this.#answer(message.request, message.kind);
        return;
      case 'yours': {
        const claim = this.asked.get(message.request)!;
        if (sessions.get(message.handle) !== claim.clientId) {
          // It has ended meanwhile, and the directory will know before it hears this.
          this.#put(`${shard} > directory`, { kind: 'claim', claim });
          return;
        }
        if (this.users.get(message.handle) !== claim.username) {
          this.#answer(message.request, 'denied');
          return;
        }
        if (!claim.clean) {
          this.#answer(message.request, 'yours');
          return;
        }
        this.#end(shard, message.handle);
        this.#put(`${shard} > directory`, { kind: 'claim', claim });
        return;
      }
      case 'release': {
        const { handle, claim } = message;
        const clientId = sessions.get(handle);
        if (clientId === undefined) return; // it has ended, and the directory is on its way to know
        if (this.users.get(handle) !== claim.username) {
          this.#put(`${shard} > directory`, { kind: 'kept', handle, host: shard });
          return;
        }
        if (claim.clean) {
          this.#end(shard, handle);
          return;
        }
        sessions.delete(handle);
        this.roster.move(handle, claim.shard);
        this.#put(`${shard} > ${claim.shard}`, { kind: 'handed', handle, clientId, request: claim.request });
        return;
      }
      case 'handed':
        sessions.set(message.handle, message.clientId);
        this.#put(`${shard} > directory`, { kind: 'arrived', handle: message.handle });
        this.#answer(message.request, 'moved');
        return;
      default:
        throw new Error(`a host got ${message.kind}`);
    }
  }

  #end(shard: number, handle: number): void {
    this.hosted[shard]!.delete(handle);
    this.roster.end(handle);
    this.#put(`${shard} > directory`, { kind: 'ended', handle, shard });
  }

  #answer(request: number, how: string): void {
    if (this.answers.has(request)) throw new Error(`request ${request} was answered twice: ${this.answers.get(request)}, ${how}`);
    this.answers.set(request, how);
  }
}

const shard = fc.nat(SHARDS - 1);
const act = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.tuple(shard, fc.constantFrom(...CLIENTS), fc.constantFrom(...USERS), fc.boolean()).map(
      ([to, client, user, clean]) =>
        (world: World) =>
          world.claim(to, client, user, clean),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(shard, fc.nat(3)).map(
      ([of, at]) =>
        (world: World) =>
          world.end(of, at),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.boolean(), fc.constantFrom(null, ...CLIENTS)).map(
      ([isHeld, client]) =>
        (world: World) =>
          world.hold(isHeld, client),
    ),
  },
  { weight: 1, arbitrary: fc.nat(9).map((at) => (world: World) => world.withdraw(at)) },
  { weight: 8, arbitrary: fc.nat(30).map((at) => (world: World) => void world.deliver(at)) },
);

describe('the directory', () => {
  test.each([64, 2])('gives each session one host at a time and answers every claim once, with room for %d', (sessionsMax) =>
    check(
      fc.property(fc.array(act, { maxLength: 200, size: 'max' }), (acts) => {
        const world = new World(sessionsMax);
        for (const run of acts) run(world);
        while (world.deliver(0));
        if (world.isHeld && world.directory.moving !== 0) throw new Error('what had begun to move before does not arrive');
        world.hold(false);
        while (world.deliver(0));
        if (world.directory.moving !== 0) throw new Error(`${world.directory.moving} are moving when all have arrived`);
        for (const request of world.asked.keys())
          if (!world.answers.has(request)) throw new Error(`request ${request} was never answered`);
        const live = world.hosted.reduce((sum, sessions) => sum + sessions.size, 0);
        if (world.directory.count !== live) throw new Error(`${world.directory.count} are known, ${live} are hosted`);
        if (live > sessionsMax) throw new Error(`${live} sessions where ${sessionsMax} may be`);
        world.hosted.forEach((sessions, at) => {
          for (const handle of sessions.keys())
            if (world.roster.owner(handle) !== at) throw new Error('the roster names another');
        });
        const isFull = sessionsMax < CLIENTS.length;
        if (!isFull && [...world.answers.values()].includes('full')) throw new Error('refused while there was room');
      }),
      1_000,
    ),
  );

  test('enters what a store remembers once', () => {
    const world = new World(2);
    const first = world.directory.recover('a', 0);
    expect(world.directory.recover('a', 0)).toBe(-1);
    expect(world.directory.recover('b', 0)).not.toBe(first);
    expect(world.directory.recover('c', 0)).toBe(-1);
    expect(world.directory.count).toBe(2);
  });

  test('takes a handle back once', () => {
    const world = new World(4);
    const handle = world.directory.recover('a', 0);
    world.directory.ended(handle);
    world.directory.ended(handle);
    expect(world.directory.recover('b', 0)).not.toBe(world.directory.recover('c', 0));
    expect(world.directory.count).toBe(2);
  });

  test('gives a handle again only in another generation', () => {
    const world = new World(1);
    const given: number[] = [];
    for (let times = 0; times < 64; times++) {
      const handle = world.directory.recover('a', 0);
      given.push(handle);
      world.roster.end(handle);
      world.directory.ended(handle);
    }
    expect(new Set(given).size).toBe(64);
  });
});
