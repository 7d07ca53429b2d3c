// HOT: no allocation, closures, strings, try or async per message.
// Topic aliases of one connection (MQTT 5.0 §3.3.2.3.4), both ways. They die with the connection.
// Outbound: the first topics that are sent get the aliases, in order, until the client's maximum is reached. A small
// open-addressed table finds a topic by hash and compares its bytes.
import { equalBytes, ownBytes } from '../../protocol/bytes.ts';

/** What clients may say instead of a topic name. */
export class InboundAliases {
  readonly #topics: (Uint8Array | null)[];

  constructor(maximum: number) {
    this.#topics = new Array(maximum + 1).fill(null);
  }

  get maximum(): number {
    return this.#topics.length - 1;
  }

  /** Copies the topic name; a new name for an alias replaces the old one. */
  set(alias: number, topic: Uint8Array, from: number, to: number): void {
    const known = this.#topics[alias] ?? null;
    if (known !== null && equalBytes(known, 0, known.length, topic, from, to)) return;
    this.#topics[alias] = ownBytes(topic, from, to);
  }

  get(alias: number): Uint8Array | null {
    return this.#topics[alias] ?? null;
  }
}

/** What the broker says instead of a topic name. */
export class OutboundAliases {
  readonly #mask: number;
  readonly #alias: Uint16Array;
  readonly #topics: Uint8Array[] = [];
  readonly maximum: number;

  constructor(maximum: number) {
    this.maximum = maximum;
    const slots = 2 ** Math.ceil(Math.log2(maximum * 2 + 1));
    this.#mask = slots - 1;
    this.#alias = new Uint16Array(slots);
  }

  /**
   * The alias of a topic: positive when the client knows it already, negative when this is its first use and the name must be sent with it,
   * 0 when no alias is left.
   */
  use(topic: Uint8Array, from: number, to: number): number {
    let slot = hashTopic(topic, from, to) & this.#mask;
    for (;;) {
      const alias = this.#alias[slot]!;
      if (alias === 0) break;
      const known = this.#topics[alias - 1]!;
      if (equalBytes(known, 0, known.length, topic, from, to)) return alias;
      slot = (slot + 1) & this.#mask;
    }
    if (this.#topics.length === this.maximum) return 0;
    this.#topics.push(ownBytes(topic, from, to));
    this.#alias[slot] = this.#topics.length;
    return -this.#topics.length;
  }
}

/** FNV-1a, 32 bits. */
function hashTopic(topic: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ topic[i]!, 0x01000193);
  return hash >>> 0;
}
