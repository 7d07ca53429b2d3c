// What the broker owes: every message with the times it was sent and its acknowledgement, and for every session what came of it. It judges
// each delivery when it comes, and says at the end what never came. It knows nothing of connections or processes.
//
// A stream is a topic with one publisher and one QoS; its messages are numbered from 0. Order holds within a stream, by first deliveries.

export type AcknowledgedQos = 1 | 2;

/** The messages of one topic. */
export interface Stream {
  readonly topic: string;
  readonly qos: AcknowledgedQos;
  /** How often each number was sent: more than once after a connection was lost. */
  readonly sends: number[];
  readonly acknowledged: boolean[];
}

/** What a session has of one stream. */
interface Receipts {
  readonly granted: AcknowledgedQos;
  /** First number that is owed for certain; an earlier one may come. */
  readonly from: number;
  /** By number: deliveries that claimed to be the first. */
  readonly fresh: number[];
  readonly copies: number[];
  /** Deliveries that were acknowledged to the end on this line, by number and packet identifier. */
  readonly consumed: Set<number>;
  /** Those of them that are durably forgotten: they may not come again. */
  readonly settled: Set<number>;
  highest: number;
}

/** A delivery as a client received it. */
export interface Arrival {
  readonly session: string;
  readonly topic: string;
  readonly number: number;
  readonly qos: number;
  readonly dup: boolean;
  readonly packetId: number;
}

/** More than this says nothing new. */
const VIOLATIONS_MAX = 40;

export class Ledger {
  /** What the broker did wrong, in the order in which it was seen. */
  readonly violations: string[] = [];
  /** Goes before each violation: when it was seen. */
  chapter = '';
  published = 0;
  acknowledgements = 0;
  delivered = 0;
  redelivered = 0;
  readonly #streams = new Map<string, Stream>();
  /** By session, then by topic. */
  readonly #receipts = new Map<string, Map<string, Receipts>>();
  /** Numbers of a session that are owed and did not come yet, by session. */
  readonly #outstanding = new Map<string, number>();
  /** Subscribers by a prefix of topics. */
  readonly #subscriptions: { readonly session: string; readonly prefix: string; readonly granted: AcknowledgedQos }[] = [];

  violation(text: string): void {
    if (this.violations.length < VIOLATIONS_MAX) this.violations.push(`${this.chapter}: ${text}`);
  }

