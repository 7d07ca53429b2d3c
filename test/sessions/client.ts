// A client that keeps to the standard, and is as slow, forgetful and repetitive as the standard allows: it answers late, in another order
// or twice, loses answers with its connection, and comes back with its session.
import type { IConnackPacket, IPublishPacket, Packet } from 'mqtt-packet';
import type { MemoryPeer } from '../../engine/network/memory-link.ts';
import { type Level, Reason } from '../../protocol/packet.ts';
import { type Message, type Model, type ModelConnection, type ModelSession, messageId, violated } from './model.ts';
import { bytesOfPacket, packetReader } from './packets.ts';

/** What CONNECT asks for. */
export interface ConnectOptions {
  readonly clean: boolean;
  /** Session Expiry Interval on MQTT 5. */
  readonly expiryS: number;
  /** 0 for none. */
  readonly receiveMaximum: number;
  readonly topicAliasMaximum: number;
}

/** A line to the broker. */
export interface Line {
  readonly peer: MemoryPeer;
  /** The model's side, once the broker has heard the CONNECT. */
  readonly connection: ModelConnection | null;
}

interface Outgoing {
  readonly message: Message;
  stage: 'publish' | 'release';
}

type Acknowledgement = Packet & { cmd: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'; messageId: number };

const PUBLISHED_AT_ONCE_MAX = 4;
/** Packet identifiers of SUBSCRIBE and UNSUBSCRIBE begin here; those of PUBLISH stay as low as they can. */
const SUBSCRIBE_IDENTIFIERS = 1_000;

export class Client {
  readonly id: string;
  readonly level: Level;
  /** Answers at once. */
  eager = true;
  /** Answers the next QoS 2 message with an error. */
  refusesNext = false;
  /** An answer was lost that will not come: the exchange ends with the next connection. */
  hasLostAnswers = false;
  line: Line | null = null;
  readonly #model: Model;
  readonly #dial: (level: Level) => Line;
  /** QoS 1 and 2 messages that the broker has not acknowledged, in the order of their sending. */
  readonly #outgoing = new Map<number, Outgoing>();
  /** QoS 2 messages that were received and not released. */
  readonly #unreleased = new Set<number>();
  /** The session that these two belong to. */
  #session: ModelSession | null = null;
  #isAccepted = false;
  #answers: Acknowledgement[] = [];
  /** QoS 1 and 2 messages of this connection that were not answered to the end. */
  readonly #unanswered = new Set<number>();
  readonly #aliasesIn = new Map<number, string>();
  readonly #aliasesOut = new Map<string, number>();
  #aliasesOutMax = 0;
  #nextSubscribe = SUBSCRIBE_IDENTIFIERS;

  constructor(id: string, level: Level, model: Model, dial: (level: Level) => Line) {
    this.id = id;
    this.level = level;
    this.#model = model;
    this.#dial = dial;
  }

  get isOpen(): boolean {
    return this.line !== null && this.#isAccepted && !this.line.peer.closed;
  }

  get hasOutgoing(): boolean {
    return this.#outgoing.size > 0;
  }

  /** Opens a new connection; an old one is left to the broker to end. */
  connect(options: ConnectOptions): void {
    // Two that are on their way could arrive in the other order.
    if (this.line?.connection === null) this.line.peer.abort();
    this.#leave();
    const line = this.#dial(this.level);
    this.line = line;
    const read = packetReader(this.level, (packet) => this.#receive(packet));
    line.peer.onBytes = (chunk) => {
      if (this.line === line) read(chunk);
    };
    const isV5 = this.level === 5;
    this.#send({
      cmd: 'connect',
      protocolId: this.level === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: this.level,
      clientId: this.id,
      clean: options.clean,
      keepalive: 0,
      ...(isV5
        ? {
            properties: {
              sessionExpiryInterval: options.expiryS,
              ...(options.receiveMaximum === 0 ? {} : { receiveMaximum: options.receiveMaximum }),
              topicAliasMaximum: options.topicAliasMaximum,
            },
          }
        : {}),
    });
  }

  /** The network fails: what is under way is lost. */
  cut(): void {
    this.line?.peer.abort();
    this.#leave();
  }

  /** Leaves in order; `ends` ends the session too, on MQTT 5. */
  disconnect(ends: boolean): void {
    if (!this.isOpen) return;
    this.#send({
      cmd: 'disconnect',
      reasonCode: 0,
      ...(ends && this.level === 5 ? { properties: { sessionExpiryInterval: 0 } } : {}),
    } as Packet);
    this.line?.peer.close();
    this.#leave();
  }

  subscribe(filter: string, qos: 0 | 1 | 2): void {
    if (!this.isOpen) return;
    // No retained messages on MQTT 5; the topics that tests retain have no subscribers.
    const subscription = this.level === 5 ? { topic: filter, qos, nl: false, rap: false, rh: 2 } : { topic: filter, qos };
    this.#send({ cmd: 'subscribe', messageId: this.#nextSubscribe++, subscriptions: [subscription] } as Packet);
  }

  unsubscribe(filter: string): void {
    if (this.isOpen) this.#send({ cmd: 'unsubscribe', messageId: this.#nextSubscribe++, unsubscriptions: [filter] });
  }

  /** Whether another QoS 1 or 2 message may be published now. */
  get hasRoom(): boolean {
    return this.isOpen && this.#outgoing.size < PUBLISHED_AT_ONCE_MAX;
  }

  publish(message: Message, usesAlias: boolean): void {
    if (message.qos === 0) {
      this.#sendMessage(message, 0, false, usesAlias);
      return;
    }
    let packetId = 1;
    while (this.#outgoing.has(packetId)) packetId++;
    this.#outgoing.set(packetId, { message, stage: 'publish' });
    this.#sendMessage(message, packetId, false, usesAlias);
  }

  /** Sends an answer that is due: `at` chooses which, `times` how often. */
  answer(at: number, times: number): void {
    const [packet] = this.#answers.splice(this.#answers.length === 0 ? 0 : at % this.#answers.length, 1);
    if (packet === undefined) return;
    for (let i = 0; i < times; i++) this.#sendAnswer(packet);
  }

  answerAll(): boolean {
    const answers = this.#answers;
    this.#answers = [];
    for (const packet of answers) this.#sendAnswer(packet);
    return answers.length > 0;
  }

  /** An answer that is due is never sent on this connection. */
  loseAnswer(at: number): void {
    if (this.#answers.length === 0) return;
    this.#answers.splice(at % this.#answers.length, 1);
    this.hasLostAnswers = true;
  }

  #leave(): void {
    this.line = null;
    this.#isAccepted = false;
    this.#answers = [];
    this.#unanswered.clear();
    this.#aliasesIn.clear();
    this.#aliasesOut.clear();
    this.hasLostAnswers = false;
    this.refusesNext = false;
  }

  #receive(packet: Packet): void {
    switch (packet.cmd) {
      case 'connack':
        this.#accepted(packet);
        return;
      case 'publish':
        this.#received(packet);
        return;
      case 'puback':
        if (!this.#outgoing.delete(packet.messageId!)) violated(`${this.id} got a PUBACK for nothing`);
        return;
      case 'pubrec':
        this.#released(packet.messageId!);
        return;
      case 'pubrel':
        this.#unreleased.delete(packet.messageId!);
        this.#due({ cmd: 'pubcomp', messageId: packet.messageId! });
        return;
      case 'pubcomp':
        // A second one, for a PUBREL that was sent twice, has nothing to do with a message that has the identifier now.
        if (this.#outgoing.get(packet.messageId!)?.stage === 'release') this.#outgoing.delete(packet.messageId!);
        return;
      case 'suback':
      case 'unsuback':
        for (const reason of (packet.granted as number[] | undefined) ?? []) {
          if (reason >= Reason.UNSPECIFIED) violated(`${packet.cmd} with reason ${reason}`);
        }
        return;
      default:
        violated(`${this.id} got a ${packet.cmd}`);
    }
  }

  #accepted(packet: IConnackPacket): void {
    const { session, sessionPresent } = this.line?.connection ?? violated('CONNACK before the CONNECT was heard');
    const reason = this.level === 5 ? packet.reasonCode : packet.returnCode;
    if (reason !== 0) violated(`${this.id} was refused: ${reason}`);
    // MQTT 3.1 does not tell whether there is a session: such a client has to know [MQTT3-3.2.2-1].
    if (this.level !== 3 && packet.sessionPresent !== sessionPresent) violated(`session present is ${packet.sessionPresent}`);
    this.#isAccepted = true;
    this.#aliasesOutMax = packet.properties?.topicAliasMaximum ?? 0;
    // A session may have been made by a CONNACK that was lost: session present alone does not tell whose it is.
    if (session !== this.#session) {
      this.#session = session;
      this.#outgoing.clear();
      this.#unreleased.clear();
    }
    for (const [packetId, { message, stage }] of this.#outgoing) {
      if (stage === 'publish') this.#sendMessage(message, packetId, true, false);
      else this.#send({ cmd: 'pubrel', messageId: packetId });
    }
  }

  #received(packet: IPublishPacket): void {
    const { connection } = this.line!;
    const message = this.#model.messages[messageId(packet.payload)]!;
    if (packet.payload.toString() !== message.payload) violated(`message ${message.id} has another payload`);
    if (this.#topicOf(packet) !== message.topic) violated(`message ${message.id} has another topic`);
    const packetId = packet.messageId ?? 0;
    if (packet.qos === 0) {
      this.#model.take(connection!.session, message, 0);
      return;
    }
    if (this.#unanswered.has(packetId)) violated(`packet identifier ${packetId} is in use`);
    this.#unanswered.add(packetId);
    if (this.#unanswered.size > connection!.receiveMaximum)
      violated(`${this.id} has more than ${connection!.receiveMaximum} to answer`);
    const isNew = packet.qos === 1 || !this.#unreleased.has(packetId);
    if (packet.qos === 2 && isNew && this.refusesNext && this.level === 5) {
      this.refusesNext = false;
      message.wasRefused = true;
      this.#due({ cmd: 'pubrec', messageId: packetId, reasonCode: Reason.IMPLEMENTATION_SPECIFIC });
      return;
    }
    if (isNew) this.#model.take(connection!.session, message, packet.qos);
    if (packet.qos === 2) this.#unreleased.add(packetId);
    this.#due({ cmd: packet.qos === 1 ? 'puback' : 'pubrec', messageId: packetId });
  }

  #topicOf(packet: IPublishPacket): string {
    const alias = packet.properties?.topicAlias;
    if (alias === undefined) return packet.topic;
    if (packet.topic !== '') this.#aliasesIn.set(alias, packet.topic);
    return this.#aliasesIn.get(alias) ?? violated(`alias ${alias} stands for nothing`);
  }

  /** PUBREC: the broker has the message. */
  #released(packetId: number): void {
    const outgoing = this.#outgoing.get(packetId) ?? violated(`${this.id} got a PUBREC for nothing`);
    outgoing.stage = 'release';
    this.#due({ cmd: 'pubrel', messageId: packetId });
  }

  #due(packet: Acknowledgement): void {
    if (this.eager) this.#sendAnswer(packet);
    else this.#answers.push(packet);
  }

  #sendAnswer(packet: Acknowledgement): void {
    const isLast =
      packet.cmd === 'puback' || packet.cmd === 'pubcomp' || (packet.cmd === 'pubrec' && (packet.reasonCode ?? 0) > 0);
    if (isLast) this.#unanswered.delete(packet.messageId);
    this.#send(packet);
  }

  #sendMessage(message: Message, packetId: number, dup: boolean, usesAlias: boolean): void {
    const alias = usesAlias ? this.#alias(message.topic) : 0;
    const properties = {
      ...(Math.abs(alias) > 0 ? { topicAlias: Math.abs(alias) } : {}),
      ...(message.expiryS > 0 ? { messageExpiryInterval: message.expiryS } : {}),
    };
    this.#send({
      cmd: 'publish',
      topic: alias > 0 ? '' : message.topic,
      payload: message.payload,
      qos: message.qos,
      dup,
      retain: message.retain,
      ...(packetId === 0 ? {} : { messageId: packetId }),
      ...(this.level === 5 ? { properties } : {}),
    } as Packet);
  }

  /** Negative when the broker has to be told the name with it, 0 when none is left. */
  #alias(topic: string): number {
    const known = this.#aliasesOut.get(topic);
    if (known !== undefined) return known;
    if (this.#aliasesOut.size >= this.#aliasesOutMax) return 0;
    this.#aliasesOut.set(topic, this.#aliasesOut.size + 1);
    return -this.#aliasesOut.size;
  }

  #send(packet: Packet): void {
    this.line!.peer.send(bytesOfPacket(packet, this.level));
  }
}
