// HOT: no allocation, closures, strings, try or async per message.
// What keeps a message from going round in a ring of bridges: each broker that passes it on over MQTT 5 adds a User Property, `lethe-bridge`, with a name of its own that tells nothing else, and the way: `<` in, `>` out.
// What has come in may go out by another bridge, and so is known on the way out only by having gone out before; on the way in either sign says that it was here. What has passed too many brokers goes no further.
import { readU16, writeU16 } from '../../protocol/bytes.ts';
import { Property } from '../../protocol/properties.ts';
import type { MessageView } from '../../protocol/publish.ts';

const NAME = Buffer.from('lethe-bridge');
/** Signs that a message may have; a broker that it comes into and leaves again adds two. */
const SIGNS_MAX = 32;

/** Identifier, name and the length of the value: what both signs begin with. */
const HEAD_BYTES = 1 + 2 + NAME.length + 2;

export class LoopTag {
  /** The properties as they stand in a packet. */
  readonly in: Uint8Array;
  readonly out: Uint8Array;

  /** @param own name of this broker in messages: of no other broker */
  constructor(own: string) {
    this.in = propertyOf(`${own}<`);
    this.out = propertyOf(`${own}>`);
  }

  /** Whether a message that is about to go out went out before. Looks at its user properties, which were found to be whole. */
  wasSent(message: MessageView): boolean {
    return hasSign(message, this.out, this.out);
  }

  /** Whether a message that is about to come in was here before, likewise. */
  wasHere(message: MessageView): boolean {
    return hasSign(message, this.in, this.out);
  }
}

function propertyOf(text: string): Uint8Array {
  const value = Buffer.from(text);
  const bytes = new Uint8Array(HEAD_BYTES + value.length);
  bytes[0] = Property.USER_PROPERTY;
  writeU16(bytes, 1, NAME.length);
  bytes.set(NAME, 3);
  writeU16(bytes, 3 + NAME.length, value.length);
  bytes.set(value, HEAD_BYTES);
  return bytes;
}

/** Whether one of the signs, which have one length, is there, or too many of others. */
function hasSign({ properties, propertiesFrom, propertiesTo }: MessageView, one: Uint8Array, other: Uint8Array): boolean {
  let signs = 0;
  for (let at = propertiesFrom; at < propertiesTo; ) {
    const to = propertyEnd(properties, at);
    if (begins(one, HEAD_BYTES - 2, properties, at, to)) {
      signs++;
      if (
        to - at === one.length &&
        (begins(one, one.length, properties, at, to) || begins(other, other.length, properties, at, to))
      )
        return true;
    }
    at = to;
  }
  return signs >= SIGNS_MAX;
}

/** Where the property that begins at `at` ends: one that a message carries on (MQTT 5.0 §3.3.2.3), of one byte, of bytes behind their length, or of two texts. */
function propertyEnd(properties: Uint8Array, at: number): number {
  const id = properties[at]!;
  if (id === Property.PAYLOAD_FORMAT_INDICATOR) return at + 2;
  const to = at + 3 + readU16(properties, at + 1);
  return id === Property.USER_PROPERTY ? to + 2 + readU16(properties, to) : to;
}

function begins(bytes: Uint8Array, count: number, properties: Uint8Array, at: number, to: number): boolean {
  if (to - at < count) return false;
  for (let i = 0; i < count; i++) if (properties[at + i] !== bytes[i]) return false;
  return true;
}
