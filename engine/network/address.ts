// Addresses of peers as text, in one form whatever carried them, and the lists of addresses that the operator trusts.
import { BlockList, isIP } from 'node:net';

const MAPPED_PREFIX = '::ffff:';

/** An IPv4 address that a dual-stack socket shows as `::ffff:a.b.c.d`, without the prefix; any other as it is. */
export function plainAddress(address: string): string {
  return address.startsWith(MAPPED_PREFIX) && address.includes('.') ? address.slice(MAPPED_PREFIX.length) : address;
}

/** Text of the 4 or 16 address bytes at `from`: dotted, or compressed IPv6 (RFC 5952). */
export function addressText(bytes: Uint8Array, from: number, length: number): string {
  if (length === 4) return bytes.subarray(from, from + 4).join('.');
  if (isMapped(bytes, from)) return bytes.subarray(from + 12, from + 16).join('.');
  const groups: string[] = [];
  for (let i = from; i < from + 16; i += 2) groups.push(((bytes[i]! << 8) | bytes[i + 1]!).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** An address as text in the form that `addressText` gives. */
export function canonicalAddress(address: string): string {
  if (isIP(address) !== 6) return address;
  const { hostname } = new URL(`http://[${address}]`);
  const mapped = /^\[::ffff:([\da-f]{1,4}):([\da-f]{1,4})\]$/.exec(hostname);
  if (mapped === null) return hostname.slice(1, -1);
  const [high, low] = [Number.parseInt(mapped[1]!, 16), Number.parseInt(mapped[2]!, 16)];
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

function isMapped(bytes: Uint8Array, from: number): boolean {
  for (let i = 0; i < 10; i++) if (bytes[from + i] !== 0) return false;
  return bytes[from + 10] === 0xff && bytes[from + 11] === 0xff;
}

/** A set of addresses, as given by the operator. */
export interface AddressList {
  has(address: string): boolean;
}

/**
 * @param entries addresses (`10.0.0.1`, `::1`) or networks (`10.0.0.0/8`, `fd00::/8`)
 * @throws Error that names the listener and the entry that is neither
 */
export function addressList(listener: string, option: string, entries: readonly string[]): AddressList {
  return networks(`listener "${listener}": ${option}`, entries);
}

interface Network {
  readonly address: string;
  readonly bits: number;
  readonly family: 'ipv4' | 'ipv6';
}

/** An address or network as it is written; null when it is none. */
export function parseNetwork(entry: string): Network | null {
  const [address = '', prefix, rest] = entry.split('/');
  const family = isIP(address);
  const bitsMax = family === 4 ? 32 : 128;
  const bits = prefix === undefined ? bitsMax : Number(prefix);
  const wellFormed = family !== 0 && rest === undefined && (prefix === undefined || /^\d{1,3}$/.test(prefix)) && bits <= bitsMax;
  return wellFormed ? { address, bits, family: family === 4 ? 'ipv4' : 'ipv6' } : null;
}

/** Likewise, for an option of any section. @throws Error */
export function networks(option: string, entries: readonly string[]): AddressList {
  const list = new BlockList();
  for (const entry of entries) {
    const network = parseNetwork(entry);
    if (network === null) throw new Error(`${option}: "${entry}" is no address or network; write it like 10.0.0.1 or 10.0.0.0/8`);
    list.addSubnet(network.address, network.bits, network.family);
  }
  return { has: (address) => list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4') };
}
