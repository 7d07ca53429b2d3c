// HOT: no allocation, closures, strings, try or async per message.
// What a topic name, a topic filter and a shared filter may look like (MQTT 5.0 §4.7, §4.8.2), on bytes.
// Matching is the trie's business. Nothing is normalised [MQTT-4.7.3-4].
import { fault, Reason } from './packet.ts';
import { validateUtf8 } from './utf8.ts';

const NAME_INVALID = fault(Reason.TOPIC_NAME_INVALID);
const FILTER_INVALID = fault(Reason.TOPIC_FILTER_INVALID);

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
/** The bytes of `$share/`. */
const SHARE_PREFIX = [0x24, 0x73, 0x68, 0x61, 0x72, 0x65, SLASH];

/**
 * Judges the topic name in [from, to). Returns its number of levels (>= 1), or a fault: MALFORMED_PACKET for bad UTF-8
 * or U+0000 [MQTT-4.7.3-2], TOPIC_NAME_INVALID when empty [MQTT-4.7.3-1], over a bound, or with a wildcard [MQTT-3.3.2-2].
 */
export function validateTopicName(buffer: Uint8Array, from: number, to: number, bytesMax: number, levelsMax: number): number {
  if (to <= from || to - from > bytesMax) return NAME_INVALID;
  const judged = validateUtf8(buffer, from, to);
  if (judged < 0) return judged;
  let levels = 1;
  for (let at = from; at < to; at++) {
    const byte = buffer[at]!;
    if (byte === SLASH) levels++;
    else if (byte === PLUS || byte === HASH) return NAME_INVALID; // [MQTT-4.7.0-1]
  }
  return levels > levelsMax ? NAME_INVALID : levels;
}

/**
 * Judges the topic filter in [from, to), without its `$share/{name}/` (see `shareFilterFrom`). Returns its number of
 * levels, or a fault: MALFORMED_PACKET for bad UTF-8 or U+0000, TOPIC_FILTER_INVALID when empty, over a bound, or with a
 * wildcard that is not a level of its own [MQTT-4.7.1-2] or a `#` before the last level [MQTT-4.7.1-1].
 */
export function validateTopicFilter(buffer: Uint8Array, from: number, to: number, bytesMax: number, levelsMax: number): number {
  if (to <= from || to - from > bytesMax) return FILTER_INVALID; // [MQTT-4.7.3-1]
  const judged = validateUtf8(buffer, from, to);
  if (judged < 0) return judged;
  let levels = 1;
  for (let at = from; at < to; at++) {
    const byte = buffer[at]!;
    if (byte === SLASH) levels++;
    if (byte !== PLUS && byte !== HASH) continue;
    if (at > from && buffer[at - 1] !== SLASH) return FILTER_INVALID;
    const ends = at + 1 === to;
    if (!ends && (byte === HASH || buffer[at + 1] !== SLASH)) return FILTER_INVALID;
  }
  return levels > levelsMax ? FILTER_INVALID : levels;
}

/**
 * Where the real filter begins in [from, to): `from` itself when the filter is not shared, the offset behind
 * `$share/{name}/` when it is, or the fault TOPIC_FILTER_INVALID when the share name is empty [MQTT-4.8.2-1] or holds a
 * wildcard, or no filter follows [MQTT-4.8.2-2].
 */
export function shareFilterFrom(buffer: Uint8Array, from: number, to: number): number {
  const nameFrom = from + SHARE_PREFIX.length;
  if (to < nameFrom) return from;
  for (let i = 0; i < SHARE_PREFIX.length; i++) if (buffer[from + i] !== SHARE_PREFIX[i]) return from;
  let at = nameFrom;
  while (at < to && buffer[at] !== SLASH) {
    if (buffer[at] === PLUS || buffer[at] === HASH) return FILTER_INVALID;
    at++;
  }
  const filterFrom = at + 1;
  return at === nameFrom || filterFrom >= to ? FILTER_INVALID : filterFrom;
}
