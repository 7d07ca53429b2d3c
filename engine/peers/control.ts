// What shards say to each other seldom: MessagePack behind a version byte, with pinned options, as the body of a CONTROL letter.
import { Packr } from 'msgpackr/pack';
import type { Principal } from '../principal.ts';

const VERSION = 1;
const packr = new Packr({ useRecords: false, mapsAsObjects: true, variableMapSize: true });

/** A session as it moves from one shard to another. What is queued for it lies in the store, or follows in letters of its own. */
export interface MovedSession {
  readonly handle: number;
  readonly clientId: string;
  readonly principal: Principal;
  readonly level: number;
  readonly expiryS: number;
  readonly stored: number;
  readonly base: number;
  readonly tail: number;
  readonly sentBefore: number;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  readonly overflow: number;
  readonly listener: string;
  readonly disconnectedAtMs: number;
  readonly inbound: readonly number[];
  readonly will: unknown;
  readonly nextSubscription: number;
  readonly subscriptions: readonly {
    readonly filter: Uint8Array;
    readonly options: number;
    readonly identifier: number;
    readonly number: number;
    readonly entry: number;
  }[];
}

/** By whom a session is wanted: a shard, and its number for the request. */
export interface Claim {
  readonly shard: number;
  readonly request: number;
  readonly clientId: string;
  /** Who the client is, null for an anonymous one. */
  readonly username: string | null;
  /** Clean Start: an existing session is not wanted. */
  readonly clean: boolean;
}

export type Control =
  /** To the directory: a client has come. */
  | { readonly kind: 'claim'; readonly claim: Claim }
  /** To the directory: who claimed has gone; and from it, where the claim had no answer yet: it gets none. */
  | { readonly kind: 'withdraw'; readonly shard: number; readonly request: number }
  | { readonly kind: 'withdrawn'; readonly request: number }
  /** From the directory: the client has no session and gets this handle. */
  | { readonly kind: 'fresh'; readonly request: number; readonly handle: number }
  /** The session is hosted by the shard that asks. */
  | { readonly kind: 'yours'; readonly request: number; readonly handle: number }
  /** There are as many sessions as may be. */
  | { readonly kind: 'full'; readonly request: number }
  /** To the host: give the session to another shard, or end it. */
  | { readonly kind: 'release'; readonly handle: number; readonly claim: Claim }
  /** From the host to the directory, which tells the one who asked: the session is another user's, and stays. */
  | { readonly kind: 'kept'; readonly handle: number; readonly host: number }
  | { readonly kind: 'denied'; readonly request: number }
  /** To the directory: the session has ended. */
  | { readonly kind: 'ended'; readonly handle: number; readonly shard: number }
  /** From the host before to the next one; then come its messages, where stores are not shared, and the end of the move. */
  | { readonly kind: 'moved'; readonly session: MovedSession }
  | { readonly kind: 'moved-end'; readonly handle: number; readonly request: number }
  /** The store has let a delivery go of a session that has moved. */
  | {
      readonly kind: 'gone';
      readonly stored: number;
      readonly position: number;
      readonly bytes: number;
      readonly reason: number;
    }
  /** To the directory: the move is over. */
  | { readonly kind: 'arrived'; readonly handle: number }
  /** A client of this address was not let in with what it offered: the others count it too. */
  | { readonly kind: 'guessed'; readonly address: string }
  /** Answer once everything that was sent before is sent; `relayed`: by way of the first shard. */
  | { readonly kind: 'fence'; readonly shard: number; readonly fence: number; readonly relayed: boolean }
  | { readonly kind: 'fenced'; readonly fence: number; readonly to: number };

export function packControl(control: Control): Uint8Array {
  const body = packr.pack(control);
  const bytes = new Uint8Array(body.length + 1);
  bytes[0] = VERSION;
  bytes.set(body, 1);
  return bytes;
}

/** @throws Error for bytes that no shard of this version writes: a fault of the program */
export function unpackControl(bytes: Uint8Array): Control {
  if (bytes[0] !== VERSION) throw new Error('a shard has sent a message of another version');
  return packr.unpack(bytes.slice(1)) as Control;
}
