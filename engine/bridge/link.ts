// One link of a bridge, from the first byte to the remote broker to the last: CONNECT there, then CONNECT here, then everything that passes (relay.ts), until one of the two sides ends, which ends the other. The next link is
// another object: nothing of this one is left but what the two sessions remember.
//
//   OPENING ─► HELLO ─► JOINING ─► RELAYING ─► OVER
//    socket    CONNECT   session    packets
//               there     here
import { Frame, Framer } from '../../protocol/framer.ts';
import { fault, Level, PacketType, Reason, reasonOf } from '../../protocol/packet.ts';
import { type ConnackPacket, decodeConnack, decodeServerDisconnect, decodeSuback } from '../../protocol/server-packets.ts';
import type { BridgeTopic } from '../config/bridge-topics.ts';
import { type BridgeConfig, localListenerOf, type RemoteAddress } from '../config/bridges.ts';
import type { Shard } from '../routing/shard.ts';
import { acceptOwnLink } from '../routing/sink.ts';
import { Timer } from '../timers.ts';
import type { LocalSession } from './local-session.ts';
import type { LoopTag } from './loop-tag.ts';
import { type OwnEnd, OwnLink } from './own-link.ts';
import {
  connectLocal,
  connectRemote,
  DISCONNECT,
  notification,
  PINGREQ,
  type RemoteIdentity,
  subscribe,
  type Wish,
  wishesOf,
} from './packets.ts';
import type { Manner } from './protocol-choice.ts';
import { NOT_RELAYED, Relay, type RelayTerms, type RelayTotals } from './relay.ts';
import { type RemoteEvents, RemoteSocket, type RemoteTrust } from './remote-socket.ts';
import type { TopicMap } from './topic-map.ts';

/** Why a link is over. */
export type LinkEnd =
  /** No connection came about, or no certificate was found good: code of node or OpenSSL. */
  | { readonly kind: 'unreachable'; readonly code: string }
  /** It was closed before CONNACK. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'version' }
  | { readonly kind: 'refused'; readonly reason: Reason }
  | { readonly kind: 'lost'; readonly code: string }
  | { readonly kind: 'mute' }
  /** DISCONNECT of the remote broker. */
  | { readonly kind: 'dismissed'; readonly reason: number }
  /** The remote broker has broken the protocol. */
  | { readonly kind: 'wrong'; readonly reason: Reason }
  /** One of the two brokers takes no more messages for now. */
  | { readonly kind: 'full'; readonly reason: Reason }
  /** This broker has ended its own side. */
  | { readonly kind: 'local' }
  | { readonly kind: 'left' };

export interface LinkParts {
  readonly config: BridgeConfig;
  readonly topics: readonly BridgeTopic[];
  readonly address: RemoteAddress;
  readonly trust: RemoteTrust | null;
  readonly identity: RemoteIdentity;
  readonly manner: Manner;
  /** Whether the link before this one led to another broker, as far as is known: the identifiers of the two have nothing to do with each other. */
  readonly isElsewhere: boolean;
  readonly local: LocalSession;
  readonly out: TopicMap;
  readonly in: TopicMap;
  readonly tag: LoopTag;
  readonly totals: RelayTotals;
  /** The remote broker has accepted, and everything is subscribed to. `refused`: filters that it did not accept. */
  stands(level: Level, refused: number): void;
  /** Once, and last: both sides are closed. */
  over(end: LinkEnd): void;
}

