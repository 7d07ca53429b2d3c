// HOT: no allocation, closures, strings, try or async per message.
// The way in: bytes from a link, packets out of the framer, each to its handler. Everything in the chunk is parsed and acted on
// before anything is flushed; a fault is sticky and ends the connection in one place.
import { PINGRESP } from '../../protocol/answers.ts';
import { copyBytes } from '../../protocol/bytes.ts';
import { decodeDisconnect } from '../../protocol/disconnect.ts';
import { Frame, Framer } from '../../protocol/framer.ts';
import { fault, Level, PacketType, Reason, reasonOf } from '../../protocol/packet.ts';
import { NO_BYTES } from '../../protocol/publish.ts';
import type { CloseCause, Link, LinkSink } from '../link.ts';
import { Gauge } from '../peers/gauges.ts';
import { Connection, ConnectionState } from '../sessions/connection.ts';
import { Outbox } from '../sessions/outbox.ts';
import { ReadRate } from '../sessions/read-rate.ts';
import { Timer } from '../timers.ts';
import { onAcknowledgement } from './acknowledge.ts';
import { closeOrderly, endConnection, linkDown } from './close.ts';
import { onAuth, onConnect, refuse } from './connect.ts';
import { holdUnread, isHeldFor, relieve, resumeIfFree } from './pressure.ts';
import { onPublish } from './publish.ts';
import { pump } from './queue.ts';
import { sendReplay } from './replay.ts';
import { flushRun } from './run.ts';
import type { Shard } from './shard.ts';
import { onSubscribe, onUnsubscribe } from './subscribe.ts';

/** What `#parse` says when the rest is not to be looked at yet. */
const LATER = 2;

/** Connections that may be open beyond the limit, so that the refusal can be told by CONNACK. */
const REFUSED_AT_ONCE_MAX = 256;

/** Takes a new link in; null when there is not even room to refuse it politely. */
export function acceptLink(shard: Shard, link: Link): LinkSink | null {
  if (shard.stopping || isCrowded(shard)) return null;
  return new ConnectionSink(shard, link);
}

/** Takes in the link of the broker's own client: nobody from outside can be at its other end. */
export function acceptOwnLink(shard: Shard, link: Link): LinkSink | null {
  if (shard.stopping) return null;
  const sink = new ConnectionSink(shard, link);
  sink.connection.isOwn = true;
  return sink;
}

function isCrowded({ connections, elsewhere, limits }: Shard): boolean {
  return connections.size + elsewhere[Gauge.CONNECTIONS]! >= limits.connectionsMax + REFUSED_AT_ONCE_MAX;
}

class ConnectionSink implements LinkSink {
  readonly #shard: Shard;
  readonly connection: Connection;
  /** The link is down, and what it has brought is handled whatever the pace. */
  #isLast = false;

  constructor(shard: Shard, link: Link) {
    this.#shard = shard;
    const connection = new Connection(link, new Outbox(link, shard.blocks, shard.turn, shard.counters));
    this.connection = connection;
    connection.lastReceivedMs = shard.clock.monotonicMs();
    connection.timer = new Timer(() => endConnection(shard, connection, Reason.MAXIMUM_CONNECT_TIME)); // [MQTT-3.1.4-1]
    shard.timers.set(connection.timer, shard.limits.connectTimeoutMs);
    shard.connections.add(connection);
    shard.counters.socketsTotal++;
  }

  linkBytes(chunk: Uint8Array, from: number, to: number): void {
    const connection = this.connection;
    if (connection.state === ConnectionState.CLOSED) return;
    const shard = this.#shard;
    shard.counters.bytesReceived += to - from;
    connection.bytesReceived += to - from;
    connection.lastReceivedMs = shard.clock.monotonicMs();
    const isFirst = connection.state === ConnectionState.AWAIT_CONNECT && connection.framer === null;
    if (isFirst && chunk[from]! >>> 4 !== PacketType.CONNECT) {
      this.#fail(Reason.PROTOCOL_ERROR); // [MQTT-3.1.0-1] the first byte tells: the rest is not waited for
      return;
    }
    const isHeld = connection.state === ConnectionState.CLAIMING || connection.rate?.isHolding === true;
    const taken = isHeld ? from : this.#take(chunk, from, to);
    if (taken < to) this.#keepUnread(chunk, taken, to);
  }

