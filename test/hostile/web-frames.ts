// WebSocket by hand on a raw peer (RFC 6455): a handshake that says what it is told to, frames with any opcode, split and claimed length.
import { randomBytes } from 'node:crypto';
import { Peer } from './peer.ts';

export const Opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

const MASK_BIT = 0x80;
const FINAL_BIT = 0x80;

export interface FrameFields {
  readonly opcode?: number;
  /** Whether the message ends here; true unless given. */
  readonly final?: boolean;
  /** The length that the header claims; that of the payload unless given. Below 126 and above 65,535 it takes the widest form when forced. */
  readonly claims?: bigint;
}

/** One masked frame. */
export function frame(payload: Buffer, fields: FrameFields = {}): Buffer {
  const { opcode = Opcode.BINARY, final = true } = fields;
  const length = fields.claims ?? BigInt(payload.length);
  const mask = randomBytes(4);
  const masked = Buffer.from(payload);
  for (let at = 0; at < masked.length; at++) masked[at] = masked[at]! ^ mask[at & 3]!;
  return Buffer.concat([Buffer.from([(final ? FINAL_BIT : 0) | opcode]), lengthField(length), mask, masked]);
}

function lengthField(length: bigint): Buffer {
  if (length < 126n) return Buffer.from([MASK_BIT | Number(length)]);
  const short = length < 65_536n;
  const field = Buffer.alloc(short ? 3 : 9);
  field[0] = MASK_BIT | (short ? 126 : 127);
  if (short) field.writeUInt16BE(Number(length), 1);
  else field.writeBigUInt64BE(length, 1);
  return field;
}

/** The text of a handshake; headers that are undefined are left out. */
export function handshake(headers: Readonly<Record<string, string | undefined>> = {}, path = '/mqtt'): Buffer {
  const all: Record<string, string | undefined> = {
    Host: 'localhost',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    'Sec-WebSocket-Protocol': 'mqtt',
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}\r\n`]));
  return Buffer.from(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1');
}

/** A peer whose handshake was accepted. */
export async function openWeb(port: number): Promise<Peer> {
  const peer = await Peer.open(port);
  void peer.send(handshake());
  await peer.until('the handshake is accepted', () => peer.received.includes('\r\n\r\n'));
  const head = peer.received.toString('latin1');
  if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`the handshake was refused: ${head}`);
  return peer;
}

export interface ReceivedFrame {
  readonly opcode: number;
  readonly payload: Buffer;
}

/** The complete frames behind the head of the answer; a server does not mask. */
export function framesOf(received: Buffer): ReceivedFrame[] {
  const frames: ReceivedFrame[] = [];
  let at = received.indexOf('\r\n\r\n') + 4;
  while (received.length >= at + 2) {
    const short = received[at + 1]! & 0x7f;
    const header = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (received.length < at + header) break;
    const length = short < 126 ? short : Number(short === 126 ? received.readUInt16BE(at + 2) : received.readBigUInt64BE(at + 2));
    if (received.length < at + header + length) break;
    frames.push({ opcode: received[at]! & 0x0f, payload: received.subarray(at + header, at + header + length) });
    at += header + length;
  }
  return frames;
}

/** The bytes of MQTT that have come, across frames. */
export function mqttOf(received: Buffer): Buffer {
  return Buffer.concat(framesOf(received).flatMap(({ opcode, payload }) => (opcode === Opcode.BINARY ? [payload] : [])));
}
