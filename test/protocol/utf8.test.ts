// UTF-8 validation against the platform's own decoders.
import { isUtf8 } from 'node:buffer';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fault, Reason } from '../../protocol/packet.ts';
import { validateUtf8 } from '../../protocol/utf8.ts';

const MALFORMED = fault(Reason.MALFORMED_PACKET);
const decoder = new TextDecoder('utf-8', { fatal: true });

function expected(bytes: Uint8Array): number {
  try {
    decoder.decode(bytes);
  } catch {
    return MALFORMED;
  }
  return bytes.includes(0) ? MALFORMED : 0;
}

/** `isUtf8` says the same without an exception for each refusal. */
function quick(bytes: Uint8Array): number {
  return isUtf8(bytes) && !bytes.includes(0) ? 0 : MALFORMED;
}

test('judges every sequence of one to three bytes, and four with each lead, as Node does [MQTT-1.5.4-1]', () => {
  const bytes = new Uint8Array(4);
  const interesting = [
    0x00, 0x01, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff,
  ];
  let differences = 0;
  for (let first = 0; first < 256; first++) {
    bytes[0] = first;
    if (validateUtf8(bytes, 0, 1) !== quick(bytes.subarray(0, 1))) differences++;
    for (let second = 0; second < 256; second++) {
      bytes[1] = second;
      if (validateUtf8(bytes, 0, 2) !== quick(bytes.subarray(0, 2))) differences++;
      for (const third of interesting) {
        bytes[2] = third;
        if (validateUtf8(bytes, 0, 3) !== quick(bytes.subarray(0, 3))) differences++;
        if (first < 0xe0) continue;
        for (const fourth of interesting) {
          bytes[3] = fourth;
          if (validateUtf8(bytes, 0, 4) !== quick(bytes)) differences++;
        }
      }
    }
  }
  expect(differences).toBe(0);
});

test('judges random bytes, and strings with one byte changed, as TextDecoder does', () => {
  const changed = fc.tuple(fc.string({ unit: 'binary' }), fc.nat(), fc.nat(255)).map(([value, at, byte]) => {
    const bytes = Uint8Array.from(Buffer.from(value));
    if (bytes.length > 0 && at % 2 === 0) bytes[at % bytes.length] = byte;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 30 }), changed), (bytes) => {
      expect(validateUtf8(bytes, 0, bytes.length)).toBe(expected(bytes));
    }),
    { numRuns: 5_000 },
  );
});

test('looks at nothing outside its range', () => {
  expect(validateUtf8(Uint8Array.of(0xff, 0x61, 0xff), 1, 2)).toBe(0);
  expect(validateUtf8(Uint8Array.of(0xe2, 0x82, 0xac), 0, 2)).toBe(MALFORMED);
  expect(validateUtf8(Uint8Array.of(0), 0, 0)).toBe(0);
});

test('U+0000 is refused, the byte order mark and non-characters are not [MQTT-1.5.4-2] [MQTT-1.5.4-3]', () => {
  const judge = (value: string) => validateUtf8(Buffer.from(value), 0, Buffer.byteLength(value));
  expect(judge('a\0b')).toBe(MALFORMED);
  expect(judge('\ufeffa')).toBe(0);
  expect(judge('\uffff\u{10ffff}')).toBe(0);
});
