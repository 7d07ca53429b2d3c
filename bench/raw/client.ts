// The life of one connection: opened, accepted, subscribed, kept alive, lost and made again, ended. What its packets mean is its role's
// business; the role goes on over all connections of the client.
import mqttPacket, { type IConnackPacket, type IDisconnectPacket, type ISubackPacket, type Packet } from 'mqtt-packet';
import { explainReason } from '../../engine/cli/reason-text.ts';
import { Frame, Framer } from '../../protocol/framer.ts';
import { FIXED_HEADER_BYTES_MAX, REMAINING_LENGTH_MAX } from '../../protocol/limits.ts';
import { PacketType } from '../../protocol/packet.ts';
import type { QoS } from '../plan/plan.ts';
import { nowUs } from './clock.ts';
import type { Ground } from './ground.ts';
import type { StreamWire, Wire } from './stream-wire.ts';
import { openWire } from './websocket-wire.ts';

/** What an accepted connection brings. */
export interface Joined {
  readonly wire: Wire;
  /** Whether the broker still had the session. */
  readonly resumed: boolean;
  /** QoS 1 and 2 that the broker takes without having acknowledged them. */
  readonly receiveMaximum: number;
}

export interface Role {
  /** Called before anything else of the connection arrives. */
  joined(joined: Joined): void;
  /** Works off the packets that the framer has, handing those that it does not know to `cold`; returns what the framer said last. */
  work(framer: Framer, cold: (framer: Framer) => void): number;
  left(): void;
}

export interface Seat {
  readonly clientId: string;
  readonly userName: string | null;
}

export interface Subscription {
  readonly filters: readonly string[];
  readonly qos: QoS;
}

/** The broker is there and says no. */
export class RefusedError extends Error {}

const PACKET_BYTES_MAX = REMAINING_LENGTH_MAX + FIXED_HEADER_BYTES_MAX;
/** A broker that drains a great backlog may take its time. */
const ANSWER_TIMEOUT_MS = 60_000;
const RECONNECT_MS_MIN = 20;
const RECONNECT_MS_MAX = 1_000;
const SUBSCRIBE_ID = 65_535;
const SUBSCRIBE_FILTERS_MAX = 100;
const RECEIVE_MAXIMUM_DEFAULT = 65_535;
const PINGREQ = Buffer.from([0xc0, 0]);
const DISCONNECT = Buffer.from([0xe0, 0]);

export class Client {
  readonly #ground: Ground;
  readonly #seat: Seat;
  readonly #role: Role;
  readonly #subscription: Subscription | null;
  readonly #localAddress: string | null;
  #wire: StreamWire | null = null;
  #framer = new Framer(PACKET_BYTES_MAX);
  #joined = false;
  /** The connection that `open` is at work on. */
  #opening: Wire | null = null;
  #ended = false;
  /** Why the connection under way came to nothing. */
  #failure: Error | null = null;
  /** Waits for the answer to CONNECT or SUBSCRIBE. */
  #answer: { readonly resolve: (packet: Packet) => void; readonly reject: (error: Error) => void } | null = null;
  #reconnectMs = RECONNECT_MS_MIN;
  #reconnect: NodeJS.Timeout | null = null;
  #spokeUs = 0;
  /** As asked for, unless the broker says otherwise. */
  #keepAliveS = 0;

  constructor(ground: Ground, seat: Seat, role: Role, subscription: Subscription | null, localAddress: string | null) {
    this.#ground = ground;
    this.#seat = seat;
    this.#role = role;
    this.#subscription = subscription;
    this.#localAddress = localAddress;
  }

  get isJoined(): boolean {
    return this.#joined;
  }