  /** The stream of a topic, made when it is new. */
  stream(topic: string, qos: AcknowledgedQos): Stream {
    const known = this.#streams.get(topic);
    if (known !== undefined) return known;
    const stream: Stream = { topic, qos, sends: [], acknowledged: [] };
    this.#streams.set(topic, stream);
    for (const { session, prefix, granted } of this.#subscriptions)
      if (topic.startsWith(prefix)) this.#owe(session, stream, granted);
    return stream;
  }

  /** The broker has confirmed a subscription: from now on the session is owed what begins with `prefix`. */
  subscribed(session: string, prefix: string, granted: AcknowledgedQos): void {
    this.#subscriptions.push({ session, prefix, granted });
    for (const stream of this.#streams.values()) if (stream.topic.startsWith(prefix)) this.#owe(session, stream, granted);
  }

  /** The session ends: nothing is owed to it any more. */
  ended(session: string): void {
    this.#receipts.delete(session);
    this.#outstanding.delete(session);
    for (let i = this.#subscriptions.length - 1; i >= 0; i--) {
      if (this.#subscriptions[i]!.session === session) this.#subscriptions.splice(i, 1);
    }
  }

  sent(stream: Stream, number: number): void {
    stream.sends[number] = (stream.sends[number] ?? 0) + 1;
    if (stream.sends[number] > 1) return;
    this.published++;
    for (const [session, topics] of this.#receipts) {
      const receipts = topics.get(stream.topic);
      if (receipts !== undefined && number >= receipts.from) this.#count(session, 1);
    }
  }

  acknowledged(stream: Stream, number: number): void {
    stream.acknowledged[number] = true;
    this.acknowledgements++;
  }

  /** Judges a delivery. Of a QoS 2 message only what a receiver does not know as the repetition of an open exchange. */
  arrived(arrival: Arrival): void {
    const { session, topic, number, qos, dup } = arrival;
    const stream = this.#streams.get(topic);
    const receipts = this.#receipts.get(session)?.get(topic);
    if (stream === undefined || stream.sends[number] === undefined) {
      this.violation(`${describe(arrival)} was never published`);
      return;
    }
    if (receipts === undefined) return; // before the broker has confirmed the subscription
    this.delivered++;
    const expected = Math.min(stream.qos, receipts.granted);
    if (qos !== expected) this.violation(`${describe(arrival)} has QoS ${qos} instead of ${expected}`);
    const copies = receipts.copies[number] ?? 0;
    const fresh = receipts.fresh[number] ?? 0;
    receipts.copies[number] = copies + 1;
    receipts.fresh[number] = fresh + (dup ? 0 : 1);
    if (copies > 0) {
      this.redelivered++;
      this.#judgeAgain(arrival, stream, receipts, expected, copies);
      return;
    }
    if (number < receipts.from) return; // it may have been routed before the subscription, and sent again after it
    if (number < receipts.highest) this.violation(`${describe(arrival)} came after ${receipts.highest}`);
    else receipts.highest = number;
    this.#count(session, -1);
  }

  #judgeAgain(arrival: Arrival, stream: Stream, receipts: Receipts, qos: number, copies: number): void {
    const { number, packetId } = arrival;
    const sends = stream.sends[number]!;
    if (qos === 2) this.violation(`${describe(arrival)} came ${copies + 1} times, sent ${sends} times`);
    else if (receipts.settled.has(deliveryKey(number, packetId)))
      this.violation(`${describe(arrival)} came back after it was forgotten`);
    else if (receipts.fresh[number]! > sends) {
      this.violation(`${describe(arrival)} came ${receipts.fresh[number]} times without DUP, sent ${sends} times`);
    }
  }

  /** The receiver has acknowledged a delivery to the end. */
  consumed(session: string, topic: string, number: number, packetId: number): void {
    this.#receipts.get(session)?.get(topic)?.consumed.add(deliveryKey(number, packetId));
  }

  /** The line of a session is gone: the broker may not have heard its last acknowledgements. */
  lineLost(session: string): void {
    for (const { consumed } of this.#receipts.get(session)?.values() ?? []) consumed.clear();
  }

  /** Notes what a session has consumed; to be called once that is durably forgotten: none of it may come again. */
  settling(session: string): () => void {
    const streams = [...(this.#receipts.get(session)?.values() ?? [])];
    const now = streams.map(({ consumed, settled }) => ({ keys: [...consumed], settled }));
    for (const { consumed } of streams) consumed.clear();
    return () => {
      for (const { keys, settled } of now) for (const key of keys) settled.add(key);
    };
  }

  /** Messages that a session is owed and does not have. */
  outstanding(session: string): number {
    return this.#outstanding.get(session) ?? 0;
  }

  /** Says what is missing, session by session. */
  judgeEnd(): void {
    for (const [session, topics] of this.#receipts) {
      for (const [topic, receipts] of topics) this.#judgeMissing(session, this.#streams.get(topic)!, receipts);
    }
  }

  #judgeMissing(session: string, stream: Stream, receipts: Receipts): void {
    const missing: number[] = [];
    let acknowledged = 0;
    for (let number = receipts.from; number < stream.sends.length; number++) {
      if (receipts.copies[number] !== undefined) continue;
      missing.push(number);
      if (stream.acknowledged[number]) acknowledged++;
    }
    if (missing.length === 0) return;
    const shown = missing.slice(0, 8).join(', ') + (missing.length > 8 ? ', …' : '');
    const { topic, qos } = stream;
    this.violation(
      `${session} misses ${missing.length} of ${stream.sends.length} in ${topic} (QoS ${qos}), ${acknowledged} acknowledged: ${shown}`,
    );
  }

  #owe(session: string, stream: Stream, granted: AcknowledgedQos): void {
    let topics = this.#receipts.get(session);
    if (topics === undefined) {
      topics = new Map();
      this.#receipts.set(session, topics);
    }
    topics.set(stream.topic, {
      granted,
      from: stream.sends.length,
      fresh: [],
      copies: [],
      consumed: new Set(),
      settled: new Set(),
      highest: -1,
    });
  }

  #count(session: string, change: number): void {
    this.#outstanding.set(session, this.outstanding(session) + change);
  }
}

function deliveryKey(number: number, packetId: number): number {
  return number * 65_536 + packetId;
}

function describe({ session, topic, number, dup }: Arrival): string {
  return `${topic} number ${number} for ${session}${dup ? ' (DUP)' : ''}`;
}
