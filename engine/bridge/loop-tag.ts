// HOT: no allocation, closures, strings, try or async per message.
// What keeps a message from going round in a ring of bridges: each broker that passes it on over MQTT 5 adds a User Property, `lethe-bridge`, with a name of its own that tells nothing else. What has that
// name already, or has passed too many brokers, goes no further.
import { readU16, writeU16 } from '../../protocol/bytes.ts';
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

  /** Whether a message was here before, or has passed as many brokers as it may: its user properties tell, which were found to be whole. */
  isSpent({ properties, propertiesFrom, propertiesTo }: MessageView): boolean {
    const { bytes } = this;
    let hops = 0;
    for (let at = propertiesFrom; at < propertiesTo; ) {
      const to = propertyEnd(properties, at);
      if (to - at >= this.#headBytes && begins(bytes, this.#headBytes, properties, at)) {
        if (to - at === bytes.length && begins(bytes, bytes.length, properties, at)) return true;
        hops++;
      }
      at = to;
    }
    return hops >= HOPS_MAX;
  }
}

/** Where the property that begins at `at` ends: one that a message carries on (MQTT 5.0 §3.3.2.3), of one byte, of bytes behind their length, or of two texts. */
function propertyEnd(properties: Uint8Array, at: number): number {
  const id = properties[at]!;
  if (id === Property.PAYLOAD_FORMAT_INDICATOR) return at + 2;
  const to = at + 3 + readU16(properties, at + 1);
  return id === Property.USER_PROPERTY ? to + 2 + readU16(properties, to) : to;
}

function begins(bytes: Uint8Array, count: number, properties: Uint8Array, at: number): boolean {
  for (let i = 0; i < count; i++) if (properties[at + i] !== bytes[i]) return false;
  return true;
}
