// The header that a proxy puts in front of a connection to say who is behind it (HAProxy's PROXY protocol, versions 1 and 2).
// Owns the format only; whether the proxy is to be believed is the listener's question.
//
//   v1   "PROXY" SP "TCP4"|"TCP6"|"UNKNOWN" SP source SP destination SP port SP port CR LF      at most 107 bytes
//   v2    0..11  signature     12  version << 4 | command     13  family << 4 | transport     14..15  length of the rest
//        16..    source, destination, source port, destination port, then TLVs, which are skipped
import { isIPv4, isIPv6 } from 'node:net';
import { addressText, plainAddress } from './address.ts';

/** Where a connection comes from. */
export interface Origin {
  readonly address: string;
  readonly port: number;
}

export type ProxyHeader =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'malformed' }
  /** `bytes` is the header's length; `origin` is null when the proxy speaks for itself (LOCAL, UNKNOWN). */
  | { readonly kind: 'complete'; readonly bytes: number; readonly origin: Origin | null };

const V1_PREFIX = Buffer.from('PROXY ');
const V1_BYTES_MAX = 107;
const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V2_FIXED_BYTES = 16;
/** Room for the TLVs of a client certificate's chain; a longer header is malformed. */
const V2_REST_BYTES_MAX = 4_096;
export const PROXY_HEADER_BYTES_MAX = V2_FIXED_BYTES + V2_REST_BYTES_MAX;

const V2 = { LOCAL: 0x20, PROXY: 0x21, UNSPECIFIED: 0x00, TCP4: 0x11, TCP6: 0x21 } as const;
const V2_TCP4_BYTES = 12;
const V2_TCP6_BYTES = 36;

const INCOMPLETE: ProxyHeader = { kind: 'incomplete' };
const MALFORMED: ProxyHeader = { kind: 'malformed' };

/** Reads the header at the start of `bytes`. To be called again with more bytes while incomplete. */
export function parseProxyHeader(bytes: Uint8Array): ProxyHeader {
  if (bytes.length === 0) return INCOMPLETE;
  return bytes[0] === V1_PREFIX[0] ? parseV1(bytes) : parseV2(bytes);
}

function parseV1(bytes: Uint8Array): ProxyHeader {
  if (!agrees(bytes, V1_PREFIX)) return MALFORMED;
  const end = bytes.subarray(0, V1_BYTES_MAX).indexOf(0x0d);
  if (end < 0) return bytes.length < V1_BYTES_MAX ? INCOMPLETE : MALFORMED;
  if (end + 2 > V1_BYTES_MAX) return MALFORMED;
  if (end + 1 === bytes.length) return INCOMPLETE;
  if (bytes[end + 1] !== 0x0a) return MALFORMED;
  const [, family, source, destination, sourcePort, destinationPort, ...rest] = Buffer.from(bytes.subarray(0, end))
    .toString('latin1')
    .split(' ');
  if (family === 'UNKNOWN') return { kind: 'complete', bytes: end + 2, origin: null };
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : () => false;
  if (rest.length > 0 || !isAddress(source ?? '') || !isAddress(destination ?? '')) return MALFORMED;
  const port = portNumber(sourcePort);
  if (port < 0 || portNumber(destinationPort) < 0) return MALFORMED;
  return { kind: 'complete', bytes: end + 2, origin: { address: plainAddress(source!), port } };
}

function parseV2(bytes: Uint8Array): ProxyHeader {
  if (!agrees(bytes, V2_SIGNATURE)) return MALFORMED;
  if (bytes.length < V2_FIXED_BYTES) return INCOMPLETE;
  const command = bytes[12]!;
  if (command !== V2.LOCAL && command !== V2.PROXY) return MALFORMED;
  const rest = (bytes[14]! << 8) | bytes[15]!;
  if (rest > V2_REST_BYTES_MAX) return MALFORMED;
  const family = bytes[13]!;
  const named = command === V2.PROXY && family !== V2.UNSPECIFIED;
  if (named) {
    if (family !== V2.TCP4 && family !== V2.TCP6) return MALFORMED;
    if (rest < (family === V2.TCP4 ? V2_TCP4_BYTES : V2_TCP6_BYTES)) return MALFORMED;
  }
  const end = V2_FIXED_BYTES + rest;
  if (bytes.length < end) return INCOMPLETE;
  return { kind: 'complete', bytes: end, origin: named ? v2Origin(bytes, family) : null };
}

function v2Origin(bytes: Uint8Array, family: number): Origin {
  const addressBytes = family === V2.TCP4 ? 4 : 16;
  const portAt = V2_FIXED_BYTES + 2 * addressBytes;
  return { address: addressText(bytes, V2_FIXED_BYTES, addressBytes), port: (bytes[portAt]! << 8) | bytes[portAt + 1]! };
}

/** Whether `bytes` starts with `expected`, as far as it goes. */
function agrees(bytes: Uint8Array, expected: Uint8Array): boolean {
  const length = Math.min(bytes.length, expected.length);
  for (let i = 0; i < length; i++) if (bytes[i] !== expected[i]) return false;
  return true;
}

function portNumber(text: string | undefined): number {
  if (text === undefined || !/^(0|[1-9]\d{0,4})$/.test(text)) return -1;
  const port = Number(text);
  return port <= 65_535 ? port : -1;
}
