// The headers in which HTTP proxies name who came to them: a list of addresses that grows to the right (X-Forwarded-For; X-Real-IP is a list of one), and Forwarded (RFC 7239). Owns the format, and the
// walk from the proxy nearest to the broker back to the client; whether that nearest proxy is to be believed is the listener's question.
//
// What stands left of the client's own address came from the client, which may write there what it likes: it is not looked at, and nothing that is wrong with it matters. Forwarded alone has to be
// read from the left, because a quoted text may hold commas: there, what is malformed anywhere is refused.
import { isIPv4, isIPv6 } from 'node:net';
import { type AddressList, canonicalAddress } from './address.ts';

/** Proxies in a row that are looked through; a longer row is malformed. */
const HOPS_MAX = 32;
/** Longest Forwarded header that is read. */
const FORWARDED_CHARS_MAX = 4_096;

/** `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`. */
const BRACKETED = /^\[([\da-f:.]+)\](?::\d{1,5})?$/i;
const DOTTED = /^([\d.]+)(?::\d{1,5})?$/;

/** One pair of Forwarded, or none, up to what ends it: `;` the pair, `,` the element, or the end of the header. */
const PAIR = /[ \t]*(?:([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([\w!#$%&'*+.^`|~-]+))[ \t]*)?([;,]|$)/y;

/**
 * The address of the nearest one on the way that is no trusted proxy; the farthest one when all of them are.
 * @param header name of the header in lower case
 * @param value all of its lines in order, joined with commas
 * @returns null when the header is absent or malformed as far as it is looked at
 */
export function clientBehind(header: string, value: string, trusted: AddressList): string | null {
  const hops = header === 'forwarded' ? forwardedHops(value) : listedHops(value);
  if (hops === null) return null;
  let farthest: string | null = null;
  // One more than are looked through is there when there are too many.
  for (let at = hops.length - 1; at >= hops.length - HOPS_MAX; at--) {
    if (at < 0) return farthest;
    const address = hopAddress(hops[at]!);
    if (address === null || !trusted.has(address)) return address;
    farthest = address;
  }
  return hops.length > HOPS_MAX ? null : farthest;
}

/** The last entries of the list, at most one more than `HOPS_MAX`. */
function listedHops(value: string): string[] {
  const hops: string[] = [];
  for (let end = value.length; end >= 0 && hops.length <= HOPS_MAX; ) {
    const comma = end === 0 ? -1 : value.lastIndexOf(',', end - 1);
    hops.push(value.slice(comma + 1, end));
    end = comma;
  }
  return hops.reverse();
}

/** The `for` of each element, '' where it has none; null when this is no Forwarded header. */
function forwardedHops(value: string): string[] | null {
  if (value.length > FORWARDED_CHARS_MAX) return null;
  const hops: string[] = [];
  let hop: string | null = null;
  PAIR.lastIndex = 0;
  for (;;) {
    const pair = PAIR.exec(value);
    if (pair === null) return null;
    const [, name, quoted, token, end] = pair;
    if (name?.toLowerCase() === 'for') {
      if (hop !== null) return null;
      hop = quoted?.replace(/\\(.)/g, '$1') ?? token!;
    }
    if (end === ';') continue;
    hops.push(hop ?? '');
    hop = null;
    if (end === '') return hops;
  }
}

function hopAddress(text: string): string | null {
  const entry = text.trim();
  const address = (DOTTED.exec(entry) ?? BRACKETED.exec(entry))?.[1] ?? entry;
  // A zone (`%eth0`) means something on the proxy's machine only.
  const isAddress = isIPv4(address) || (isIPv6(address) && !address.includes('%'));
  return isAddress ? canonicalAddress(address) : null;
}
