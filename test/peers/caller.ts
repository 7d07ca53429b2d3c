// A client of a company of shards: an MQTT 5 session that keeps what it has not finished, moves from shard to shard, and notes what it receives.
import type { IPublishPacket, Packet } from 'mqtt-packet';
import type { MemoryPeer } from '../../engine/network/memory-link.ts';
import { Level } from '../../protocol/packet.ts';
import { bytesOfPacket, packetReader } from '../sessions/packets.ts';
import type { Company } from './company.ts';

export type Qos = 0 | 1 | 2;

export interface Sent {
  readonly topic: string;
  readonly payload: string;
  readonly qos: Qos;
  readonly retain: boolean;
  /** Message Expiry Interval in seconds; 0 for none. */
  readonly expiryS: number;
  /** Reason code of the answer; -1 while there is none. */
  answer: number;
  isReleased: boolean;
  /** It was sent more than once. */
  wasRepeated: boolean;
}

export interface Taken {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly subscriptionId: number | undefined;
  /** Which of the client's connections brought it. */
  readonly connection: number;
}

export interface CallerOptions {
  readonly clean?: boolean;
  readonly expiryS?: number;
  readonly username?: string;
  readonly receiveMaximum?: number;
  readonly will?: { readonly topic: string; readonly payload: string; readonly qos: Qos; readonly retain?: boolean };
}

export class Caller {
  readonly id: string;
  readonly level: Level;
  readonly #company: Company;
  peer: MemoryPeer | null = null;
  connections = 0;
  isOpen = false;
  /** Reason of the CONNACK or DISCONNECT that came last. */
  reason = -1;
  wasPresent = false;
  /** Answers what it receives at once. */
  eager = true;
  readonly taken: Taken[] = [];
  /** Packets that are none of the others' business. */
  readonly granted = new Map<number, number[]>();
  readonly #outgoing = new Map<number, Sent>();
  readonly #unreleased = new Set<number>();
  #due: Packet[] = [];
  #nextPacket = 1;

  constructor(company: Company, id: string, level: Level = Level.V5) {
    this.#company = company;
    this.id = id;
    this.level = level;
  }

  get outgoing(): number {
    return this.#outgoing.size;
  }

