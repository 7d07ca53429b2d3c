// HOT: no allocation, closures, strings, try or async per message.
// Well-formedness of UTF-8 strings (MQTT 5.0 §1.5.4; byte ranges of Table 3-7 of the Unicode Standard).
// U+FEFF is an ordinary character here, never skipped nor stripped [MQTT-1.5.4-3].
import { fault, Reason } from './packet.ts';

const MALFORMED = fault(Reason.MALFORMED_PACKET);

/**
 * Judges bytes [from, to). Returns 0, or the fault MALFORMED_PACKET for ill-formed UTF-8, surrogates [MQTT-1.5.4-1]
 * and U+0000 [MQTT-1.5.4-2].
 */
export function validateUtf8(buffer: Uint8Array, from: number, to: number): number {
  let at = from;
  while (at < to) {
    const lead = buffer[at++]!;
    if (lead < 0x80) {
      if (lead === 0) return MALFORMED;
      continue;
    }
    // 80-BF cannot lead; C0 and C1 would only encode what one byte can.
    if (lead < 0xc2 || lead > 0xf4) return MALFORMED;
    const end = at + (lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3);
    if (end > to) return MALFORMED;
    // The second byte is narrower where an overlong form, a surrogate or a value above U+10FFFF would begin.
    const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    const second = buffer[at++]!;
    if (second < low || second > high) return MALFORMED;
    while (at < end) if ((buffer[at++]! & 0xc0) !== 0x80) return MALFORMED;
  }
  return 0;
}
