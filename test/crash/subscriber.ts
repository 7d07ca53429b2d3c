// The receiving half of a client with a session (MQTT 5.0 §4.3): it subscribes once and acknowledges in one of several manners, from at
// once to not at all. Of QoS 2 it remembers the identifiers of open exchanges from line to line, and so knows repetitions.
import { type Level, property, puback, pubcomp, pubrec, subscribe } from '../conformance/bytes.ts';
import { type Packet, type Publish, propertyOf, readAcknowledgement, readCodes, readPublish } from '../conformance/decode.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { AcknowledgedQos, Ledger } from './ledger.ts';
import { Peer } from './peer.ts';
import { ALL_PREFIX, numberOf, OWN_PREFIX } from './publisher.ts';

/** How a subscriber acknowledges on one line. */
export const Manner = {
  PROMPT: 'prompt',
  /** Some time later, in any order. */
  SHUFFLED: 'shuffled',
  /** PUBACK and PUBREC at once, PUBCOMP never. */
  UNFINISHED: 'unfinished',
  /** Not at all. */
  SILENT: 'silent',
} as const;
export type Manner = (typeof Manner)[keyof typeof Manner];

export interface SubscriberPlan {
  readonly name: string;
  readonly level: Level;
  /** QoS that it asks for on the topics that all share; null when it does not want them. */
  readonly shared: AcknowledgedQos | null;
  /** Has topics of its own. */
  readonly hasOwn: boolean;
  /** Receive Maximum; 0: none. */
  readonly receiveMaximum: number;
}

interface Due {
  readonly bytes: Buffer;
  /** What it finishes for good. */
  readonly finishes: Received | null;
}

interface Received {
  readonly topic: string;
  readonly number: number;
  readonly packetId: number;
}

const PUBLISH = 3;
const PUBREL = 6;
const SUBACK = 9;
const SUBSCRIPTION_IDENTIFIER = 0x0b;
const USER_PROPERTY = 0x26;
const IDENTIFIER_NOT_FOUND = 0x92;
const SHARED_SUBSCRIPTION = 7;
const OWN_SUBSCRIPTION = 300;
const SHARED_PACKET = 1;
const OWN_PACKET = 2;
const SHUFFLE_MS_MAX = 6;

export class Subscriber {
  readonly peer: Peer;
  readonly plan: SubscriberPlan;
  manner: Manner = Manner.PROMPT;
  /** Packets until it cuts its line; -1: never, 0: it has. */
  #cutAfter = -1;
  readonly #ledger: Ledger;
  readonly #random: SeededRandom;
  /** Messages of open QoS 2 exchanges, by packet identifier. */
  readonly #unreleased = new Map<number, Received>();
  #due: Due[] = [];
  #timer: NodeJS.Timeout | null = null;
  /** The broker has confirmed these subscriptions; it must never forget them. */
  #hasShared = false;
  #hasOwn = false;
  #isLeaving = false;

  constructor(plan: SubscriberPlan, random: SeededRandom, ledger: Ledger) {
    this.plan = plan;
    this.#random = random;
    this.#ledger = ledger;
    this.peer = new Peer(plan.name, plan.level, {
      opened: (sessionPresent) => this.#opened(sessionPresent),
      packet: (packet) => this.#receive(packet),
      closed: () => this.#closed(),
      violation: (text) => ledger.violation(text),
    });
  }