  /**
   * Connects and subscribes. Its time until the connection is accepted is recorded.
   * @param clean whether a session that the broker has is given up
   * @throws RefusedError, or Error when the broker cannot be reached
   */
  async open(clean = this.#ground.plan.clients.clean): Promise<void> {
    const { broker } = this.#ground.plan;
    const startedUs = nowUs();
    this.#ended = false;
    this.#failure = null;
    this.#framer = new Framer(PACKET_BYTES_MAX);
    const wire = openWire(broker, this.#localAddress);
    this.#wire = wire;
    this.#opening = wire;
    wire.take = (chunk, from, to) => this.#take(wire, chunk, from, to);
    try {
      await wire.opened((error) => this.#lost(wire, error));
      if (this.#failure !== null) throw this.#failure;
      const connack = (await this.#ask(wire, this.#connect(clean))) as IConnackPacket;
      this.#ground.connects.record(nowUs() - startedUs, 1);
      if (this.#failure !== null) throw this.#failure;
      if (this.#subscription !== null && !connack.sessionPresent) await this.#subscribe(wire, this.#subscription);
      if (this.#failure !== null) throw this.#failure;
    } catch (error) {
      this.#part(wire);
      wire.destroy();
      throw error;
    } finally {
      if (this.#opening === wire) this.#opening = null;
    }
    this.#reconnectMs = RECONNECT_MS_MIN;
  }

  /** Leaves in order; the session stays when it outlives connections. */
  leave(): void {
    this.#end((wire) => {
      wire.send(withHeadroom(wire, DISCONNECT), wire.headroom + DISCONNECT.length, () => {});
      wire.end();
    });
  }

  /** Loses the connection, as when a cable is pulled. */
  drop(): void {
    this.#end((wire) => wire.destroy());
  }

  /** Sends PINGREQ when it is time. */
  keepAlive(now: number): void {
    const everyUs = this.#keepAliveS * 500_000;
    if (!this.#joined || everyUs === 0 || now - this.#spokeUs < everyUs) return;
    this.#spokeUs = now;
    const wire = this.#wire!;
    wire.send(withHeadroom(wire, PINGREQ), wire.headroom + PINGREQ.length, () => {});
  }

  #end(how: (wire: Wire) => void): void {
    this.#ended = true;
    if (this.#reconnect !== null) clearTimeout(this.#reconnect);
    const wire = this.#wire;
    if (wire === null) return;
    this.#failure = new Error('the connection was given up');
    this.#part(wire);
    how(wire);
    this.#answer?.reject(this.#failure);
  }

  #connect(clean: boolean): Buffer {
    const { broker, clients } = this.#ground.plan;
    const { clientId, userName } = this.#seat;
    const outlives = !clean && clients.sessionExpiryS > 0;
    return mqttPacket.generate(
      {
        cmd: 'connect',
        protocolId: broker.level === 3 ? 'MQIsdp' : 'MQTT',
        protocolVersion: broker.level,
        clientId,
        clean,
        keepalive: clients.keepAliveS,
        ...(userName === null ? {} : { username: userName }),
        ...(broker.password === null ? {} : { password: Buffer.from(broker.password) }),
        ...(broker.level === 5 && outlives ? { properties: { sessionExpiryInterval: clients.sessionExpiryS } } : {}),
      },
      { protocolVersion: broker.level },
    );
  }

  async #subscribe(wire: Wire, { filters, qos }: Subscription): Promise<void> {
    for (let at = 0; at < filters.length; at += SUBSCRIBE_FILTERS_MAX) {
      const some = filters.slice(at, at + SUBSCRIBE_FILTERS_MAX);
      const packet = mqttPacket.generate(
        { cmd: 'subscribe', messageId: SUBSCRIBE_ID, subscriptions: some.map((topic) => ({ topic, qos })) },
        { protocolVersion: this.#ground.plan.broker.level },
      );
      const { granted } = (await this.#ask(wire, packet)) as ISubackPacket;
      for (const [i, filter] of some.entries()) judgeGrant(filter, qos, Number(granted[i]));
    }
  }

  #ask(wire: Wire, packet: Buffer): Promise<Packet> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => settle(() => reject(new Error(`no answer within ${ANSWER_TIMEOUT_MS / 1_000} s`))),
        ANSWER_TIMEOUT_MS,
      );
      const settle = (then: () => void): void => {
        clearTimeout(timer);
        this.#answer = null;
        then();
      };
      this.#answer = {
        resolve: (answer) => settle(() => resolve(answer)),
        reject: (error) => settle(() => reject(error)),
      };
      wire.send(withHeadroom(wire, packet), wire.headroom + packet.length, () => {});
    });
  }

  #take(wire: Wire, chunk: Uint8Array, from: number, to: number): void {
    if (wire !== this.#wire) return;
    const framer = this.#framer;
    framer.feed(chunk, from, to);
    let said = Frame.PACKET as number;
    // Before the connection is accepted nothing is the role's.
    while (said === Frame.PACKET && !this.#joined && wire === this.#wire) {
      said = framer.next();
      if (said === Frame.PACKET) this.#cold(framer);
    }
    if (this.#joined && wire === this.#wire) said = this.#role.work(framer, this.#coldly);
    if (said < 0 && wire === this.#wire) {
      this.#lost(wire, new Error('the broker sent what is not MQTT'));
      wire.destroy();
    }
  }

  readonly #coldly = (framer: Framer): void => this.#cold(framer);

  #cold(framer: Framer): void {
    const type = framer.header >> 4;
    const wire = this.#wire;
    // The connection was given up over a packet before this one.
    if (type === PacketType.PINGRESP || wire === null) return;
    const packet = this.#decode(framer);
    if (packet?.cmd === 'connack' && this.#answer !== null) this.#accept(wire, packet);
    else if (packet?.cmd === 'suback' && this.#answer !== null) this.#answer.resolve(packet);
    else if (packet?.cmd === 'disconnect') {
      const { reasonCode = 0, properties } = packet as IDisconnectPacket;
      this.#lost(wire, new Error(`the broker closed the connection: ${explainReason(reasonCode, properties?.reasonString)}`));
      wire.destroy();
    } else {
      this.#lost(wire, new Error(`the broker sent a packet of type ${type} where none was due`));
      wire.destroy();
    }
  }

  #accept(wire: Wire, connack: IConnackPacket): void {
    const code = connack.reasonCode ?? connack.returnCode ?? 0;
    if (code !== 0) {
      const detail = connack.properties?.reasonString;
      this.#answer!.reject(new RefusedError(`the broker refused the connection: ${explainReason(code, detail)}`));
      return;
    }
    this.#joined = true;
    this.#spokeUs = nowUs();
    this.#keepAliveS = connack.properties?.serverKeepAlive ?? this.#ground.plan.clients.keepAliveS;
    this.#ground.totals.connected++;
    this.#role.joined({
      wire,
      resumed: connack.sessionPresent,
      receiveMaximum: connack.properties?.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT,
    });
    this.#answer?.resolve(connack);
  }

  #decode(framer: Framer): Packet | null {
    const parser = mqttPacket.parser({ protocolVersion: this.#ground.plan.broker.level });
    let decoded: Packet | null = null;
    parser.on('packet', (packet: Packet) => {
      decoded = packet;
    });
    parser.on('error', () => {});
    parser.parse(Buffer.from(framer.buffer.subarray(framer.packetFrom, framer.bodyTo)));
    return decoded;
  }

  /** Gone without having been asked to go. */
  #lost(wire: Wire, error: Error): void {
    if (wire !== this.#wire) return;
    this.#failure = error;
    if (this.#joined) {
      this.#ground.totals.connectionsLost++;
      this.#ground.trouble(error.message);
    }
    this.#part(wire);
    // While it opens, whoever opens it is told.
    if (this.#opening === wire) this.#answer?.reject(error);
    else if (!this.#ended) this.#comeBack();
  }

  #comeBack(): void {
    this.#reconnect = setTimeout(() => {
      this.open().catch((error: Error) => {
        if (error instanceof RefusedError) this.#ground.trouble(error.message);
        if (!this.#ended) this.#comeBack();
      });
    }, this.#reconnectMs);
    this.#reconnectMs = Math.min(this.#reconnectMs * 2, RECONNECT_MS_MAX);
  }

  /** The connection is no longer this client's. */
  #part(wire: Wire): void {
    if (wire !== this.#wire) return;
    this.#wire = null;
    if (!this.#joined) return;
    this.#joined = false;
    this.#ground.totals.connected--;
    this.#role.left();
  }
}

function judgeGrant(filter: string, qos: QoS, code: number): void {
  if (code >= 0x80) throw new RefusedError(`the broker refused the subscription to '${filter}': ${explainReason(code)}`);
  if (code !== qos)
    throw new RefusedError(`the broker granted QoS ${code} for '${filter}' where QoS ${qos} was asked for; give a lower -q`);
}

/** The packet behind the bytes that the wire needs. */
function withHeadroom(wire: Wire, packet: Buffer): Buffer {
  return wire.headroom === 0 ? packet : Buffer.concat([Buffer.alloc(wire.headroom), packet]);
}
