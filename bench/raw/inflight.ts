// HOT: no allocation, closures, strings, try or async per message.
// A publisher's messages of QoS 1 and 2 that the broker has not acknowledged to the end, by packet identifier: enough of each to
// send it again. Identifiers are taken round and round, so that walking from the next one on meets the oldest first.

export const Stage = {
  FREE: 0,
  /** PUBLISH is sent. */
  SENT: 1,
  /** PUBREC has come and PUBREL is sent (QoS 2). */
  RELEASED: 2,
} as const;
export type Stage = (typeof Stage)[keyof typeof Stage];

const IDS_MIN = 16;
const IDS_MAX = 65_535;

export class Inflight {
  count = 0;
  /** Identifiers are 1 to `ids`. */
  readonly ids: number;
  readonly #stage: Uint8Array;
  readonly #place: Int32Array;
  readonly #number: Uint32Array;
  readonly #sentUs: Uint32Array;
  #next = 0;

  /** @param messages that may be on their way at once; at most half of the identifiers are in use, so that one is found soon */
  constructor(messages: number) {
    let ids = IDS_MIN;
    while (ids < messages * 2) ids *= 2;
    this.ids = Math.min(ids, IDS_MAX);
    this.#stage = new Uint8Array(this.ids);
    this.#place = new Int32Array(this.ids);
    this.#number = new Uint32Array(this.ids);
    this.#sentUs = new Uint32Array(this.ids);
  }

  /** Takes an identifier for a message; there must be a free one. */
  take(place: number, number: number, sentUs: number): number {
    let at = this.#next;
    while (this.#stage[at] !== Stage.FREE) at = at + 1 === this.ids ? 0 : at + 1;
    this.#next = at + 1 === this.ids ? 0 : at + 1;
    this.#stage[at] = Stage.SENT;
    this.#place[at] = place;
    this.#number[at] = number;
    this.#sentUs[at] = sentUs;
    this.count++;
    return at + 1;
  }

  stage(packetId: number): Stage {
    return packetId < 1 || packetId > this.ids ? Stage.FREE : (this.#stage[packetId - 1] as Stage);
  }

  place(packetId: number): number {
    return this.#place[packetId - 1]!;
  }

  number(packetId: number): number {
    return this.#number[packetId - 1]!;
  }

  sentUs(packetId: number): number {
    return this.#sentUs[packetId - 1]!;
  }

  release(packetId: number): void {
    this.#stage[packetId - 1] = Stage.RELEASED;
  }

  free(packetId: number): void {
    this.#stage[packetId - 1] = Stage.FREE;
    this.count--;
  }

  /** The identifier in use that comes `step` places behind the newest, 0 when that place is free: the oldest first, over steps 0 to `ids` - 1. */
  oldest(step: number): number {
    const at = (this.#next + step) % this.ids;
    return this.#stage[at] === Stage.FREE ? 0 : at + 1;
  }
}
