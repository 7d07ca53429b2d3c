// The sending half of a client with a session (MQTT 5.0 §4.3, §4.4): a window of QoS 1 and 2 messages, whose packet identifiers are used again
// as soon as they are free, and which go out again with DUP and the same identifiers, in order, on the next line.
import { type Level, property, publish, pubrel } from '../conformance/bytes.ts';
import { type Packet, readAcknowledgement } from '../conformance/decode.ts';
import type { Ledger } from './ledger.ts';
import { Peer } from './peer.ts';

/** A message on its way to the broker. */
export interface Parcel {
  readonly topic: string;
  readonly qos: 1 | 2;
  readonly payload: string;
  readonly retain: boolean;
  /** Goes with it as a user property on MQTT 5. */
  readonly label: string;
}

/** Where parcels come from, and who is told of their way. */
export interface Source<P extends Parcel> {
  /** The next one, or null when there is none now. */
  next(): P | null;
  /** It went out, for the first time or again. */
  sent(parcel: P): void;
  /** The broker has taken it over. */
  acknowledged(parcel: P): void;
}

interface Outgoing<P> {
  readonly parcel: P;
  stage: 'publish' | 'release';
}

const PUBACK = 4;
const PUBREC = 5;
const PUBCOMP = 7;
const UNSPECIFIED = 0x80;
const IDENTIFIER_NOT_FOUND = 0x92;

export class Sender<P extends Parcel> {
  readonly peer: Peer;
  readonly #ledger: Ledger;
  readonly #source: Source<P>;
  readonly #window: number;
  /** By packet identifier, in the order of their sending. */
  readonly #outgoing = new Map<number, Outgoing<P>>();
  /** The broker has acknowledged something: it must know the session. */
  #isKnown = false;

  constructor(name: string, level: Level, window: number, ledger: Ledger, source: Source<P>) {
    this.#ledger = ledger;
    this.#source = source;
    this.#window = window;
    this.peer = new Peer(name, level, {
      opened: (sessionPresent) => this.#opened(sessionPresent),
      packet: (packet) => this.#receive(packet),
      closed: () => {},
      violation: (text) => ledger.violation(text),
    });
  }

  /** Messages that the broker has not acknowledged to the end. */
  get inFlight(): number {
    return this.#outgoing.size;
  }

  /** Sends what the source gives and the window allows. */
  fill(): void {
    while (this.peer.isOpen && this.#outgoing.size < this.#window) {
      const parcel = this.#source.next();
      if (parcel === null) return;
      let packetId = 1;
      while (this.#outgoing.has(packetId)) packetId++;
      const outgoing: Outgoing<P> = { parcel, stage: 'publish' };
      this.#outgoing.set(packetId, outgoing);
      this.#send(packetId, outgoing, false);
    }
  }

  /** True when everything is acknowledged; false when the line is gone before. */
  untilIdle(): Promise<boolean> {
    return this.peer.until('its messages are acknowledged', () => this.#outgoing.size === 0);
  }

  #opened(sessionPresent: boolean): void {
    if (!sessionPresent && this.#isKnown) this.#ledger.violation(`${this.peer.name} has lost its session`);
    for (const [packetId, outgoing] of this.#outgoing) this.#send(packetId, outgoing, true);
    this.fill();
  }

  #send(packetId: number, { parcel, stage }: Outgoing<P>, dup: boolean): void {
    if (stage === 'release') {
      this.peer.send(pubrel(packetId));
      return;
    }
    const { topic, qos, payload, retain, label } = parcel;
    const properties = this.peer.level === 5 ? [property.userProperty('label', label)] : [];
    this.peer.send(publish(this.peer.level, { topic, payload, qos, retain, dup, packetId, properties }));
    this.#source.sent(parcel);
  }

  #receive(packet: Packet): void {
    const { packetId, reason } = readAcknowledgement(packet);
    const outgoing = this.#outgoing.get(packetId);
    const fault = (what: string) =>
      this.#ledger.violation(`${this.peer.name} got ${what} (identifier ${packetId}, reason ${reason})`);
    if (outgoing === undefined) {
      fault(`packet type ${packet.type} for nothing`);
      return;
    }
    // Of a PUBREL that went out again the first one may have come.
    const isOld = packet.type === PUBCOMP && reason === IDENTIFIER_NOT_FOUND;
    if (reason >= UNSPECIFIED && !isOld) fault(`a refusal by packet type ${packet.type}`);
    const { parcel, stage } = outgoing;
    if (packet.type === PUBACK && parcel.qos === 1) {
      this.#finish(packetId);
      this.#source.acknowledged(parcel);
    } else if (packet.type === PUBREC && parcel.qos === 2) {
      if (stage === 'publish') this.#source.acknowledged(parcel);
      outgoing.stage = 'release';
      this.peer.send(pubrel(packetId));
    } else if (packet.type === PUBCOMP && stage === 'release') {
      this.#finish(packetId);
    } else {
      fault(`packet type ${packet.type} out of turn`);
    }
    this.fill();
  }

  #finish(packetId: number): void {
    this.#outgoing.delete(packetId);
    this.#isKnown = true;
  }
}
