// What follows from who a client was found to be: the session's principal and when it runs out; or, where it was not let in, what is counted and who is slowed.
import { Reason } from '../../protocol/packet.ts';
import { BROKER, type Identity, principalOf, samePrincipal } from '../principal.ts';
import type { Connection } from '../sessions/connection.ts';
import type { Session } from '../sessions/session.ts';
import { Timer } from '../timers.ts';
import { endConnection } from './close.ts';
import { tellOthers } from './control.ts';
import { setPrincipal } from './lifecycle.ts';
import type { Shard } from './shard.ts';

/** Far below what a wheel can hold; what lies further ahead is looked at again then. */
const AHEAD_MAX_MS = 86_400_000;

/** Gives a session the principal that its client has been found to be. The caller stores the session. */
export function identify(shard: Shard, connection: Connection, session: Session, identity: Identity): void {
  const principal = connection.isOwn ? BROKER : principalOf(identity);
  if (!samePrincipal(session.principal, principal)) {
    setPrincipal(shard, session, principal);
    connection.rights = null;
    // Routes were made with the rights of the one before.
    if (shard.rights !== null && session.subscriptions.size > 0) shard.trie.bump();
  }
  if (connection.identityTimer !== null) shard.timers.cancel(connection.identityTimer);
  connection.identityTimer = null;
  if (identity.expiresAtMs !== undefined) endAt(shard, connection, identity.expiresAtMs);
}

function endAt(shard: Shard, connection: Connection, wallMs: number): void {
  const timer = new Timer(() => {
    const leftMs = wallMs - shard.clock.wallMs();
    if (leftMs > 0) {
      shard.timers.set(timer, Math.min(leftMs, AHEAD_MAX_MS));
      return;
    }
    shard.counters.authExpired++;
    endConnection(shard, connection, Reason.NOT_AUTHORIZED);
  });
  connection.identityTimer = timer;
  shard.timers.set(timer, Math.min(Math.max(0, wallMs - shard.clock.wallMs()), AHEAD_MAX_MS));
}

/** Counts a client that is not let in, and remembers its address where it has guessed. The caller closes the connection. */
export function refuseIdentity(
  shard: Shard,
  connection: Connection,
  reason: Reason,
  credentials: 'offered' | 'nothing offered',
): void {
  const { counters } = shard;
  let isGuess = credentials === 'offered';
  if (reason === Reason.BAD_USER_NAME_OR_PASSWORD) {
    counters.authRefusedCredentials++;
  } else if (reason === Reason.NOT_AUTHORIZED) {
    counters.authRefusedNotAuthorized++;
  } else if (reason === Reason.SERVER_BUSY || reason === Reason.QUOTA_EXCEEDED) {
    counters.authRefusedBusy++;
    isGuess = false;
  } else if (reason === Reason.SERVER_UNAVAILABLE) {
    counters.authRefusedUnavailable++;
    isGuess = false;
  } else {
    counters.authRefusedOther++;
  }
  if (isGuess) countGuess(shard, connection.link.peer.address);
}

/** Each shard has a guard, and each is told: the next guess comes to whichever. */
function countGuess(shard: Shard, address: string): void {
  if (shard.guard === null) return;
  shard.guard.hasFailed(address);
  if (shard.peers !== null) tellOthers(shard, { kind: 'guessed', address });
}