const Phase = { OPENING: 0, HELLO: 1, JOINING: 2, RELAYING: 3, OVER: 4 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

/** From the first byte to the last SUBACK. */
const OPEN_MS_MAX = 20_000;
/** For the answer to a PINGREQ. */
const PING_MS_MAX = 15_000;
/** Between two looks at whether a broker that is full has room again. */
const LOOK_MS = 1_000;
/** For a remote broker to close after our DISCONNECT. */
const LEAVE_MS_MAX = 2_000;
/** Room in a packet for what a message gains on its way besides its name: tag and length fields. */
const GAIN_BYTES = 64;
const PACKET_BYTES_MIN = 64;
/** MQTT 3.1.1 has no Receive Maximum: Mosquitto's. What exceeds that, Mosquitto drops, and answers as if it had not. */
const UNTOLD_RECEIVE_MAXIMUM = 20;
const LOCAL_SUBSCRIBE_ID = 1;
const NO_BYTES = new Uint8Array(0);

export class BridgeLink implements OwnEnd, RemoteEvents {
  readonly #parts: LinkParts;
  readonly #shard: Shard;
  readonly #socket: RemoteSocket;
  readonly #own: OwnLink;
  readonly #fromRemote: Framer;
  /** What the broker writes to its own client is as large as it is. */
  readonly #fromLocal = new Framer(Number.MAX_SAFE_INTEGER);
  readonly #timer: Timer;
  readonly #fullTimer = new Timer(() => this.#lookForRoom());
  #phase: Phase = Phase.OPENING;
  #connack: ConnackPacket | null = null;
  #relay: Relay | null = null;
  /** What came from the remote broker before this one was ready for it. */
  #early: Uint8Array = NO_BYTES;
  #end: LinkEnd | null = null;
  #isRemoteOpen = true;
  #isLocalOpen = false;
  #hasSubscribed = false;
  #stands = false;
  #isDelivering = false;
  #isAskedToDeliver = false;
  #lastReceivedMs = 0;
  #pingedMs = -1;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    const { shard } = parts.local;
    this.#shard = shard;
    this.#fromRemote = new Framer(shard.limits.connectBytesMax);
    this.#own = new OwnLink(this, shard.clock, localListenerOf(parts.config));
    this.#timer = new Timer(() => this.#alarm());
    // Throws where OpenSSL makes nothing of a certificate or key: nothing may be under way then.
    this.#socket = new RemoteSocket(parts.address, parts.trust, this);
    shard.timers.set(this.#timer, OPEN_MS_MAX);
  }

  /** Ends both sides in order. */
  leave(): void {
    if (this.#phase === Phase.OVER) return;
    const isConnected = this.#phase === Phase.JOINING || this.#phase === Phase.RELAYING;
    if (isConnected) {
      const { notificationTopic } = this.#parts.config;
      if (notificationTopic !== '') this.#socket.write(notification(this.#level, notificationTopic, false));
      this.#socket.write(DISCONNECT);
    }
    this.#finish({ kind: 'left' }, isConnected);
  }

  /** Closes the socket at once, without a word. */
  abandon(): void {
    this.#finish({ kind: 'left' }, false);
  }

  // From the remote side.

  opened(): void {
    if (this.#phase !== Phase.OPENING) return;
    this.#phase = Phase.HELLO;
    const { config, manner, identity, tag } = this.#parts;
    const { receiveMaximum, packetBytesMax } = this.#shard.limits;
    const gain = this.#parts.in.growthBytesMax + tag.in.length + GAIN_BYTES;
    const takes = {
      receiveMaximum: Math.min(config.inflightMax, receiveMaximum),
      maximumPacketSize: Math.max(PACKET_BYTES_MIN, packetBytesMax - gain),
    };
    this.#socket.write(connectRemote(config, manner, identity, takes));
  }

  received(chunk: Uint8Array): void {
    if (this.#phase === Phase.OVER) return;
    this.#lastReceivedMs = this.#shard.clock.monotonicMs();
    if (this.#phase === Phase.JOINING) this.#early = Buffer.concat([this.#early, chunk]);
    else this.#takeRemote(chunk);
  }

  drained(): void {
    this.#own.room();
  }

  closed(code: string): void {
    this.#isRemoteOpen = false;
    if (this.#phase === Phase.OPENING) this.#finish({ kind: 'unreachable', code: code === '' ? 'ECONNRESET' : code }, false);
    else if (this.#phase === Phase.HELLO) this.#finish(code === '' ? { kind: 'silent' } : { kind: 'unreachable', code }, false);
    else this.#finish({ kind: 'lost', code }, false);
    this.#settle();
  }

  // From the local side.

  isFull(): boolean {
    return this.#socket.isFull;
  }

  takeLocal(chunk: Uint8Array): void {
    const framer = this.#fromLocal;
    framer.feed(chunk, 0, chunk.length);
    let result = 0;
    while (result >= 0 && framer.next() === Frame.PACKET) {
      if (this.#phase === Phase.OVER) {
        framer.leave();
        return;
      }
      const { buffer, header, bodyFrom, bodyTo } = framer;
      result = this.#relay!.fromLocal(buffer, header, bodyFrom, bodyTo);
      if (result === NOT_RELAYED) this.#coldLocal(buffer, header, bodyFrom);
    }
    this.#flushRemote();
    if (result < 0) {
      framer.leave();
      this.#finish({ kind: 'local' }, false);
    } else if (this.#relay!.isWithholding) {
      this.#withhold();
    }
    if (this.#relay!.toLocal.length > 0 || this.#isReadyToSubscribe) {
      this.#askToDeliver();
    }
  }

  pauseLocal(): void {
    this.#socket.pause();
  }

  resumeLocal(): void {
    if (this.#phase !== Phase.RELAYING) return;
    this.#socket.resume();
    this.#askToDeliver();
  }

  localClosed(): void {
    this.#isLocalOpen = false;
    this.#finish({ kind: 'local' }, false);
    this.#settle();
  }

  /** Nothing comes in while this broker is full. Once it is not, another link brings everything again, in order. */
  #withhold(): void {
    if (this.#phase === Phase.OVER || this.#fullTimer.isSet) return;
    this.#shard.log.warn('this broker takes no more messages; a bridge leaves them with its remote broker', {
      bridge: this.#parts.config.name,
    });
    this.#shard.timers.set(this.#fullTimer, LOOK_MS);
  }

  #lookForRoom(): void {
    if (this.#parts.local.isRefusing()) this.#shard.timers.set(this.#fullTimer, LOOK_MS);
    else this.#finish({ kind: 'full', reason: Reason.SERVER_BUSY }, false);
  }

  get #level(): Level {
    return this.#parts.manner.level;
  }

  #takeRemote(chunk: Uint8Array): void {
    const framer = this.#fromRemote;
    framer.feed(chunk, 0, chunk.length);
    let result: number = Frame.PACKET;
    while (result >= 0) {
      result = framer.next();
      if (result !== Frame.PACKET) break;
      const { buffer, header, bodyFrom, bodyTo } = framer;
      result = this.#remotePacket(buffer, header, bodyFrom, bodyTo);
      if (this.#phase === Phase.OVER) return;
      if (this.#phase !== Phase.JOINING) continue;
      this.#early = chunk.subarray(framer.leave());
      break;
    }
    this.#flushRemote();
    this.#flushLocal();
    if (this.#relay?.isWithholding === true) this.#withhold();
    if (result >= 0) return;
    const reason = reasonOf(result);
    if (reason === Reason.QUOTA_EXCEEDED) this.#finish({ kind: 'full', reason }, false);
    else this.#finish({ kind: 'wrong', reason }, false);
  }

  /** Returns a fault that ends the link, or anything else. */
  #remotePacket(buffer: Uint8Array, header: number, from: number, to: number): number {
    if (this.#phase === Phase.HELLO) return this.#onConnack(buffer, header, from, to);
    const result = this.#relay!.fromRemote(buffer, header, from, to);
    return result === NOT_RELAYED ? this.#coldRemote(buffer, header, from, to) : result;
  }

  #onConnack(buffer: Uint8Array, header: number, from: number, to: number): number {
    const connack = decodeConnack(buffer, header, from, to, this.#level);
    if (typeof connack === 'number') return connack;
    const { reason } = connack;
    if (reason === Reason.UNSUPPORTED_PROTOCOL_VERSION) this.#finish({ kind: 'version' }, false);
    else if (reason !== Reason.SUCCESS) this.#finish({ kind: 'refused', reason }, false);
    else this.#join(connack);
    return 0;
  }

  /** The remote broker has accepted: the local side comes in. */
  #join(connack: ConnackPacket): void {
    this.#phase = Phase.JOINING;
    this.#socket.pause();
    this.#connack = connack;
    // Known also to the next link, if this one does not get that far.
    if (!connack.sessionPresent) this.#parts.local.mustForget = true;
    const { config, local, out, tag, totals } = this.#parts;
    const { limits } = this.#shard;
    this.#fromRemote.packetBytesMax = limits.packetBytesMax;
    const terms: RelayTerms = {
      level: this.#level,
      maximumQos: connack.maximumQos,
      retainAvailable: connack.retainAvailable,
      maximumPacketSize: connack.maximumPacketSize,
      releases: !connack.sessionPresent ? 'none' : this.#parts.isElsewhere ? 'all' : 'new',
      outgoingRetain: config.outgoingRetain,
    };
    this.#relay = new Relay(terms, local, out, this.#parts.in, tag, totals);
    const sink = acceptOwnLink(this.#shard, this.#own);
    if (sink === null) {
      this.#finish({ kind: 'local' }, false);
      return;
    }
    this.#isLocalOpen = true;
    this.#own.attach(sink);
    const untold = this.#level === Level.V5 ? connack.receiveMaximum : UNTOLD_RECEIVE_MAXIMUM;
    const receiveMaximum = Math.min(untold, config.inflightMax);
    const packet = connectLocal(local.clientId, config.localCleanStart, receiveMaximum);
    this.#own.deliver(packet, packet.length);
  }

  /** The session is here: everything passes from now on. */
  #joined(): void {
    if (this.#phase !== Phase.JOINING) return;
    this.#phase = Phase.RELAYING;
    const { config, local } = this.#parts;
    const relay = this.#relay!;
    const mustForget = local.mustForget || this.#parts.isElsewhere;
    for (const packetId of local.session?.inbound.all() ?? []) {
      if (mustForget) relay.forget(packetId);
      else relay.held.add(packetId);
    }
    if (local.wishes.length > 0) relay.toLocal.append(subscribe(Level.V5, LOCAL_SUBSCRIBE_ID, this.#localWishes()));
    if (config.notificationTopic !== '') this.#socket.write(notification(this.#level, config.notificationTopic, true));
    const early = this.#early;
    this.#early = NO_BYTES;
    this.#flushLocal();
    if (this.#isReadyToSubscribe) this.#subscribeRemote();
    if (early.length > 0) this.#takeRemote(early);
    if (!this.#own.isPaused) this.#socket.resume();
  }

  /**
   * What is retained is told where the remote broker may not know it: it has no session of ours, or the session or the filter is new here. At QoS 0 always, because nothing was kept meanwhile.
   */
  #localWishes(): Wish[] {
    const { local, config } = this.#parts;
    const isKnown = this.#connack!.sessionPresent && !config.localCleanStart;
    return local.wishes.map((wish) => {
      const isTold = isKnown && wish.qos > 0 && !local.untold.delete(wish.filter);
      return { ...wish, retainHandling: isTold ? 2 : 0 };
    });
  }

  /** Identifiers of a remote session that is no more are forgotten first: a message that comes may have one of them. */
  get #isReadyToSubscribe(): boolean {
    return this.#phase === Phase.RELAYING && !this.#hasSubscribed && this.#relay!.forgetting.size === 0;
  }

  #subscribeRemote(): void {
    this.#hasSubscribed = true;
    const { topics, local } = this.#parts;
    local.mustForget = false;
    const { maximumQos } = this.#shard.offers;
    const wishes = wishesOf(topics, 'in').map(({ filter, qos }) => {
      const granted = Math.min(qos, maximumQos) as 0 | 1 | 2;
      return { filter, qos: granted, retainHandling: granted === 0 ? 0 : 1 } as const;
    });
    if (wishes.length === 0) this.#standsNow(0);
    else this.#socket.write(subscribe(this.#level, local.freePacketId(), wishes));
  }

  #standsNow(refused: number): void {
    if (this.#stands) return;
    this.#stands = true;
    this.#pingedMs = -1;
    if (this.#keepAliveMs > 0) this.#shard.timers.set(this.#timer, this.#keepAliveMs);
    else this.#shard.timers.cancel(this.#timer);
    this.#parts.stands(this.#level, refused);
  }

  get #keepAliveMs(): number {
    const { serverKeepAliveS } = this.#connack!;
    return (serverKeepAliveS >= 0 ? serverKeepAliveS : this.#parts.config.keepaliveIntervalS) * 1_000;
  }

  #alarm(): void {
    if (!this.#stands) {
      this.#finish({ kind: 'mute' }, false);
      return;
    }
    const { timers, clock } = this.#shard;
    if (this.#pingedMs >= 0) {
      // While this broker does not read, it cannot hear the answer.
      const isDeaf = this.#own.isPaused && !this.#socket.isFull;
      if (this.#lastReceivedMs < this.#pingedMs && !isDeaf) {
        this.#finish({ kind: 'mute' }, false);
        return;
      }
      this.#pingedMs = -1;
      timers.set(this.#timer, Math.max(1, this.#keepAliveMs - PING_MS_MAX));
      return;
    }
    this.#pingedMs = clock.monotonicMs();
    this.#socket.write(PINGREQ);
    timers.set(this.#timer, Math.min(PING_MS_MAX, this.#keepAliveMs));
  }

  #coldRemote(buffer: Uint8Array, header: number, from: number, to: number): number {
    switch (header >>> 4) {
      case PacketType.SUBACK: {
        const reasons = decodeSuback(buffer, header, from, to, this.#level);
        if (typeof reasons === 'number') return reasons;
        this.#standsNow(reasons.filter((reason) => reason >= Reason.UNSPECIFIED).length);
        return 0;
      }
      case PacketType.PINGRESP:
        return from === to ? 0 : fault(Reason.MALFORMED_PACKET);
      case PacketType.DISCONNECT: {
        const reason = decodeServerDisconnect(buffer, header, from, to, this.#level);
        if (reason >= 0) this.#finish({ kind: 'dismissed', reason }, false);
        return reason;
      }
      default:
        return fault(Reason.PROTOCOL_ERROR);
    }
  }

  #coldLocal(buffer: Uint8Array, header: number, from: number): void {
    if (header >>> 4 !== PacketType.CONNACK) return; // SUBACK, and DISCONNECT, which the end of the link follows
    if (buffer[from + 1] === Reason.SUCCESS) this.#shard.clock.endOfTurn(() => this.#joined());
  }

  #flushRemote(): void {
    const { toRemote } = this.#relay ?? {};
    if (toRemote === undefined || toRemote.length === 0) return;
    this.#socket.write(toRemote.take());
    // What goes out waits for room; answers to a remote broker that sends and does not read would not.
    const { outboxMaxBytes, packetBytesMax } = this.#shard.limits;
    if (this.#socket.unsentBytes > outboxMaxBytes + packetBytesMax) this.#finish({ kind: 'mute' }, false);
  }

  #flushLocal(): void {
    const { toLocal } = this.#relay ?? {};
    // Handling it may make the broker flush, which comes back here.
    if (toLocal === undefined || this.#isDelivering) return;
    this.#isDelivering = true;
    while (toLocal.length > 0 && !this.#own.isPaused && this.#phase === Phase.RELAYING) {
      const bytes = toLocal.take();
      this.#own.deliver(bytes, bytes.length);
    }
    this.#isDelivering = false;
  }

  /** What a call of the broker's led to reaches the broker behind that call. */
  #askToDeliver(): void {
    if (this.#isAskedToDeliver) return;
    this.#isAskedToDeliver = true;
    this.#shard.clock.endOfTurn(() => {
      this.#isAskedToDeliver = false;
      if (this.#phase !== Phase.RELAYING) return;
      this.#flushLocal();
      if (this.#isReadyToSubscribe) this.#subscribeRemote();
    });
  }

  #finish(end: LinkEnd, isOrderly: boolean): void {
    if (this.#phase === Phase.OVER) return;
    this.#phase = Phase.OVER;
    this.#end = end;
    const { timers } = this.#shard;
    timers.cancel(this.#timer);
    timers.cancel(this.#fullTimer);
    if (isOrderly) {
      this.#socket.end();
      timers.set(new Timer(() => this.#socket.destroy()), LEAVE_MS_MAX);
    } else if (this.#isRemoteOpen) {
      this.#socket.destroy();
    }
    if (this.#isLocalOpen) this.#own.cut();
  }

  #settle(): void {
    if (this.#isRemoteOpen || this.#isLocalOpen || this.#end === null) return;
    const end = this.#end;
    this.#end = null;
    this.#parts.over(end);
  }
}
