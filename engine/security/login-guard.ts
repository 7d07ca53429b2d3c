// Slows those who guess passwords, by their address: more failed logins than a minute allows, and the address has to wait, then twice as long after each one more. Nothing is hashed or asked for
// a client whose address waits.
//
// IPv6 addresses are taken by their /64, which one customer of a provider has. Addresses are not kept: the table holds hashes under a key that dies with the process. It is bounded; when it is
// full the address that has failed longest ago is forgotten. Clients of this machine (loopback) are not slowed: behind a local proxy without the PROXY protocol all clients are one address.
//
// A login that succeeds forgives nothing, or one account would be enough to guess at the others.
import { createHmac } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';
import type { Clock } from '../clock.ts';
import type { LoginGuard } from '../gate.ts';
import type { Random } from '../random.ts';

export interface LoginGuardOptions {
  readonly failuresPerMinute: number;
  /** Longest wait. */
  readonly blockMs: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Addresses that are remembered. */
  readonly addressesMax?: number;
}

const ADDRESSES_MAX = 65_536;
const KEY_BYTES = 32;
const MINUTE_MS = 60_000;
const FIRST_BLOCK_MS = 2_000;

interface Failures {
  /** In the minute that began at `sinceMs`. */
  count: number;
  sinceMs: number;
  lastMs: number;
  /** Wait after the next failure; 0: it has not waited yet. */
  nextBlockMs: number;
  blockedUntilMs: number;
}

export function createLoginGuard(options: LoginGuardOptions): LoginGuard {
  const { failuresPerMinute, blockMs, clock } = options;
  const addressesMax = options.addressesMax ?? ADDRESSES_MAX;
  const key = options.random.bytes(KEY_BYTES);
  /** In the order of the last failure. */
  const failures = new Map<string, Failures>();
  const forgottenAfterMs = Math.max(MINUTE_MS, 2 * blockMs);

  const nameOf = (address: string) => createHmac('sha256', key).update(networkOf(address)).digest('base64');

  function forgetOld(nowMs: number): void {
    for (const [name, { lastMs }] of failures) {
      if (failures.size < addressesMax && nowMs - lastMs < forgottenAfterMs) return;
      failures.delete(name);
    }
  }

  return {
    mayTry(address) {
      if (failures.size === 0) return true;
      const known = failures.get(nameOf(address));
      return known === undefined || known.blockedUntilMs <= clock.monotonicMs();
    },
    hasFailed(address) {
      if (isLoopback(address)) return;
      const nowMs = clock.monotonicMs();
      const name = nameOf(address);
      let own = failures.get(name);
      failures.delete(name);
      forgetOld(nowMs);
      if (own === undefined || nowMs - own.lastMs >= forgottenAfterMs)
        own = { count: 0, sinceMs: nowMs, lastMs: nowMs, nextBlockMs: 0, blockedUntilMs: 0 };
      failures.set(name, own);
      own.lastMs = nowMs;
      if (nowMs - own.sinceMs >= MINUTE_MS) {
        own.count = 0;
        own.sinceMs = nowMs;
      }
      own.count++;
      const isOver = own.nextBlockMs > 0 || own.count >= failuresPerMinute;
      // Those that were under way when the wait began do not make it longer.
      if (!isOver || own.blockedUntilMs > nowMs) return;
      const waitMs = Math.min(blockMs, Math.max(own.nextBlockMs, FIRST_BLOCK_MS));
      own.blockedUntilMs = nowMs + waitMs;
      own.nextBlockMs = Math.min(blockMs, waitMs * 2);
    },
  };
}

function isLoopback(address: string): boolean {
  return address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

/** What is slowed together: an IPv4 address, the first 64 bits of an IPv6 address; anything else by itself. */
function networkOf(address: string): string {
  const plain = address.split('%')[0]!;
  if (!isIPv6(plain)) return address;
  const [head = '', tail] = plain.split('::');
  const before = groupsOf(head);
  const groups =
    tail === undefined
      ? before
      : [...before, ...Array<string>(8 - before.length - groupsOf(tail).length).fill('0'), ...groupsOf(tail)];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`;
}

/** The 16-bit groups of a part of an IPv6 address; an IPv4 address in it stands for two. */
function groupsOf(part: string): string[] {
  return part === '' ? [] : part.split(':').flatMap((group) => (group.includes('.') ? ['0', '0'] : [group]));
}