  /** Handles bytes [from, to) of `chunk`; returns where those begin that are not to be looked at yet, `to` when there are none. */
  #take(chunk: Uint8Array, from: number, to: number): number {
    const connection = this.connection;
    const framer = connection.framer ?? this.#shard.framers.acquire();
    framer.packetBytesMax = this.#packetBytesMax();
    framer.feed(chunk, from, to);
    const result = this.#parse(framer);
    const taken = result === LATER ? framer.leave() : to;
    if (connection.isClosed) {
      framer.release();
      return to;
    }
    if (result < 0 || framer.heldBytes > 0) connection.framer = framer;
    else this.#putAway(framer);
    return taken;
  }

  /** The buckets as of now; null where nothing bounds how fast the client is read from. */
  #rate(): ReadRate | null {
    const { clientMessagesPerS, clientBytesPerS } = this.#shard.limits;
    const connection = this.connection;
    if ((clientMessagesPerS === 0 && clientBytesPerS === 0) || this.#isLast || connection.isOwn) return null;
    const nowMs = connection.lastReceivedMs;
    connection.rate ??= new ReadRate(new Timer(() => this.#readOn()), nowMs, clientMessagesPerS, clientBytesPerS);
    connection.rate.fill(nowMs, clientMessagesPerS, clientBytesPerS);
    return connection.rate;
  }

  /** The client has sent more than it may: it is not read from until time has made up for it. */
  #hold(rate: ReadRate): void {
    const shard = this.#shard;
    rate.isHolding = true;
    shard.counters.rateHolds++;
    shard.timers.set(rate.timer, rate.waitMs);
    this.connection.link.pause();
    if (!rate.wasTold) shard.log.info('a client sends more than it may: it is read from no faster');
    rate.wasTold = true;
  }

  /** Time has made up for what was read, or the limits are others. */
  #readOn(): void {
    const connection = this.connection;
    if (!connection.isOpen) return;
    const rate = connection.rate!;
    rate.isHolding = false;
    this.#replayEarly();
    if (rate.isHolding) this.#shard.counters.rateHolds--; // it goes on, and was counted when it began
    if (connection.isOpen) resumeIfFree(this.#shard, connection);
  }

  linkReturned(): void {
    this.connection.outbox.returned();
    this.#drained();
  }

  linkDrained(): void {
    this.connection.outbox.look();
    this.#drained();
  }

  linkClosed(_cause: CloseCause): void {
    const connection = this.connection;
    if (connection.isOpen && connection.rate?.isHolding === true) {
      // What the client sent before it left was promised to wait, not to be lost; DISCONNECT, which drops the will, may be in it [MQTT-3.14.4-3].
      this.#isLast = true;
      connection.rate.isHolding = false;
      this.#replayEarly();
    }
    linkDown(this.#shard, this.connection);
  }

  /** The kernel took bytes: whoever waited for room goes on. */
  #drained(): void {
    const connection = this.connection;
    if (connection.state !== ConnectionState.OPEN) return;
    const shard = this.#shard;
    // While it is not read from for its own sake, what it takes is its sign of life.
    if (isHeldFor(connection, connection)) connection.lastReceivedMs = shard.clock.monotonicMs();
    if (connection.slow || (connection.holding !== null && connection.holding.size > 0) || connection.pressureTimer !== null)
      relieve(shard, connection);
    const { session } = connection;
    if (session !== null && (session.deliveries.sent < session.deliveries.count || !session.loaded)) pump(shard, session);
    if (connection.replay !== null) sendReplay(shard, connection);
  }

  #putAway(framer: Framer): void {
    if (this.connection.framer !== null) this.connection.framer = null;
    this.#shard.framers.release(framer);
  }

  /** Largest packet that is taken now, fixed header included. */
  #packetBytesMax(): number {
    const { limits } = this.#shard;
    return this.connection.session === null ? limits.connectBytesMax : limits.packetBytesMax;
  }

  /** Handles what the framer has; returns what it said last, LATER, or the fault that ended the connection. */
  #parse(framer: Framer): number {
    const connection = this.connection;
    const shard = this.#shard;
    const { counters } = shard;
    const { latency } = shard.turn;
    const { publishReceived } = counters;
    const sentBefore = counters.publishSent - latency.sentOtherwise;
    const rate = this.#rate();
    let { at } = framer;
    let result: number = Frame.PACKET;
    while (connection.state !== ConnectionState.CLOSED) {
      result = framer.next();
      if (result !== Frame.PACKET) break;
      result =
        connection.state === ConnectionState.OPEN
          ? dispatch(shard, connection, framer.buffer, framer.packetFrom, framer.header, framer.bodyFrom, framer.bodyTo)
          : this.#beforeOpen(framer);
      if (result !== 0) break;
      if (rate !== null && connection.isOpen) {
        const owes = rate.take(framer.header >>> 4 === PacketType.PUBLISH ? 1 : 0, framer.at - at);
        at = framer.at;
        // What was kept while the client came in may already have been too much.
        if (owes || rate.isHolding) {
          result = LATER;
          break;
        }
      }
    }
    flushRun(shard, connection);
    if (rate !== null && connection.isOpen) {
      // The beginning of a packet counts when it is read.
      const owes = rate.take(0, result === Frame.NEED_MORE ? framer.at - at : 0);
      if (owes && !rate.isHolding) this.#hold(rate);
    }
    framer.settle();
    if (counters.publishReceived !== publishReceived && counters.publishSent - latency.sentOtherwise !== sentBefore)
      latency.took(connection.lastReceivedMs);
    if (result < 0) this.#fail(reasonOf(result));
    else if (connection.outbox.pendingBytes > shard.limits.outboxMaxBytes && !holdUnread(shard, connection)) {
      this.#fail(Reason.QUOTA_EXCEEDED);
    }
    return result;
  }

  /** Nothing but CONNECT may come first [MQTT-3.1.0-1]; what follows it is kept until the client is known. */
  #beforeOpen(framer: Framer): number {
    const connection = this.connection;
    const type = framer.header >>> 4;
    if (connection.state === ConnectionState.AWAIT_CONNECT) {
      this.#shard.counters.packetsReceived++;
      onConnect(this.#shard, connection, framer.buffer, framer.header, framer.bodyFrom, framer.bodyTo, () => this.#replayEarly());
      framer.packetBytesMax = this.#packetBytesMax();
      return this.connection.state === ConnectionState.CLAIMING ? LATER : 0;
    }
    if (type === PacketType.AUTH && connection.authenticationMethod !== null) {
      this.#shard.counters.packetsReceived++;
      const result = onAuth(this.#shard, connection, framer.buffer, framer.header, framer.bodyFrom, framer.bodyTo);
      framer.packetBytesMax = this.#packetBytesMax();
      return result === 0 && this.connection.state === ConnectionState.CLAIMING ? LATER : result;
    }
    const bytes = framer.bodyTo - framer.packetFrom;
    if (connection.earlyBytes + bytes > this.#shard.limits.connectBytesMax) return fault(Reason.QUOTA_EXCEEDED);
    keepEarly(connection, framer.buffer, framer.packetFrom, framer.bodyTo);
    return 0;
  }

  /**
   * Keeps bytes until the session is here, or the client may be read from again. What one read has brought has room then; a link that cannot pause may bring as much as a largest packet and what
   * stands before it.
   */
  #keepUnread(chunk: Uint8Array, from: number, to: number): void {
    const connection = this.connection;
    const { limits } = this.#shard;
    const { unread, unreadBytes } = connection;
    const needed = unreadBytes + to - from;
    const isOneRead = connection.isOpen && unreadBytes === 0;
    if (needed > limits.packetBytesMax + limits.connectBytesMax && !isOneRead) {
      this.#fail(connection.isOpen ? Reason.MESSAGE_RATE_TOO_HIGH : Reason.QUOTA_EXCEEDED);
      return;
    }
    if (needed > unread.length) {
      connection.unread = new Uint8Array(Math.max(needed, unread.length * 2));
      copyBytes(unread, 0, unreadBytes, connection.unread, 0);
    }
    connection.unreadBytes = copyBytes(chunk, from, to, connection.unread, unreadBytes);
  }

  /** Handles what came while CONNECT was being judged and the session was asked for, or while the client had sent too much. */
  #replayEarly(): void {
    const connection = this.connection;
    // What waited was received earlier: it is no silence of now, and no sample of latency.
    connection.lastReceivedMs = this.#shard.clock.monotonicMs();
    const { early, earlyBytes } = connection;
    if (earlyBytes > 0) {
      connection.early = NO_BYTES;
      connection.earlyBytes = 0;
      const framer = new Framer(this.#shard.limits.connectBytesMax);
      framer.feed(early, 0, earlyBytes);
      if (this.#parse(framer) === LATER && connection.isOpen) {
        connection.early = early.subarray(framer.leave(), earlyBytes);
        connection.earlyBytes = connection.early.length;
      }
    }
    if (connection.rate?.isHolding !== true) this.#takeUnread();
  }

  #takeUnread(): void {
    const connection = this.connection;
    const { unread, unreadBytes } = connection;
    if (unreadBytes === 0) return;
    connection.unread = NO_BYTES;
    connection.unreadBytes = 0;
    const taken = this.#take(unread, 0, unreadBytes);
    if (taken === unreadBytes) return;
    // It is this side's own: the rest stays where it is.
    connection.unread = unread.subarray(taken, unreadBytes);
    connection.unreadBytes = unreadBytes - taken;
  }

  #fail(reason: Reason): void {
    const connection = this.connection;
    if (connection.state === ConnectionState.AWAIT_CONNECT) closeOrderly(this.#shard, connection, false);
    else if (!connection.isOpen) refuse(this.#shard, connection, connection.level, reason);
    else endConnection(this.#shard, connection, reason); // [MQTT-4.13.1-1]
  }
}

/** Adds a packet to those that came early. One buffer: a packet of two bytes must not cost an object. */
function keepEarly(connection: Connection, buffer: Uint8Array, from: number, to: number): void {
  const needed = connection.earlyBytes + to - from;
  if (needed > connection.early.length) {
    const grown = new Uint8Array(Math.max(needed, connection.early.length * 2));
    copyBytes(connection.early, 0, connection.earlyBytes, grown, 0);
    connection.early = grown;
  }
  connection.earlyBytes = copyBytes(buffer, from, to, connection.early, connection.earlyBytes);
}

/** One packet of an open connection. Returns 0, or a fault that ends the connection. */
function dispatch(
  shard: Shard,
  connection: Connection,
  buffer: Uint8Array,
  packetFrom: number,
  header: number,
  from: number,
  to: number,
): number {
  const type = header >>> 4;
  shard.counters.packetsReceived++;
  if (type === PacketType.PUBLISH) return onPublish(shard, connection, buffer, packetFrom, header, from, to);
  flushRun(shard, connection);
  const { publishSent } = shard.counters;
  const result = dispatchOther(shard, connection, buffer, header, from, to);
  shard.turn.latency.sentOtherwise += shard.counters.publishSent - publishSent;
  return result;
}

/** One packet of an open connection that is no PUBLISH. */
function dispatchOther(
  shard: Shard,
  connection: Connection,
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
): number {
  switch (header >>> 4) {
    case PacketType.PUBACK:
    case PacketType.PUBREC:
    case PacketType.PUBREL:
    case PacketType.PUBCOMP:
      return onAcknowledgement(shard, connection, buffer, header, from, to);
    case PacketType.SUBSCRIBE:
      return onSubscribe(shard, connection, buffer, header, from, to);
    case PacketType.UNSUBSCRIBE:
      return onUnsubscribe(shard, connection, buffer, header, from, to);
    case PacketType.PINGREQ:
      return onPing(connection, header, from, to);
    case PacketType.DISCONNECT:
      return onDisconnect(shard, connection, buffer, header, from, to);
    case PacketType.AUTH:
      return onAuth(shard, connection, buffer, header, from, to);
    case 0:
      return fault(Reason.MALFORMED_PACKET);
    default:
      return fault(Reason.PROTOCOL_ERROR); // a second CONNECT [MQTT-3.1.0-2], or a packet that only servers send
  }
}

function onPing(connection: Connection, header: number, from: number, to: number): number {
  if (header !== PacketType.PINGREQ << 4 || from !== to) return fault(Reason.MALFORMED_PACKET);
  connection.outbox.append(PINGRESP, 0, PINGRESP.length); // [MQTT-3.12.4-1]
  return 0;
}

function onDisconnect(
  shard: Shard,
  connection: Connection,
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
): number {
  const packet = decodeDisconnect(buffer, header, from, to, connection.level, shard.limits);
  if (typeof packet === 'number') return packet;
  const session = connection.session!;
  if (packet.sessionExpiryS > 0 && session.expiryS === 0) return fault(Reason.PROTOCOL_ERROR); // §3.14.2.2.2
  if (packet.sessionExpiryS >= 0) {
    session.expiryS = Math.min(packet.sessionExpiryS, shard.limits.sessionExpiryMaxS, connection.sessionExpiryMaxS);
  }
  const keepWill = connection.level === Level.V5 && packet.reason !== Reason.SUCCESS;
  closeOrderly(shard, connection, keepWill);
  return 0;
}
