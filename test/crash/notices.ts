// Retained messages under change: topics whose message is replaced and cleared again and again, and what each may hold after a crash: what
// was acknowledged last, or what was sent after that.
import { connect, type Level, pingreq, subscribe } from '../conformance/bytes.ts';
import { readPublish } from '../conformance/decode.ts';
import { RawClient } from '../conformance/raw-client.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { Ledger } from './ledger.ts';
import { type Parcel, Sender, type Source } from './sender.ts';

interface Notice extends Parcel {
  readonly topicIndex: number;
  /** Counts the changes of the topic, from 0. */
  readonly change: number;
}

interface Topic {
  /** Payload after each change; empty: cleared. */
  readonly payloads: string[];
  /** The last change that was acknowledged, -1 before the first. */
  acknowledged: number;
}

const TOPICS = 10;
const WINDOW = 6;
const PUBLISH = 3;
const PINGRESP = 13;
const ANSWER_MS_MAX = 30_000;
const LOOK_MS_MAX = 5_000;
const LARGE_BYTES = 20_000;

export class Notices implements Source<Notice> {
  readonly sender: Sender<Notice>;
  /** Changes that it may still begin. */
  quota = 0;
  readonly #random: SeededRandom;
  readonly #ledger: Ledger;
  readonly #toClear: number[] = [];
  readonly #topics: readonly Topic[] = Array.from({ length: TOPICS }, () => ({ payloads: [], acknowledged: -1 }));

  constructor(name: string, level: Level, random: SeededRandom, ledger: Ledger) {
    this.#random = random;
    this.#ledger = ledger;
    this.sender = new Sender(name, level, WINDOW, ledger, this);
  }

  get isIdle(): boolean {
    return this.quota === 0 && this.sender.inFlight === 0;
  }

  /** Topics whose last change was no clearing. */
  get kept(): number {
    return this.#topics.filter(({ payloads }) => (payloads.at(-1) ?? '') !== '').length;
  }

  next(): Notice | null {
    const cleared = this.#toClear.pop();
    if (cleared !== undefined) return this.#change(cleared, '');
    if (this.quota === 0) return null;
    this.quota--;
    const topicIndex = this.#random.below(TOPICS);
    const change = this.#topics[topicIndex]!.payloads.length;
    const bytes = this.#random.below(20) === 0 ? LARGE_BYTES : this.#random.below(200);
    return this.#change(topicIndex, this.#random.below(4) === 0 ? '' : `${change}:${'n'.repeat(bytes)}`);
  }

  sent(): void {}

  acknowledged({ topicIndex, change }: Notice): void {
    const topic = this.#topics[topicIndex]!;
    topic.acknowledged = Math.max(topic.acknowledged, change);
  }

  /** Every topic is to be cleared. */
  clearAll(): void {
    for (let i = 0; i < TOPICS; i++) this.#toClear.push(i);
    this.sender.fill();
  }

  /** Asks the broker what it holds and judges it. False when the line was lost. */
  async look(port: number): Promise<boolean> {
    let client: RawClient | null = null;
    try {
      client = await RawClient.connect(port, 5);
      const found = await readAll(client, (some) => this.#mayBeAll(some));
      for (let i = 0; i < TOPICS; i++) this.#judge(i, found.get(nameOf(i)) ?? '');
      return true;
    } catch {
      return false;
    } finally {
      client?.drop();
    }
  }

  #change(topicIndex: number, payload: string): Notice {
    const { payloads } = this.#topics[topicIndex]!;
    const change = payloads.push(payload) - 1;
    return {
      topic: nameOf(topicIndex),
      qos: topicIndex % 2 === 0 ? 1 : 2,
      payload,
      retain: true,
      label: 'notice',
      topicIndex,
      change,
    };
  }

  #mayBeAll(found: ReadonlyMap<string, string>): boolean {
    return this.#topics.every((_, at) => this.#allowed(at).includes(found.get(nameOf(at)) ?? ''));
  }

  /** What a topic may hold, as far as its publisher knows. */
  #allowed(topicIndex: number): readonly string[] {
    const { payloads, acknowledged } = this.#topics[topicIndex]!;
    return acknowledged < 0 ? ['', ...payloads] : payloads.slice(acknowledged);
  }

  #judge(topicIndex: number, payload: string): void {
    const { acknowledged } = this.#topics[topicIndex]!;
    const may = this.#allowed(topicIndex);
    if (may.includes(payload)) return;
    const said = (text: string) => (text === '' ? 'nothing' : text.slice(0, 8));
    const wanted = may.map(said).join(', ');
    this.#ledger.violation(
      `${nameOf(topicIndex)} holds ${said(payload)} instead of ${wanted} (change ${acknowledged} was acknowledged)`,
    );
  }
}

function nameOf(topicIndex: number): string {
  return `notice/${topicIndex}`;
}

/** What is retained. With several shards it comes when the subscription is known to all of them: the answer to a PINGREQ may come first. */
async function readAll(
  client: RawClient,
  mayBeAll: (found: ReadonlyMap<string, string>) => boolean,
): Promise<Map<string, string>> {
  const startedMs = performance.now();
  const found = new Map<string, string>();
  client.send(connect(5, { clientId: 'reader' }));
  await client.nextPacket(ANSWER_MS_MAX);
  client.send(subscribe(5, { filters: [['notice/#', 0]] }), pingreq);
  for (;;) {
    const packet = await client.nextPacket(ANSWER_MS_MAX);
    if (packet.type === PINGRESP) {
      if (mayBeAll(found) || performance.now() - startedMs > LOOK_MS_MAX) return found;
      client.send(pingreq);
    }
    if (packet.type !== PUBLISH) continue;
    const { topic, payload } = readPublish(packet, 5);
    found.set(topic, payload);
  }
}
