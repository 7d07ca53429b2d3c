// HOT: no allocation, closures, strings, try or async per message.
// A block of PUBLISH packets, one behind the other, that is written again and again: what a slot holds already is only numbered anew.
//
// A slot's packet is intact when it is of the wanted stream, begins where it would begin now, and no slot before it was replaced since.
import { copyBytes, writeU16 } from '../../protocol/bytes.ts';
import { writeHeader } from './message.ts';
import type { StreamPacket } from './stream.ts';

export class Burst {
  readonly block: Buffer;
  readonly slots: number;
  /** Given to the wire: frees the burst. */
  readonly sent: () => void;
  /** Messages in it, and the end of the last one. */
  count = 0;
  end: number;
  readonly #from: number;
  readonly #view: DataView;
  readonly #streamOf: Int32Array;
  readonly #startOf: Int32Array;
  /** Slots from here on may have been overwritten. */
  #intact = 0;

  /** Room for `slots` packets of at most `packetBytes`, behind `headroom` bytes that belong to the wire. */
  constructor(slots: number, packetBytes: number, headroom: number, sent: (burst: Burst) => void) {
    this.block = Buffer.alloc(headroom + slots * packetBytes);
    this.slots = slots;
    this.sent = () => sent(this);
    this.end = headroom;
    this.#from = headroom;
    this.#view = new DataView(this.block.buffer, this.block.byteOffset, this.block.length);
    this.#streamOf = new Int32Array(slots).fill(-1);
    this.#startOf = new Int32Array(slots);
  }

  begin(): void {
    this.count = 0;
    this.end = this.#from;
  }

  /**
   * Adds a message. `place` tells streams of this burst apart, `word` is what the payload carries, `packetId` is ignored at QoS 0.
   */
  add(place: number, packet: StreamPacket, word: number, number: number, sentUs: number, packetId: number): void {
    const slot = this.count++;
    const at = this.end;
    const { bytes, payloadAt, packetIdAt } = packet;
    if (slot >= this.#intact || this.#streamOf[slot] !== place || this.#startOf[slot] !== at) {
      copyBytes(bytes, 0, bytes.length, this.block, at);
      this.#streamOf[slot] = place;
      this.#startOf[slot] = at;
      this.#intact = slot + 1;
    }
    writeHeader(this.#view, at + payloadAt, word, number, sentUs, bytes.length - payloadAt);
    if (packetIdAt >= 0) writeU16(this.block, at + packetIdAt, packetId);
    this.end = at + bytes.length;
  }
}
