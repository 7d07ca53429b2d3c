// Who may come in and what they may do: the questions that routing asks. engine/security answers them.
import type { Reason } from '../protocol/packet.ts';
import type { Peer } from './link.ts';
import type { Identity, Principal } from './principal.ts';

export interface Credentials {
  readonly clientId: string;
  readonly username: string | null;
  readonly password: Uint8Array | null;
  readonly peer: Peer;
}

/** Who the client is, `{ ok: true, username }` at the least; or the reason for the refusal. */
export type AuthOutcome = (Identity & { readonly ok: true }) | { readonly ok: false; readonly reason: Reason };

export interface Authenticator {
  authenticate(credentials: Credentials): Promise<AuthOutcome> | AuthOutcome;
}

/** Topic rights. Asked on cache misses only; ranges are borrowed for the call. A session has one principal object until its client is found to be somebody else. */
export interface Rights {
  mayPublish(principal: Principal, clientId: string, topic: Uint8Array, from: number, to: number): boolean;
  mayReceive(principal: Principal, clientId: string, topic: Uint8Array, from: number, to: number): boolean;
  maySubscribe(principal: Principal, clientId: string, filter: Uint8Array, from: number, to: number): boolean;
}

/** One round of enhanced authentication (MQTT 5.0 §4.12). */
export type ExchangeOutcome =
  | { readonly kind: 'continue'; readonly data: Uint8Array | null }
  | (Identity & { readonly kind: 'success'; readonly data: Uint8Array | null })
  | { readonly kind: 'failure'; readonly reason: Reason };

/** State of one exchange, made for one login and dropped with it. A client that authenticates again begins another one, and must be who it was, else its connection ends. */
export interface Exchange {
  step(data: Uint8Array | null): Promise<ExchangeOutcome> | ExchangeOutcome;
}

/** Makes an exchange for an Authentication Method that it knows, null for any other. Of a client that authenticates again `username` is who it was. */
export interface ExchangeMethods {
  begin(method: string, credentials: Credentials): Exchange | null;
}

/** Slows those who guess, by their address. Asked before anything else is worked out for a CONNECT. */
export interface LoginGuard {
  mayTry(address: string): boolean;
  hasFailed(address: string): void;
}
