// One client identifier, many connections that fight for it: what the client as a whole has received, whichever connection brought it. Its session state is one, as the
// standard has it: packet identifiers of QoS 2 that were received and not released are known to every connection.
import { createConnection, type Socket } from 'node:net';
import { generate, type IPublishPacket, type Packet, parser } from 'mqtt-packet';

export class Contest {
  /** How often each message came, by its payload: QoS 2 only as often as a client would take it for a new one. */
  readonly received = new Map<string, number>();
  /** Payloads in the order in which they came first, by topic. */
  readonly order = new Map<string, string[]>();
  /** Packet identifiers of QoS 2 that wait for their release. */
  readonly unreleased = new Set<number>();
  /** Connections that were accepted. */
  accepted = 0;
  /** Pairs of connections of which each answered after the other had: two that were live. */
  pairs = 0;
  /** Accepted connections for which the broker did not find the session. */
  absent = 0;
  live: Contender | null = null;
  readonly contenders = new Set<Contender>();

  take(packet: IPublishPacket): void {
    const payload = packet.payload.toString();
    if (packet.qos === 2) {
      if (this.unreleased.has(packet.messageId!)) return;
      this.unreleased.add(packet.messageId!);
    }
    const before = this.received.get(payload) ?? 0;
    this.received.set(payload, before + 1);
    if (before > 0) return;
    const known = this.order.get(packet.topic);
    if (known === undefined) this.order.set(packet.topic, [payload]);
    else known.push(payload);
  }
}

/** One connection. Resolves `over` when the broker has closed it. */
export class Contender {
  readonly over: Promise<void>;
  readonly #contest: Contest;
  readonly #socket: Socket;
  #isAccepted = false;
  /** Who is asked once this one has answered. */
  #rival: Contender | null = null;
  #isAskedBack = false;

  constructor(contest: Contest, port: number, clientId: string) {
    this.#contest = contest;
    contest.contenders.add(this);
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
    this.#socket = socket;
    const packets = parser({ protocolVersion: 5 });
    packets.on('packet', (packet: Packet) => this.#take(packet));
    socket.on('data', (bytes) => packets.parse(bytes));
    socket.on('error', () => {});
    this.over = new Promise((resolve) => {
      socket.once('close', () => {
        contest.contenders.delete(this);
        resolve();
      });
    });
    this.#send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 5,
      clientId,
      clean: false,
      keepalive: 0,
      properties: { sessionExpiryInterval: 600 },
    });
  }

  drop(): void {
    this.#socket.destroy();
  }

  /**
   * Another connection was accepted, so that this one is over: or it is the later one of the two, and just its CONNACK was read first. If it answers, the other
   * one is asked in turn, which must not answer.
   */
  askAfter(rival: Contender): void {
    if (!this.#isAccepted || this.#rival !== null || this.#isAskedBack) return;
    this.#rival = rival;
    this.#send({ cmd: 'pingreq' });
  }

  #askBack(): void {
    if (this.#rival !== null || this.#isAskedBack) return;
    this.#isAskedBack = true;
    this.#send({ cmd: 'pingreq' });
  }

  #take(packet: Packet): void {
    const contest = this.#contest;
    if (packet.cmd === 'connack') {
      this.#isAccepted = true;
      contest.accepted++;
      if (!packet.sessionPresent && contest.accepted > 1) contest.absent++;
      contest.live = this;
      for (const other of contest.contenders) if (other !== this) other.askAfter(this);
      if (contest.accepted === 1) this.#send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'fight/#', qos: 2 }] });
    } else if (packet.cmd === 'pingresp') {
      if (this.#isAskedBack) contest.pairs++;
      else if (this.#rival !== null) this.#rival.#askBack();
    } else if (contest.live !== this) {
      // What a connection that has lost still brings is nobody's: the client reads the one that won.
    } else if (packet.cmd === 'publish') {
      contest.take(packet);
      if (packet.qos === 1) this.#send({ cmd: 'puback', messageId: packet.messageId!, reasonCode: 0 });
      else if (packet.qos === 2) this.#send({ cmd: 'pubrec', messageId: packet.messageId!, reasonCode: 0 });
    } else if (packet.cmd === 'pubrel') {
      contest.unreleased.delete(packet.messageId!);
      this.#send({ cmd: 'pubcomp', messageId: packet.messageId!, reasonCode: 0 });
    }
  }

  #send(packet: Packet): void {
    if (!this.#socket.destroyed) this.#socket.write(generate(packet, { protocolVersion: 5 }));
  }
}
