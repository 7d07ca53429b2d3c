// A client that acknowledges when it is told, and not before: MQTT 5 over TCP, with mqtt-packet for the bytes.
import { connect as connectSocket, type Socket } from 'node:net';
import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type IPublishPacket,
  type ISubscription,
  type Packet,
  parser,
  type QoS,
} from 'mqtt-packet';
import { afterEach } from 'vitest';
import { Watched } from '../end-to-end/watched.ts';

const LEVEL = { protocolVersion: 5 } as const;

export interface ClientOptions {
  readonly clientId: string;
  readonly clean?: boolean;
  /** Session Expiry Interval. */
  readonly expiryS?: number;
  readonly receiveMaximum?: number;
  /** Acknowledges what comes only when `acknowledge` is called. */
  readonly holds?: boolean;
  readonly username?: string;
  readonly password?: string;
  readonly will?: NonNullable<IConnectPacket['will']>;
}

export interface Message {
  readonly topic: string;
  readonly payload?: string | Buffer;
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly properties?: NonNullable<IPublishPacket['properties']>;
}

const open = new Set<Client>();

afterEach(() => {
  for (const client of open) client.cut();
});

export class Client extends Watched {
  /** Messages in the order in which they came. */
  readonly received: IPublishPacket[] = [];
  connack: IConnackPacket | null = null;
  closed = false;
  /** PUBREL packets stay without an answer. */
  holdsReleases = false;
  readonly #socket: Socket;
  readonly #holds: boolean;
  #acknowledged = 0;
  #nextId = 1;
  readonly #answers = new Map<number, (packet: Packet) => void>();

  private constructor(port: number, options: ClientOptions) {
    super();
    this.#holds = options.holds ?? false;
    this.#socket = connectSocket(port, '127.0.0.1');
    this.#socket.setNoDelay(true);
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      this.closed = true;
      open.delete(this);
      this.changed();
    });
    const packets = parser(LEVEL);
    packets.on('packet', (packet) => this.#take(packet));
    this.#socket.on('data', (bytes) => packets.parse(bytes));
    open.add(this);
    const { clientId, clean = false, expiryS = 3_600, receiveMaximum, username, password, will } = options;
    this.#send({
      cmd: 'connect',
      ...LEVEL,
      protocolId: 'MQTT',
      clientId,
      clean,
      keepalive: 0,
      properties: { sessionExpiryInterval: expiryS, ...(receiveMaximum === undefined ? {} : { receiveMaximum }) },
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password: Buffer.from(password) }),
      ...(will === undefined ? {} : { will }),
    });
  }

  static async connect(port: number, options: ClientOptions): Promise<Client> {
    const client = new Client(port, options);
    await client.until('the broker accepts the client', () => client.connack !== null);
    return client;
  }

  get payloads(): string[] {
    return this.received.map(({ payload }) => payload.toString());
  }

  async subscribe(topic: string, qos: QoS = 2, identifier?: number): Promise<void> {
    const subscription: ISubscription = { topic, qos, nl: false, rap: false, rh: 0 };
    const properties = identifier === undefined ? {} : { properties: { subscriptionIdentifier: identifier } };
    await this.#ask((messageId) => ({ cmd: 'subscribe', messageId, subscriptions: [subscription], ...properties }));
  }

  async unsubscribe(topic: string): Promise<void> {
    await this.#ask((messageId) => ({ cmd: 'unsubscribe', messageId, unsubscriptions: [topic] }));
  }

  /** Publishes; resolves with the reason code of the last acknowledgement, at QoS 0 at once. */
  async publish({ topic, payload = '', qos = 1, retain = false, properties }: Message): Promise<number> {
    const packet = { cmd: 'publish', topic, payload, qos, retain, dup: false, ...(properties ? { properties } : {}) } as const;
    if (qos === 0) {
      this.#send(packet);
      return 0;
    }
    const answer = await this.#ask((messageId) => ({ ...packet, messageId }));
    return 'reasonCode' in answer ? (answer.reasonCode ?? 0) : 0;
  }

  /** Acknowledges the oldest `count` messages that are not yet: PUBACK, or PUBREC. Takes nothing back that comes twice. */
  acknowledge(count = Infinity): void {
    for (let left = count; left > 0 && this.#acknowledged < this.received.length; left--) {
      const { qos, messageId } = this.received[this.#acknowledged++]!;
      if (qos > 0) this.#send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId: messageId! });
    }
  }

  got(count: number): Promise<void> {
    return this.until(`the client has ${count} messages`, () => this.received.length >= count);
  }

  /** Says DISCONNECT and waits for the close. With an expiry of 0 the session ends. */
  async leave(expiryS?: number): Promise<void> {
    const properties = expiryS === undefined ? {} : { properties: { sessionExpiryInterval: expiryS } };
    this.#send({ cmd: 'disconnect', reasonCode: 0, ...properties });
    this.#socket.end();
    await this.until('the connection is closed', () => this.closed);
  }

  /** Breaks the connection without a DISCONNECT. */
  cut(): void {
    this.#socket.destroy();
  }

  protected override isOver(): boolean {
    return this.closed;
  }

  protected override describe(): string {
    return `closed: ${this.closed}, received: ${this.received.length}`;
  }

  #take(packet: Packet): void {
    const { messageId = 0 } = packet;
    switch (packet.cmd) {
      case 'connack':
        this.connack = packet;
        break;
      case 'publish':
        this.received.push(packet);
        if (!this.#holds) this.acknowledge();
        break;
      case 'pubrec':
        // A refusal ends the exchange.
        if ((packet.reasonCode ?? 0) >= 0x80) this.#answered(messageId, packet);
        else this.#send({ cmd: 'pubrel', messageId });
        break;
      case 'pubrel':
        if (!this.holdsReleases) this.#send({ cmd: 'pubcomp', messageId });
        break;
      case 'puback':
      case 'pubcomp':
      case 'suback':
      case 'unsuback':
        this.#answered(messageId, packet);
        break;
      default:
    }
    this.changed();
  }

  #answered(messageId: number, packet: Packet): void {
    this.#answers.get(messageId)?.(packet);
    this.#answers.delete(messageId);
  }

  async #ask(make: (messageId: number) => Packet): Promise<Packet> {
    const messageId = this.#nextId++;
    let answer: Packet | null = null;
    this.#answers.set(messageId, (packet) => {
      answer = packet;
    });
    this.#send(make(messageId));
    await this.until('the broker answers', () => answer !== null);
    return answer!;
  }

  #send(packet: Packet): void {
    this.#socket.write(generate(packet, LEVEL));
  }
}