  connect(shard: number, { clean = false, expiryS = 600, username, receiveMaximum, will }: CallerOptions = {}): void {
    // Of two that are on their way either could be judged first.
    if (!this.isOpen) this.peer?.abort();
    this.#leave();
    const peer = this.#company.connect(shard);
    this.peer = peer;
    this.connections++;
    const read = packetReader(this.level, (packet) => {
      if (this.peer === peer) this.#take(packet, clean);
    });
    peer.onBytes = read;
    this.#send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: this.level,
      clientId: this.id,
      clean,
      keepalive: 0,
      ...(username === undefined ? {} : { username }),
      ...(will === undefined ? {} : { will: { retain: false, ...will, payload: Buffer.from(will.payload) } }),
      ...(this.level === Level.V5
        ? { properties: { sessionExpiryInterval: expiryS, ...(receiveMaximum === undefined ? {} : { receiveMaximum }) } }
        : {}),
    } as Packet);
  }

  /** The network fails. */
  cut(): void {
    this.peer?.abort();
    this.#leave();
  }

  disconnect(): void {
    if (!this.isOpen) return;
    this.#send({ cmd: 'disconnect', reasonCode: 0 } as Packet);
    this.peer!.close();
    this.#leave();
  }

  /** Returns the packet identifier, by which `granted` has the answer. */
  subscribe(filter: string, qos: Qos, options: { nl?: boolean; rh?: number; id?: number } = {}): number {
    const messageId = 30_000 + this.#nextPacket++;
    const extra = this.level === Level.V5 ? { nl: options.nl ?? false, rap: true, rh: options.rh ?? 0 } : {};
    const subscription = { topic: filter, qos, ...extra };
    const properties = options.id === undefined ? {} : { properties: { subscriptionIdentifier: options.id } };
    this.#send({ cmd: 'subscribe', messageId, subscriptions: [subscription], ...properties } as Packet);
    return messageId;
  }

  publish(topic: string, payload: string, qos: Qos, { retain = false, expiryS = 0 } = {}): Sent {
    const sent: Sent = {
      topic,
      payload,
      qos,
      retain,
      expiryS,
      answer: qos === 0 ? 0 : -1,
      isReleased: false,
      wasRepeated: false,
    };
    let messageId = 0;
    if (qos > 0) {
      for (messageId = 1; this.#outgoing.has(messageId); ) messageId++;
      this.#outgoing.set(messageId, sent);
    }
    this.#sendMessage(sent, messageId, false);
    return sent;
  }

  /** Answers what is due. */
  answerAll(): void {
    const due = this.#due;
    this.#due = [];
    for (const packet of due) this.#send(packet);
  }

  get payloads(): string[] {
    return this.taken.map(({ payload }) => payload);
  }

  #leave(): void {
    this.peer = null;
    this.isOpen = false;
    this.#due = [];
  }

  #take(packet: Packet, clean: boolean): void {
    switch (packet.cmd) {
      case 'connack':
        this.#accepted(packet.reasonCode ?? packet.returnCode!, packet.sessionPresent, clean);
        return;
      case 'disconnect':
        this.reason = packet.reasonCode!;
        this.#leave();
        return;
      case 'suback':
        this.granted.set(packet.messageId!, packet.granted as number[]);
        return;
      case 'puback':
        this.#answered(packet.messageId!, packet.reasonCode ?? 0);
        return;
      case 'pubrec':
        if ((packet.reasonCode ?? 0) >= 0x80) this.#answered(packet.messageId!, packet.reasonCode!);
        else this.#release(packet.messageId!, packet.reasonCode ?? 0);
        return;
      case 'pubcomp':
        this.#outgoing.delete(packet.messageId!);
        return;
      case 'publish':
        this.#received(packet);
        return;
      case 'pubrel':
        this.#unreleased.delete(packet.messageId!);
        this.#answer({ cmd: 'pubcomp', messageId: packet.messageId! });
        return;
      default:
        throw new Error(`${this.id} got a ${packet.cmd}`);
    }
  }

  #accepted(reason: number, present: boolean, clean: boolean): void {
    this.reason = reason;
    if (reason !== 0) {
      this.#leave();
      return;
    }
    this.isOpen = true;
    this.wasPresent = present;
    if (present && clean) throw new Error(`${this.id} asked for a clean start`);
    if (!present) {
      this.#unreleased.clear();
      for (const [id, sent] of this.#outgoing) if (sent.isReleased) this.#outgoing.delete(id);
    }
    for (const [id, sent] of this.#outgoing) {
      if (sent.isReleased) this.#send({ cmd: 'pubrel', messageId: id });
      else this.#sendMessage(sent, id, present);
      sent.wasRepeated = true;
    }
  }

  #answered(id: number, reason: number): void {
    const sent = this.#outgoing.get(id);
    if (sent === undefined) throw new Error(`${this.id} got an answer for nothing`);
    sent.answer = reason;
    this.#outgoing.delete(id);
  }

  #release(id: number, reason: number): void {
    const sent = this.#outgoing.get(id);
    if (sent === undefined) throw new Error(`${this.id} got a PUBREC for nothing`);
    sent.answer = reason;
    sent.isReleased = true;
    this.#answer({ cmd: 'pubrel', messageId: id });
  }

  #received(packet: IPublishPacket): void {
    const id = packet.messageId ?? 0;
    const { topic, qos, retain } = packet;
    const isNew = qos < 2 || !this.#unreleased.has(id);
    const subscriptionId = packet.properties?.subscriptionIdentifier as number | undefined;
    const payload = packet.payload.toString();
    if (isNew) this.taken.push({ topic, payload, qos, retain, subscriptionId, connection: this.connections });
    if (qos === 1) this.#answer({ cmd: 'puback', messageId: id, reasonCode: 0 } as Packet);
    if (qos < 2) return;
    this.#unreleased.add(id);
    this.#answer({ cmd: 'pubrec', messageId: id, reasonCode: 0 } as Packet);
  }

  #answer(packet: Packet): void {
    if (this.eager) this.#send(packet);
    else this.#due.push(packet);
  }

  #sendMessage({ topic, payload, qos, retain, expiryS }: Sent, messageId: number, dup: boolean): void {
    const properties = expiryS === 0 ? {} : { properties: { messageExpiryInterval: expiryS } };
    this.#send({
      cmd: 'publish',
      topic,
      payload,
      qos,
      dup,
      retain,
      ...(messageId === 0 ? {} : { messageId }),
      ...properties,
    } as Packet);
  }

  #send(packet: Packet): void {
    this.peer!.send(bytesOfPacket(packet, this.level));
  }
}
