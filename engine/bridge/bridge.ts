// One bridge: link after link to its remote broker, with a wait between two of them, until it is stopped. Owns when and where to, and what is told of it; a link itself is link.ts.
import { readFile } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { hostname } from 'node:os';
import type { BridgeFigures } from '../administration/bridge-figures.ts';
import { publishRetained } from '../administration/sys.ts';
import { type BridgeTopic, parseTopicLine } from '../config/bridge-topics.ts';
import { type BridgeConfig, parseAddress, type RemoteAddress } from '../config/bridges.ts';
import type { Shard } from '../routing/shard.ts';
import { Timer } from '../timers.ts';
import { Backoff } from './backoff.ts';
import { BridgeLink, type LinkEnd } from './link.ts';
import { LocalSession } from './local-session.ts';
import type { LoopTag } from './loop-tag.ts';
import type { RemoteIdentity } from './packets.ts';
import { ProtocolChoice } from './protocol-choice.ts';
import type { RelayTotals } from './relay.ts';
import type { RemoteTrust } from './remote-socket.ts';
import { tellEnd } from './tell.ts';
import { TopicMap } from './topic-map.ts';

/** How long a look at the first address may take. */
const LOOK_MS_MAX = 5_000;
const LOOK_EVERY_MS_MAX = 3_600_000;

export class Bridge {
  readonly config: BridgeConfig;
  readonly local: LocalSession;
  readonly #shard: Shard;
  readonly #tag: LoopTag;
  readonly #topics: readonly BridgeTopic[];
  readonly #addresses: readonly RemoteAddress[];
  readonly #out: TopicMap;
  readonly #in: TopicMap;
  readonly #choice: ProtocolChoice;
  readonly #backoff: Backoff;
  readonly #totals: RelayTotals = { messagesOut: 0, messagesIn: 0, refusedOut: 0, refusedIn: 0, looped: 0 };
  readonly #retry: Timer;
  readonly #look: Timer;
  #address = 0;
  /** Where the last link that stood led to; -1: not known. */
  #joinedAddress = -1;
  /** Between two looks at whether the first address is there again; longer after each that was so in vain. */
  #lookMs: number;
  #link: BridgeLink | null = null;
  /** Monotonic ms since when the link stands; -1: it does not. */
  #standsSinceMs = -1;
  #links = 0;
  /** What was told last of why there is no link: told once, until it changes. */
  #told = '';
  #isStopping = false;
  /** Why the link was left of this broker's own accord. */
  #isReturning = false;
  #left: (() => void) | null = null;
  #looking: Socket | null = null;

  constructor(shard: Shard, config: BridgeConfig, tag: LoopTag) {
    this.config = config;
    this.#shard = shard;
    this.#tag = tag;
    const { limits } = shard;
    this.#topics = config.topics.map((line) => parseTopicLine(line, limits)).filter((topic) => typeof topic !== 'string');
    this.#addresses = config.addresses.map((text) => parseAddress(text, config.transport)).filter((address) => address !== null);
    this.local = new LocalSession(shard, config, this.#topics);
    this.#out = new TopicMap(this.#topics, 'out');
    this.#in = new TopicMap(this.#topics, 'in');
    this.#choice = new ProtocolChoice(config);
    this.#backoff = new Backoff(config.restartTimeoutS, config.restartTimeoutMaxS, shard.random);
    this.#lookMs = config.restartTimeoutMaxS * 1_000;
    this.#retry = new Timer(() => this.#open());
    this.#look = new Timer(() => this.#lookForFirst());
  }

  get figures(): BridgeFigures {
    const { name } = this.config;
    return { name, isConnected: this.#standsSinceMs >= 0, reconnects: Math.max(0, this.#links - 1), ...this.#totals };
  }

  /** Before the first listener opens. @throws Error */
  async prepare(): Promise<void> {
    await this.local.prepare();
    this.#notify(false);
  }

  start(): void {
    this.#open();
  }

  /** Resolves when both sides of the link are closed. */
  stop(): Promise<void> {
    this.#halt();
    if (this.#link === null) return Promise.resolve();
    return new Promise((resolve) => {
      this.#left = resolve;
      this.#link!.leave();
    });
  }

  /** Closes the socket at once: the process is about to end. */
  abandon(): void {
    this.#halt();
    this.#link?.abandon();
  }

  #halt(): void {
    this.#isStopping = true;
    const { timers } = this.#shard;
    timers.cancel(this.#retry);
    timers.cancel(this.#look);
    this.#looking?.destroy();
  }

  /** Begins a link; what goes wrong before there is one is told, and tried again. */
  #open(): void {
    this.#prepareLink().then(
      (files) => {
        if (!this.#isStopping) this.#begin(files);
      },
      (error: NodeJS.ErrnoException) => {
        if (this.#isStopping) return;
        this.#tell(`file ${error.code}`, () =>
          this.#shard.log.error('a bridge cannot begin: a file that it names cannot be used, or its session cannot be made', {
            bridge: this.config.name,
            code: error.code ?? 'UNKNOWN',
          }),
        );
        this.#wait();
      },
    );
  }

  async #prepareLink(): Promise<{ trust: RemoteTrust | null; identity: RemoteIdentity }> {
    // An operator may have erased it.
    if (this.local.session === null) await this.local.prepare();
    const { config } = this;
    const read = (file: string) => (file === '' ? null : readFile(file));
    const { caFile, certFile, keyFile, remotePasswordFile } = config;
    const [ca, cert, key, password] = await Promise.all([caFile, certFile, keyFile, remotePasswordFile].map(read));
    return {
      trust: config.transport === 'tcp' ? null : { ca: ca!, cert: cert!, key: key! },
      identity: {
        clientId: config.remoteClientid === '' ? `${hostname()}.${config.name}` : config.remoteClientid,
        password: password == null ? null : withoutLineEnd(password),
      },
    };
  }

