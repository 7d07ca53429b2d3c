// Numbered messages from a publisher at one end of a bridge to a subscriber at the other, and what must be true of them: each arrives,
// in order, whole and of its QoS; at QoS 2 once, and at QoS 1 again only where a connection was lost.
import type { Level } from '../conformance/bytes.ts';
import type { Publish } from '../conformance/decode.ts';
import { Ledger } from '../crash/ledger.ts';
import { type Parcel, Sender, type Source } from '../crash/sender.ts';
import { Receiver } from './receiver.ts';

export interface FlowPlan {
  readonly name: string;
  readonly qos: 1 | 2;
  readonly count: number;
  /** Topic at the publisher, and the one under which it arrives. */
  readonly topic: string;
  readonly arrivesAs?: string;
  readonly level?: Level;
  /** Messages that are not acknowledged yet; Mosquitto takes no more than 20. */
  readonly window?: number;
  /** Of each payload, at least. */
  readonly bytes?: number;
  /** Stands in each payload. */
  readonly mark?: string;
  readonly retain?: boolean;
  /** What passes it on may change their order over a cut. */
  readonly isShuffled?: boolean;
  /** What passes it on has no session that outlives a cut: QoS 2 may arrive again as well. */
  readonly isRepeated?: boolean;
}

export class Flow implements Source<Parcel> {
  readonly sender: Sender<Parcel>;
  readonly receiver: Receiver;
  readonly plan: FlowPlan;
  /** Messages that it may have begun so far; all of them unless told. */
  allowed: number;
  /** How often each arrived, by number. */
  readonly arrivals: number[] = [];
  begun = 0;
  readonly #ledger = new Ledger();
  readonly #faults: string[] = [];
  #highest = -1;
  #arrived = 0;

  constructor(plan: FlowPlan) {
    const { name, level = 5, window = 16, topic, arrivesAs = topic } = plan;
    this.plan = plan;
    this.allowed = plan.count;
    this.sender = new Sender(`${name}-from`, level, window, this.#ledger, this);
    this.receiver = new Receiver(`${name}-to`, level, arrivesAs, (message) => this.#arrive(message));
  }

  /** Opens both ends; the messages begin to go. */
  async begin(from: number, to: number): Promise<void> {
    await this.receiver.connect(to);
    await this.sender.peer.connect(from);
  }

  /** Lets so many more begin. */
  allow(more: number): void {
    this.allowed += more;
    this.sender.fill();
  }

  /** True once everything that was begun has arrived; false when the receiver's line is gone before. */
  arrived(count = this.plan.count): Promise<boolean> {
    return this.receiver.peer.until(`${count} messages have arrived, not ${this.#arrived}`, () => this.#arrived >= count);
  }

  /** All that was wrong. `cuts` says whether a connection was lost: then QoS 1 may arrive again. */
  judge(cuts: boolean): readonly string[] {
    const { name, qos, count, isRepeated = false } = this.plan;
    const isRepeatable = cuts && (qos === 1 || isRepeated);
    const lost: number[] = [];
    const again: number[] = [];
    for (let number = 0; number < count; number++) {
      const times = this.arrivals[number] ?? 0;
      if (times === 0) lost.push(number);
      if (times > 1 && !isRepeatable) again.push(number);
    }
    const told = (what: string, numbers: readonly number[]) =>
      numbers.length === 0 ? [] : [`${name}: ${numbers.length} of ${count} ${what}: ${numbers.slice(0, 8).join(', ')}`];
    return [
      ...this.#ledger.violations,
      ...this.receiver.violations,
      ...this.#faults.slice(0, 8),
      ...told('lost', lost),
      ...told('arrived more than once', again),
    ];
  }

  cut(): void {
    this.sender.peer.cut();
    this.receiver.peer.cut();
  }

  next(): Parcel | null {
    const { topic, qos, retain = false } = this.plan;
    if (this.begun >= Math.min(this.allowed, this.plan.count)) return null;
    const number = this.begun++;
    return { topic, qos, payload: payloadOf(number, this.plan), retain, label: `n${number}` };
  }

  sent(): void {}

  acknowledged(): void {}

  #arrive({ topic, payload, qos }: Publish): void {
    const { name, arrivesAs = this.plan.topic } = this.plan;
    const number = Number.parseInt(payload, 10);
    const fault = (what: string) => this.#faults.push(`${name}: number ${number} ${what}`);
    if (payload !== payloadOf(number, this.plan)) fault(`is not whole, ${payload.length} characters`);
    if (topic !== arrivesAs) fault(`came under ${topic}`);
    if (qos !== this.plan.qos) fault(`came with QoS ${qos}`);
    if (!(number < this.begun)) fault('was never sent');
    const before = this.arrivals[number] ?? 0;
    this.arrivals[number] = before + 1;
    if (before > 0) return;
    this.#arrived++;
    if (number < this.#highest && !this.plan.isShuffled) fault(`came after ${this.#highest}`);
    else this.#highest = number;
  }
}

function payloadOf(number: number, { bytes = 0, mark = '' }: FlowPlan): string {
  return `${number}:${mark}`.padEnd(bytes, String.fromCharCode(97 + (number % 26)));
}
