// A publisher of numbered messages: to topics that every subscriber shares, and to topics of single subscribers, at QoS 1 and 2. What each
// payload must be follows from topic and number, so that a receiver can tell whether it is whole.

import type { Level } from '../conformance/bytes.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { AcknowledgedQos, Ledger, Stream } from './ledger.ts';
import { type Parcel, Sender, type Source } from './sender.ts';

interface NumberedParcel extends Parcel {
  readonly stream: Stream;
  readonly number: number;
}

/** Topics below this one go to every subscriber. */
export const ALL_PREFIX = 'all/';
/** Topics below this one and a subscriber's name go to it alone. */
export const OWN_PREFIX = 'to/';

/** The subscriber whose messages are large. */
export const BULK_NAME = 'bulk';
const BULK_PREFIX = `${OWN_PREFIX}${BULK_NAME}/`;
const BULK_BYTES = 60_000;

const WINDOW = 16;

export class Publisher implements Source<NumberedParcel> {
  readonly sender: Sender<NumberedParcel>;
  /** Messages that it may still begin. */
  quota = 0;
  /** The same for large ones to one subscriber. */
  bulk = 0;
  readonly #name: string;
  readonly #random: SeededRandom;
  readonly #ledger: Ledger;
  readonly #addressees: readonly string[];

  constructor(name: string, level: Level, addressees: readonly string[], random: SeededRandom, ledger: Ledger) {
    this.#name = name;
    this.#random = random;
    this.#ledger = ledger;
    this.#addressees = addressees;
    this.sender = new Sender(name, level, WINDOW, ledger, this);
  }

  get isIdle(): boolean {
    return this.quota === 0 && this.bulk === 0 && this.sender.inFlight === 0;
  }

  next(): NumberedParcel | null {
    if (this.bulk > 0) {
      this.bulk--;
      return this.#parcel(BULK_PREFIX, 1);
    }
    if (this.quota === 0) return null;
    this.quota--;
    const qos: AcknowledgedQos = this.#random.below(2) === 0 ? 1 : 2;
    const addressee = this.#addressees[this.#random.below(this.#addressees.length * 2)];
    const prefix = addressee === undefined ? ALL_PREFIX : `${OWN_PREFIX}${addressee}/`;
    return this.#parcel(prefix, qos);
  }

  #parcel(prefix: string, qos: AcknowledgedQos): NumberedParcel {
    const stream = this.#ledger.stream(`${prefix}${this.#name}/${qos}`, qos);
    const number = stream.sends.length;
    return {
      topic: stream.topic,
      qos,
      payload: payloadOf(stream.topic, number),
      retain: false,
      label: `n${number}`,
      stream,
      number,
    };
  }

  sent({ stream, number }: NumberedParcel): void {
    this.#ledger.sent(stream, number);
  }

  acknowledged({ stream, number }: NumberedParcel): void {
    this.#ledger.acknowledged(stream, number);
  }
}

/** The payload of a message: mostly small, some that fill a sealed value, few that do not fit the rings. */
export function payloadOf(topic: string, number: number): string {
  if (topic.startsWith(BULK_PREFIX)) return `${number}:${'b'.repeat(BULK_BYTES)}`;
  const dice = (Math.imul(number + topic.length * 7, 0x9e3779b1) >>> 8) % 4_096;
  const bytes = dice === 0 ? 1_200_000 : dice < 16 ? 40_000 : dice < 160 ? 3_000 : dice % 120;
  return `${number}:${String.fromCharCode(97 + (number % 26)).repeat(bytes)}`;
}

/** The number in a payload, -1 when it is not the payload of one. */
export function numberOf(topic: string, payload: string): number {
  const number = Number.parseInt(payload, 10);
  return payload === payloadOf(topic, number) ? number : -1;
}
