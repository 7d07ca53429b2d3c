// The receiving end of a bridge's journey: a client with a session of its own, which knows a QoS 2 message again by its packet identifier
// (MQTT 5.0 §4.3.3) and so receives each exchange once, over as many lines as it takes.
import { type Level, puback, pubcomp, pubrec, subscribe } from '../conformance/bytes.ts';
import { type Packet, type Publish, readAcknowledgement, readCodes, readPublish } from '../conformance/decode.ts';
import { Peer } from '../crash/peer.ts';

const PUBLISH = 3;
const PUBREL = 6;
const SUBACK = 9;

export class Receiver {
  readonly peer: Peer;
  /** What went wrong with its connection. */
  readonly violations: string[] = [];
  readonly #filter: string;
  readonly #take: (message: Publish) => void;
  readonly #unreleased = new Set<number>();
  #isSubscribed = false;

  /** Hands each message that it receives to `take`; of QoS 2 each exchange once. */
  constructor(name: string, level: Level, filter: string, take: (message: Publish) => void) {
    this.#filter = filter;
    this.#take = take;
    this.peer = new Peer(name, level, {
      opened: (sessionPresent) => this.#opened(sessionPresent),
      packet: (packet) => this.#receive(packet),
      closed: () => {},
      violation: (text) => this.violations.push(text),
    });
  }

  /** Opens a line; true once the broker has confirmed the subscription. */
  async connect(port: number): Promise<boolean> {
    return (await this.peer.connect(port)) && (await this.peer.until('it is subscribed', () => this.#isSubscribed));
  }

  #opened(sessionPresent: boolean): void {
    if (this.#isSubscribed && !sessionPresent) this.violations.push(`${this.peer.name} has lost its session`);
    if (!this.#isSubscribed) this.peer.send(subscribe(this.peer.level, { filters: [[this.#filter, 2]] }));
  }

  #receive(packet: Packet): void {
    const { peer } = this;
    switch (packet.type) {
      case PUBLISH: {
        const message = readPublish(packet, peer.level);
        const { qos, packetId } = message;
        if (qos !== 2 || !this.#unreleased.has(packetId)) this.#take(message);
        if (qos === 2) this.#unreleased.add(packetId);
        if (qos > 0) peer.send(qos === 1 ? puback(packetId) : pubrec(packetId));
        return;
      }
      case PUBREL: {
        const { packetId } = readAcknowledgement(packet);
        this.#unreleased.delete(packetId);
        peer.send(pubcomp(packetId));
        return;
      }
      case SUBACK:
        this.#isSubscribed = readCodes(packet, peer.level).codes.every((code) => code === 2);
        return;
      default:
        this.violations.push(`${peer.name} got packet type ${packet.type}`);
    }
  }
}