  #begin({ trust, identity }: { trust: RemoteTrust | null; identity: RemoteIdentity }): void {
    const address = this.#addresses[this.#address]!;
    const { config, local } = this;
    try {
      this.#link = new BridgeLink({
        ...{ config, topics: this.#topics, address, trust, identity, manner: this.#choice.manner, local },
        isElsewhere: this.#addresses.length > 1 && this.#joinedAddress !== this.#address,
        ...{ out: this.#out, in: this.#in, tag: this.#tag, totals: this.#totals },
        stands: (level, refused) => this.#stands(level, refused),
        over: (end) => this.#over(end),
      });
    } catch (error) {
      // What OpenSSL makes of a certificate or key is found out here.
      this.#over({ kind: 'unreachable', code: (error as NodeJS.ErrnoException).code ?? 'UNKNOWN' });
    }
  }

  #stands(level: number, refused: number): void {
    const { log, clock, timers } = this.#shard;
    const bridge = this.config.name;
    this.#choice.accepted();
    this.#standsSinceMs = clock.monotonicMs();
    this.#links++;
    this.#joinedAddress = this.#address;
    if (this.#address === 0) this.#lookMs = this.config.restartTimeoutMaxS * 1_000;
    this.#told = '';
    log.info('a bridge stands', { bridge, level });
    if (refused > 0) log.warn('the remote broker of a bridge refuses some of its topic filters', { bridge, refused });
    this.#notify(true);
    if (!this.config.roundRobin && this.#address > 0) timers.set(this.#look, this.#lookMs);
  }

  #over(end: LinkEnd): void {
    this.#link = null;
    const { clock, timers } = this.#shard;
    timers.cancel(this.#look);
    const stood = this.#standsSinceMs >= 0;
    if (stood) {
      this.#backoff.stoodMs(clock.monotonicMs() - this.#standsSinceMs);
      this.#standsSinceMs = -1;
      this.#notify(false);
    }
    if (this.#isStopping) {
      this.#left?.();
      return;
    }
    // An operator has erased it: what is published until the next link is to be kept in a new one.
    if (end.kind === 'local' && this.local.session === null) this.local.prepare().catch(() => {});
    if (end.kind === 'silent') this.#choice.closedSilently();
    const isTriedAtOnce = (end.kind === 'version' && this.#choice.refused()) || this.#isReturning;
    this.#isReturning = false;
    if (!isTriedAtOnce) {
      const { name } = this.config;
      this.#tell(Object.values(end).join(' '), () => tellEnd(this.#shard.log, name, end));
      this.#nextAddress(stood);
      this.#wait();
    } else {
      timers.set(this.#retry, 0);
    }
  }

  /** Where to the next link goes. After one that stood, the same address is tried first; without round robin, the first one. */
  #nextAddress(stood: boolean): void {
    if (!stood) this.#address = (this.#address + 1) % this.#addresses.length;
    else if (!this.config.roundRobin) this.#address = 0;
  }

  #wait(): void {
    this.#shard.timers.set(this.#retry, this.#backoff.nextMs());
  }

  /** The link stands with an address that only stands in for the first one: whether that is there again. */
  #lookForFirst(): void {
    const { timers, clock } = this.#shard;
    const { host, port } = this.#addresses[0]!;
    const socket = createConnection({ host, port });
    this.#looking = socket;
    const cancel = clock.after(LOOK_MS_MAX, () => socket.destroy());
    let isThere = false;
    socket.once('connect', () => {
      isThere = true;
      socket.destroy();
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      cancel();
      this.#looking = null;
      if (this.#isStopping || this.#standsSinceMs < 0) return;
      if (!isThere) {
        timers.set(this.#look, this.#lookMs);
        return;
      }
      this.#address = 0;
      this.#isReturning = true;
      // A proxy may accept for a broker that is not there.
      this.#lookMs = Math.min(LOOK_EVERY_MS_MAX, this.#lookMs * 2);
      this.#link?.leave();
    });
  }

  #tell(what: string, tell: () => void): void {
    if (this.#told === what) return;
    this.#told = what;
    tell();
  }

  #notify(stands: boolean): void {
    const { notifications, name } = this.config;
    if (notifications) publishRetained(this.#shard, `$SYS/broker/connection/${name}/state`, stands ? '1' : '0');
  }
}

/** A password without the line end that editors put behind it. */
function withoutLineEnd(password: Buffer): Buffer {
  let to = password.length;
  if (password[to - 1] === 0x0a) to--;
  if (password[to - 1] === 0x0d) to--;
  return password.subarray(0, to);
}