  get isSubscribed(): boolean {
    return (this.#hasShared || this.plan.shared === null) && (this.#hasOwn || !this.plan.hasOwn);
  }

  /** Whether it has cut the line itself. */
  get hasCut(): boolean {
    return this.#cutAfter === 0;
  }

  /** Opens a line, and cuts it after `cutAfter` packets unless that is negative. */
  connect(port: number, manner: Manner, cutAfter = -1): Promise<boolean> {
    this.manner = manner;
    this.#cutAfter = cutAfter;
    return this.peer.connect(port, { receiveMaximum: this.plan.receiveMaximum });
  }

  /** True once it has everything that it is owed and every exchange is at its end; false when the line is gone before. */
  async drain(): Promise<boolean> {
    const { name } = this.plan;
    const isEmpty = () => this.#ledger.outstanding(name) === 0 && this.#unreleased.size === 0;
    return (await this.peer.until('it has what it is owed', isEmpty)) && (await this.peer.ping());
  }

  /** Ends the session. */
  async leave(port: number): Promise<void> {
    this.#isLeaving = true;
    this.peer.cut();
    await this.peer.connect(port, { clean: true, expiryS: 0 });
    this.peer.cut();
  }

  #opened(sessionPresent: boolean): void {
    if (this.#isLeaving) return;
    const { name, level, shared, hasOwn } = this.plan;
    if (!sessionPresent && (this.#hasShared || this.#hasOwn)) this.#ledger.violation(`${name} has lost its session`);
    const identified = (identifier: number) => (level === 5 ? [property.subscriptionIdentifier(identifier)] : []);
    if (shared !== null && !this.#hasShared) {
      this.peer.send(
        subscribe(level, {
          packetId: SHARED_PACKET,
          properties: identified(SHARED_SUBSCRIPTION),
          filters: [[`${ALL_PREFIX}#`, shared]],
        }),
      );
    }
    if (hasOwn && !this.#hasOwn) {
      this.peer.send(
        subscribe(level, {
          packetId: OWN_PACKET,
          properties: identified(OWN_SUBSCRIPTION),
          filters: [[`${OWN_PREFIX}${name}/#`, 2]],
        }),
      );
    }
  }

  #closed(): void {
    this.#ledger.lineLost(this.plan.name);
    this.#due = [];
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #receive(packet: Packet): void {
    if (packet.type === PUBLISH) this.#received(readPublish(packet, this.plan.level));
    else if (packet.type === PUBREL) this.#released(readAcknowledgement(packet).packetId);
    else if (packet.type === SUBACK) this.#subscribed(packet);
    else this.#ledger.violation(`${this.plan.name} got packet type ${packet.type}`);
    if (this.#cutAfter > 0 && --this.#cutAfter === 0) this.peer.cut();
  }

  #subscribed(packet: Packet): void {
    const { name, shared, level } = this.plan;
    const { packetId, codes } = readCodes(packet, level);
    const isShared = packetId === SHARED_PACKET;
    const asked = isShared && shared !== null ? shared : 2;
    if (codes[0] !== asked) this.#ledger.violation(`${name} was granted ${codes.join()}`);
    if (isShared) this.#hasShared = true;
    else this.#hasOwn = true;
    this.#ledger.subscribed(name, isShared ? ALL_PREFIX : `${OWN_PREFIX}${name}/`, asked);
  }

  #received(packet: Publish): void {
    const { topic, packetId, qos, dup } = packet;
    const number = this.#judge(packet);
    if (number < 0) return;
    const received: Received = { topic, number, packetId };
    if (qos === 1) {
      this.#ledger.arrived({ session: this.plan.name, topic, number, qos, dup, packetId });
      this.#answer({ bytes: puback(packetId), finishes: received });
      return;
    }
    const open = this.#unreleased.get(packetId);
    if (open === undefined) {
      this.#ledger.arrived({ session: this.plan.name, topic, number, qos, dup, packetId });
      this.#unreleased.set(packetId, received);
    } else if (open.topic !== topic || open.number !== number) {
      const both = `${topic} number ${number}, and the exchange of ${open.topic} number ${open.number} is open`;
      this.#ledger.violation(`${this.plan.name} got identifier ${packetId} with ${both}`);
    } else if (!dup) {
      this.#ledger.violation(`${this.plan.name} got ${topic} number ${number} again without DUP`);
    }
    this.#answer({ bytes: pubrec(packetId), finishes: null });
  }

  /** The number of a message; -1, and said, when something about it is not as it was published. */
  #judge({ topic, payload, properties }: Publish): number {
    const { name, level } = this.plan;
    const number = numberOf(topic, payload);
    if (number < 0) {
      this.#ledger.violation(`${name} got ${topic} with ${payload.length} bytes that are not a payload: ${payload.slice(0, 40)}`);
      return -1;
    }
    if (level !== 5) return number;
    const identifier = topic.startsWith(ALL_PREFIX) ? SHARED_SUBSCRIPTION : OWN_SUBSCRIPTION;
    if (propertyOf(properties, SUBSCRIPTION_IDENTIFIER) !== identifier) {
      this.#ledger.violation(`${name} got ${topic} number ${number} without its subscription identifier`);
    }
    const label = propertyOf(properties, USER_PROPERTY);
    if (label !== undefined && (label as readonly string[])[1] !== `n${number}`) {
      this.#ledger.violation(`${name} got ${topic} number ${number} with the property ${String(label)}`);
    }
    return number;
  }

  #released(packetId: number): void {
    const received = this.#unreleased.get(packetId) ?? null;
    if (this.manner === Manner.UNFINISHED) return; // it forgets that it was asked
    this.#unreleased.delete(packetId);
    const isUnknown = received === null && this.plan.level === 5;
    this.#answer({ bytes: isUnknown ? pubcomp(packetId, IDENTIFIER_NOT_FOUND) : pubcomp(packetId), finishes: received });
  }

  #answer(due: Due): void {
    if (this.manner === Manner.SILENT) return;
    if (this.manner !== Manner.SHUFFLED) {
      this.#send(due);
      return;
    }
    this.#due.push(due);
    this.#timer ??= setTimeout(() => this.#sendSome(), this.#random.below(SHUFFLE_MS_MAX));
  }

  #sendSome(): void {
    this.#timer = null;
    for (let left = 1 + this.#random.below(this.#due.length); left > 0; left--) {
      const [due] = this.#due.splice(this.#random.below(this.#due.length), 1);
      this.#send(due!);
    }
    if (this.#due.length > 0) this.#timer = setTimeout(() => this.#sendSome(), this.#random.below(SHUFFLE_MS_MAX));
  }

  #send({ bytes, finishes }: Due): void {
    this.peer.send(bytes);
    if (finishes !== null) this.#ledger.consumed(this.plan.name, finishes.topic, finishes.number, finishes.packetId);
  }
}
