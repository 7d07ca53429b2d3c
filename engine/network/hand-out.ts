// Connections that one thread accepts and several serve: shard 0 hands each one to a shard in turn, over a channel to each of the
// others. For runtimes on which several threads cannot listen on one TCP port by themselves.
//
//   kernel ─► shard 0: accept, choose ─┬─► its own listener
//                                      └─► channel ─► worker: the listener of the same name
//
// Invariant: a connection has one owner at any time, and whoever cannot pass it on serves it or closes it. Nobody reads from it
// before the listener that it is for.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Channel, channelsWork } from './channel.ts';
import type { NodeHandle } from './node-handles.ts';

/** Gets a connection, which is the taker's from then on. */
export type Take = (handle: NodeHandle) => void;

/** What a worker joins by: plain data that can be cloned. */
export interface HandOutEnd {
  readonly path: string;
  readonly index: number;
}

/** The part of a shard: the giver's in shard 0, a receiver's in the others. */
export type HandOut = HandOutGiver | HandOutReceiver;

/** Connections that are on the way to a shard, or wait for it; what is more stays with shard 0. */
const UNDER_WAY_MAX = 1_024;

/** What fits `sun_path` on every system. */
const SOCKET_PATH_BYTES_MAX = 103;

/** Whether TCP connections must be handed out, because node cannot listen with SO_REUSEPORT here (it can from 22.12 on, on Linux). */
export function needsHandOut(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  return process.platform !== 'linux' || major < 22 || (major === 22 && minor < 12);
}

/** The listeners of one shard by name, and what has come for those that are not there yet. */
class Takers {
  readonly #takers = new Map<string, Take>();
  /** Names of listeners that are closed. */
  readonly #closed = new Set<string>();
  #early: { readonly name: string; readonly handle: NodeHandle }[] = [];
  #isOver = false;

  /** @returns ends it: what still comes for this name is closed */
  add(name: string, take: Take): () => void {
    this.#takers.set(name, take);
    this.#closed.delete(name);
    const early = this.#early;
    this.#early = early.filter((one) => one.name !== name);
    for (const one of early) if (one.name === name) take(one.handle);
    return () => {
      this.#takers.delete(name);
      this.#closed.add(name);
    };
  }

