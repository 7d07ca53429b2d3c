// Canaries: texts that stand nowhere else in the world, to be put where personal data goes and looked for afterwards. All canaries of one
// set share a random stem, so that one search finds any of them in any encoding, and the text behind it says which it was.
import { randomBytes } from 'node:crypto';

export type Encoding = 'plain' | 'utf-16' | 'hex' | 'base64';

/** One place where a canary was seen. */
export interface Sighting {
  /** The name that the canary was made with; empty when what follows the stem is gone. */
  readonly name: string;
  readonly encoding: Encoding;
  readonly offset: number;
}

interface Pattern {
  readonly bytes: Buffer;
  readonly encoding: Encoding;
  /** Characters to go back to the beginning of a group of four, and bytes in it before the stem: base64 only. */
  readonly charactersBefore: number;
}

const STEM_BYTES = 10;
/** Longest name. */
const NAME_BYTES_MAX = 60;
const END = ';';

export class Canaries {
  /** Letters and digits only, so that a canary can be part of any field of any packet. */
  readonly stem = `c${randomBytes(STEM_BYTES).toString('hex')}`;
  readonly #patterns: readonly Pattern[];
  readonly #text = new RegExp(`${this.stem}-([\\w.-]{0,${NAME_BYTES_MAX}}?)${END}`);

  constructor() {
    const stem = Buffer.from(this.stem);
    const pattern = (bytes: Buffer | string, encoding: Encoding, charactersBefore = 0): Pattern => ({
      bytes: Buffer.from(bytes as string),
      encoding,
      charactersBefore,
    });
    this.#patterns = [
      pattern(stem, 'plain'),
      pattern(Buffer.from(this.stem, 'utf16le'), 'utf-16'),
      pattern(stem.toString('hex'), 'hex'),
      pattern(stem.toString('hex').toUpperCase(), 'hex'),
      ...[0, 1, 2].flatMap((shift) => {
        const { text, charactersBefore } = alignedBase64(stem, shift);
        const forUrls = text.replaceAll('+', '-').replaceAll('/', '_');
        const both = forUrls === text ? [text] : [text, forUrls];
        return both.map((one) => pattern(one, 'base64', charactersBefore));
      }),
    ];
  }

  /** A text to put somewhere. `name` says where: letters, digits, dots and dashes. */
  text(name: string): string {
    if (!/^[\w.-]+$/.test(name) || name.length > NAME_BYTES_MAX) throw new Error(`not a canary's name: ${name}`);
    return `${this.stem}-${name}${END}`;
  }

  bytes(name: string): Buffer {
    return Buffer.from(this.text(name));
  }

  /** Every canary in `bytes`, however it is written. */
  find(bytes: Buffer): Sighting[] {
    const found: Sighting[] = [];
    for (const pattern of this.#patterns) {
      for (let at = bytes.indexOf(pattern.bytes); at >= 0; at = bytes.indexOf(pattern.bytes, at + 1)) {
        found.push({ name: this.#nameAt(bytes, at, pattern), encoding: pattern.encoding, offset: at });
      }
    }
    return found;
  }

  #nameAt(bytes: Buffer, at: number, { encoding, charactersBefore }: Pattern): string {
    const window = bytes.subarray(at - charactersBefore, at + 4 * (this.stem.length + NAME_BYTES_MAX));
    return this.#text.exec(decode(window, encoding))?.[1] ?? '';
  }
}

/** What base64 makes of `bytes` when `shift` others stand before them: the characters that these others have no part in. */
function alignedBase64(bytes: Buffer, shift: number): { text: string; charactersBefore: number } {
  const from = Math.ceil((shift * 8) / 6);
  const to = Math.floor(((shift + bytes.length) * 8) / 6);
  const whole = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
  return { text: whole.slice(from, to), charactersBefore: from % 4 };
}

function decode(window: Buffer, encoding: Encoding): string {
  switch (encoding) {
    case 'plain':
      return window.toString('latin1');
    case 'utf-16':
      return window.toString('utf16le');
    case 'hex':
      return Buffer.from(window.toString('latin1'), 'hex').toString('latin1');
    case 'base64':
      return Buffer.from(window.toString('latin1'), 'base64').toString('latin1');
  }
}
