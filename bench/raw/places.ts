// HOT: no allocation, closures, strings, try or async per message (but where a stream is seen for the first time).
// Which streams a subscriber is to receive, and where each stands in its ledger. In a closed run the roster says so; otherwise
// every stream of every load is taken as it comes.
import { equalBytes } from '../../protocol/bytes.ts';
import type { Roster, SubscriberSeat } from '../plan/roster.ts';
import type { Ledger } from './ledger.ts';
import { runOf, streamOf } from './message.ts';

/** Of each stream of a closed run, what its messages look like. */
export class StreamFacts {
  readonly topics: readonly Uint8Array[];
  readonly payloadBytes: Int32Array;
  readonly publisherOf: Int32Array;

  constructor({ topics, publisherOf, publishers }: Roster) {
    this.topics = Array.from(topics, (topic) => new Uint8Array(Buffer.from(topic)));
    this.publisherOf = publisherOf;
    this.payloadBytes = Int32Array.from(publisherOf, (publisher) => publishers[publisher]!.group.payloadBytes);
  }
}

export class Places {
  readonly isClosed: boolean;
  readonly #run: number;
  readonly #facts: StreamFacts;
  readonly #slots: Int32Array;
  /** The first stream when they stand in a row; otherwise -1, and each has an entry. */
  readonly #first: number;
  readonly #count: number;
  readonly #placeOf = new Map<number, number>();

  /** @param run its low 8 bits */
  constructor(isClosed: boolean, run: number, facts: StreamFacts, { streams, slots }: SubscriberSeat) {
    this.isClosed = isClosed;
    this.#run = run & 0xff;
    this.#facts = facts;
    this.#slots = slots;
    this.#count = streams.length;
    const first = streams[0] ?? 0;
    const isRow = streams.length === 0 || streams[streams.length - 1]! - first === streams.length - 1;
    this.#first = isRow && isClosed ? first : -1;
    if (this.#first < 0) for (let place = 0; place < streams.length; place++) this.#placeOf.set(streams[place]!, place);
  }

  /** Whether a message with this word belongs to the run; -1 is the word of none. */
  knows(word: number): boolean {
    if (word < 0) return false;
    return !this.isClosed || (runOf(word) === this.#run && streamOf(word) < this.#facts.topics.length);
  }

  /** Whether payload and topic are those of the stream. */
  fits(word: number, payloadBytes: number, buffer: Uint8Array, topicFrom: number, topicTo: number): boolean {
    if (!this.isClosed) return true;
    const stream = streamOf(word);
    const topic = this.#facts.topics[stream]!;
    return payloadBytes === this.#facts.payloadBytes[stream] && equalBytes(topic, 0, topic.length, buffer, topicFrom, topicTo);
  }

  /** Where the stream stands in the ledger, -1 when the subscriber is not to get it; `number` is of its first message. */
  place(word: number, ledger: Ledger, number: number): number {
    if (this.#first >= 0) {
      const place = streamOf(word) - this.#first;
      return place >= 0 && place < this.#count ? place : -1;
    }
    const known = this.#placeOf.get(this.isClosed ? streamOf(word) : word);
    if (known !== undefined) return known;
    if (this.isClosed) return -1;
    const place = ledger.add(number);
    this.#placeOf.set(word, place);
    return place;
  }

  /** Place in the progress table, -1: nobody waits. */
  slot(place: number): number {
    return this.isClosed ? this.#slots[place]! : -1;
  }

  /** -1: not of this run. */
  publisher(word: number): number {
    return this.isClosed ? this.#facts.publisherOf[streamOf(word)]! : -1;
  }
}