  pass(name: string, handle: NodeHandle): void {
    const take = this.#takers.get(name);
    if (take !== undefined) take(handle);
    else if (this.#isOver || this.#closed.has(name) || this.#early.length >= UNDER_WAY_MAX) handle.close();
    else this.#early.push({ name, handle });
  }

  close(): void {
    this.#isOver = true;
    for (const { handle } of this.#early.splice(0)) handle.close();
  }
}

/** A worker, as shard 0 sees it. */
interface Place {
  state: 'awaited' | 'joined' | 'gone';
  channel: Channel | null;
  readonly waiting: { readonly name: string; readonly handle: NodeHandle }[];
  underWay: number;
}

export class HandOutGiver {
  readonly kind = 'giver';
  readonly #server: Server;
  readonly #folder: string;
  readonly #choose: () => number;
  readonly #own = new Takers();
  /** By index; the first one is shard 0's and not used. */
  readonly #places: readonly Place[];
  /** Ends of which it is not known yet whose they are. */
  readonly #strangers = new Set<Channel>();
  #door: Promise<void> | null = null;

  constructor(server: Server, folder: string, count: number, choose: () => number) {
    this.#server = server;
    this.#folder = folder;
    this.#choose = choose;
    this.#places = Array.from({ length: count }, () => ({ state: 'awaited', channel: null, waiting: [], underWay: 0 }));
    server.on('connection', (socket) => this.#greet(socket));
  }

  /** For worker `index`, from 1: what it joins by. */
  end(index: number): HandOutEnd {
    return { path: socketPath(this.#folder), index };
  }

  /** What is for the listener of this name in shard 0. @returns ends it */
  receive(name: string, take: Take): () => void {
    return this.#own.add(name, take);
  }

  /** Passes an accepted connection to the shard whose turn it is. */
  give(name: string, handle: NodeHandle): void {
    const index = this.#choose();
    const place = index === 0 ? undefined : this.#places[index];
    if (place === undefined || place.state === 'gone' || place.underWay >= UNDER_WAY_MAX) {
      this.#own.pass(name, handle);
      return;
    }
    place.underWay++;
    if (place.channel === null) place.waiting.push({ name, handle });
    else this.#send(place, place.channel, name, handle);
  }

  /** Closes the connections that wait. Those that the other shards have not read yet are still theirs. */
  async close(): Promise<void> {
    const channels = [...this.#strangers];
    for (const place of this.#places) {
      place.state = 'gone';
      for (const { handle } of place.waiting.splice(0)) handle.close();
      if (place.channel !== null) channels.push(place.channel);
      place.channel = null;
    }
    this.#own.close();
    await Promise.all([this.#shutDoor(), ...channels.map((channel) => channel.close())]);
  }

  /** The first thing that an end says is whose it is. */
  #greet(socket: Socket): void {
    let place: Place | undefined;
    const channel = Channel.accepted(socket, {
      message: (text, handle) => {
        handle?.close();
        if (channel === null || place !== undefined) return;
        this.#strangers.delete(channel);
        place = this.#places[Number(text)];
        if (place?.state === 'awaited') this.#join(place, channel);
        else void channel.close();
      },
      ended: () => {
        if (channel !== null) this.#strangers.delete(channel);
        if (place?.channel === channel) this.#lose(place);
      },
    });
    if (channel !== null) this.#strangers.add(channel);
  }

  #join(place: Place, channel: Channel): void {
    place.state = 'joined';
    place.channel = channel;
    for (const { name, handle } of place.waiting.splice(0)) this.#send(place, channel, name, handle);
    const isComplete = this.#places.every(({ state }, index) => index === 0 || state !== 'awaited');
    if (isComplete) void this.#shutDoor();
  }

  /** The worker has gone: its turns are shard 0's. */
  #lose(place: Place | undefined): void {
    if (place === undefined) return;
    place.state = 'gone';
    place.channel = null;
  }

  #send(place: Place, channel: Channel, name: string, handle: NodeHandle): void {
    const isUnderWay = channel.send(name, handle, (settled, isSent) => {
      place.underWay--;
      if (isSent) settled.close();
      else this.#own.pass(name, settled);
    });
    if (isUnderWay) return;
    place.underWay--;
    this.#own.pass(name, handle);
  }

  /** Nobody else can join. */
  #shutDoor(): Promise<void> {
    this.#door ??= new Promise((resolve) => {
      this.#server.close();
      rm(this.#folder, { recursive: true, force: true }).then(resolve, () => resolve());
    });
    return this.#door;
  }
}

export class HandOutReceiver {
  readonly kind = 'receiver';
  readonly #takers: Takers;
  readonly #channel: Channel;

  constructor(takers: Takers, channel: Channel) {
    this.#takers = takers;
    this.#channel = channel;
  }

  /** What is handed to the listener of this name in this shard, also what came before it was there. @returns ends it */
  receive(name: string, take: Take): () => void {
    return this.#takers.add(name, take);
  }

  /** Closes the connections that are on their way here; nothing of it keeps the thread alive afterwards. */
  close(): Promise<void> {
    this.#takers.close();
    return this.#channel.close();
  }
}

/**
 * For shard 0, before its listeners: `count` shards, itself included.
 * @param choose index of the shard that gets the next connection, from 0 to `count` - 1; in turn unless given
 * @throws Error in one line
 */
export async function openHandOut(count: number, choose: () => number = inTurn(count)): Promise<HandOutGiver> {
  if (!channelsWork || process.platform === 'win32') {
    throw new Error('connections cannot be handed to other threads on this system or version of node; set threads = 1');
  }
  const parent = tmpdir();
  const server = createServer({ pauseOnConnect: true });
  let folder = '';
  try {
    // Only this user may enter, and when all have joined it is gone.
    folder = await mkdtemp(join(parent, 'lethe-'));
    const path = socketPath(folder);
    // libuv cuts a longer one short on Node 20, and then it lies elsewhere.
    if (Buffer.byteLength(path) > SOCKET_PATH_BYTES_MAX) throw Object.assign(new Error(), { code: 'ENAMETOOLONG' });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => resolve());
    });
    await chmod(path, 0o600);
  } catch (error) {
    server.close();
    if (folder !== '') await rm(folder, { recursive: true, force: true });
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(`${parent} cannot hold a socket (${code ?? 'unknown'}); set TMPDIR to a short local path`);
  }
  server.on('error', () => {});
  return new HandOutGiver(server, folder, count, choose);
}

/**
 * For a worker, before its listeners.
 * @throws Error in one line: shard 0 has stopped already
 */
export async function joinHandOut(end: HandOutEnd): Promise<HandOutReceiver> {
  const takers = new Takers();
  const channel = await Channel.connect(end.path, {
    message(name, handle) {
      if (handle !== null) takers.pass(name, handle);
    },
    ended: () => {},
  }).catch((error: Error) => {
    throw new Error(`shard ${end.index} cannot join shard 0 (${error.message})`);
  });
  channel.say(String(end.index));
  return new HandOutReceiver(takers, channel);
}

function inTurn(count: number): () => number {
  let next = 0;
  return () => {
    const index = next;
    next = index + 1 === count ? 0 : index + 1;
    return index;
  };
}

function socketPath(folder: string): string {
  return join(folder, 'hand-out');
}
