// What an operator sees of one client for a time: topics, sizes and the quality of its messages, to it and from it. Never a byte of a payload or of a property's value.
// While a connection has a tracer, its messages take the way one by one (routing/publish.ts, routing/run.ts).
import type { MessageView } from '../../protocol/publish.ts';

export interface TracedMessage {
  /** Wall clock in ms. */
  readonly atMs: number;
  readonly direction: 'from client' | 'to client';
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly payloadBytes: number;
  readonly propertyBytes: number;
}

/** Messages that wait to be taken, and bytes of their topics. */
const WAITING_MAX = 4_096;
const WAITING_BYTES_MAX = 1_048_576;

export class Tracer {
  /** Seen, the lost ones included. */
  seen = 0;
  #waiting: TracedMessage[] = [];
  #waitingBytes = 0;
  #lost = 0;
  readonly #wallMs: () => number;

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs;
  }

  note(direction: TracedMessage['direction'], view: MessageView, qos: number, retain: number, dup: number): void {
    this.seen++;
    const { topic, topicFrom, topicTo, payloadFrom, payloadTo, propertiesFrom, propertiesTo } = view;
    const bytes = topicTo - topicFrom;
    if (this.#waiting.length >= WAITING_MAX || this.#waitingBytes + bytes > WAITING_BYTES_MAX) {
      this.#lost++;
      return;
    }
    this.#waitingBytes += bytes;
    this.#waiting.push({
      atMs: this.#wallMs(),
      direction,
      topic: Buffer.from(topic.subarray(topicFrom, topicTo)).toString('utf8'),
      qos,
      retain: retain !== 0,
      dup: dup !== 0,
      payloadBytes: payloadTo - payloadFrom,
      propertyBytes: propertiesTo - propertiesFrom,
    });
  }

  /** Takes what waits; `lost`: how many found no room before the last of it. */
  take(): { readonly messages: readonly TracedMessage[]; readonly lost: number } {
    const taken = { messages: this.#waiting, lost: this.#lost };
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#lost = 0;
    return taken;
  }
}
