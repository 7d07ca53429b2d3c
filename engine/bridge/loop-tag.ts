// HOT: no allocation, closures, strings, try or async per message.
// What keeps a message from going round in a ring of bridges: each broker that passes it on over MQTT 5 adds a User Property, `lethe-bridge`, with a name of its own that tells nothing else. What has that
// name already, or has passed too many brokers, goes no further.
import { writeU16 } from '../../protocol/bytes.ts';
import { Property } from '../../protocol/properties.ts';
import type { MessageView } from '../../protocol/publish.ts';

const NAME = Buffer.from('lethe-bridge');
/** Brokers that a message may pass. */
const HOPS_MAX = 16;

export class LoopTag {
  /** The property as it stands in a packet. */
  readonly bytes: Uint8Array;
  readonly #headBytes: number;

  /** @param own name of this broker in messages: the same after a restart */
  constructor(own: string) {
    const value = Buffer.from(own);
    const bytes = new Uint8Array(1 + 2 + NAME.length + 2 + value.length);
    bytes[0] = Property.USER_PROPERTY;
    writeU16(bytes, 1, NAME.length);
    bytes.set(NAME, 3);
    this.#headBytes = 3 + NAME.length;
    writeU16(bytes, this.#headBytes, value.length);
    bytes.set(value, this.#headBytes + 2);
    this.bytes = bytes;
  }

  /** Whether a message was here before, or has passed as many brokers as it may. Looks at its property bytes, which were found to be whole. */
  isSpent({ properties, propertiesFrom, propertiesTo }: MessageView): boolean {
    const { bytes } = this;
    const head = this.#headBytes;
    let hops = 0;
    for (let at = propertiesFrom; at + head <= propertiesTo; at++) {
      // The name stands behind its own length: bytes like these inside of another value would need to be put there by the publisher.
      if (properties[at] !== Property.USER_PROPERTY || !begins(bytes, head, properties, at)) continue;
      if (at + bytes.length <= propertiesTo && begins(bytes, bytes.length, properties, at)) return true;
      hops++;
      at += head;
    }
    return hops >= HOPS_MAX;
  }
}

function begins(bytes: Uint8Array, count: number, properties: Uint8Array, at: number): boolean {
  for (let i = 0; i < count; i++) if (properties[at + i] !== bytes[i]) return false;
  return true;
}
