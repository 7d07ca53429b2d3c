// HOT: no allocation, closures, strings, try or async per message.
// Packets that are written one behind the other in a turn and handed over in one piece. Grows with what is written, up to the largest packet beyond what one turn brings.
import { copyBytes } from '../../protocol/bytes.ts';

const BYTES_MIN = 2_048;
const NONE = new Uint8Array(0);

export class PacketBuffer {
  block: Uint8Array = NONE;
  length = 0;

  /** Makes room for `bytes` in one piece and returns their offset in `block`; the caller writes all of them before anything else happens. */
  reserve(bytes: number): number {
    const at = this.length;
    const needed = at + bytes;
    if (needed > this.block.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(BYTES_MIN, needed, this.block.length * 2));
      copyBytes(this.block, 0, at, grown, 0);
      this.block = grown;
    }
    this.length = needed;
    return at;
  }

  append(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    copyBytes(bytes, 0, bytes.length, this.block, at);
  }

  /** Gives away what was written. */
  take(): Uint8Array {
    const taken = this.block.subarray(0, this.length);
    this.block = NONE;
    this.length = 0;
    return taken;
  }
}
