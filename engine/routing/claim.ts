// The session of a client that has come, where the broker has several shards: found here, or asked of the directory (peers/directory.ts).

import { Reason } from '../../protocol/packet.ts';
import type { Control } from '../peers/control.ts';
import { Session, type SessionHandle } from '../sessions/session.ts';
import { endConnection } from './close.ts';
import { sendControl } from './control.ts';
import { endSession, setAwayTimers } from './lifecycle.ts';
import type { Shard } from './shard.ts';

/** Who waits for a session. */
export interface Claimant {
  readonly clientId: string;
  readonly username: string | null;
  readonly clean: boolean;
  /** Its claim has gone to the directory, under that number. */
  asked(request: number): void;
  /** Whether it may still come in, asked before a session is ended for it. Where not, it has been refused. */
  admits(): boolean;
  /** Gives the client its session. False: it has gone meanwhile. */
  seat(session: Session, present: boolean): boolean;
  /** The client gets none: there is no room, or it is another user's. */
  refuse(reason: Reason): void;
}

/**
 * Whether a client may have a session that exists, to go on with it or to end it. What is queued for one user is not another's, nor an anonymous client's. The session of an anonymous client
 * is anybody's, so that those of the time before there were passwords find their clients.
 */
export function mayTakeOver(shard: Shard, session: Session, username: string | null): boolean {
  return session.username === null || session.username === username || shard.offers.takeover === 'any_user';
}

/** Finds or makes the session of a client; the claimant is seated inside the call or later. */
export function claimSession(shard: Shard, claimant: Claimant): void {
  const session = shard.sessions.find(claimant.clientId);
  if (session === null || !offer(shard, session, claimant)) ask(shard, claimant);
}

/** The directory has answered a claim. */
export function claimAnswered(shard: Shard, answer: Extract<Control, { kind: 'fresh' | 'yours' | 'full' | 'denied' }>): void {
  const claimant = shard.claimants.get(answer.request);
  if (claimant === undefined) return;
  shard.claimants.delete(answer.request);
  if (answer.kind === 'full') {
    claimant.refuse(Reason.QUOTA_EXCEEDED);
  } else if (answer.kind === 'denied') {
    claimant.refuse(Reason.NOT_AUTHORIZED);
  } else if (answer.kind === 'fresh') {
    const session = new Session(answer.handle as SessionHandle, claimant.clientId);
    shard.sessions.enter(session);
    if (!claimant.seat(session, false)) endSession(shard, session);
  } else {
    claimSession(shard, claimant);
  }
}

/** A session that moved here goes to the one who asked for it. */
export function seatMoved(shard: Shard, session: Session, request: number): void {
  const claimant = shard.claimants.get(request);
  shard.claimants.delete(request);
  if (claimant?.seat(session, true)) return;
  setAwayTimers(shard, session, Math.max(0, shard.clock.keptMs() - session.disconnectedAtMs));
}

/** Takes a session that is here from its connection and gives it to the claimant, who may be refused. False when nothing is left of it: it is to be asked for anew. */
function offer(shard: Shard, session: Session, claimant: Claimant): boolean {
  if (session.leaving) return false;
  if (!mayTakeOver(shard, session, claimant.username)) {
    claimant.refuse(Reason.NOT_AUTHORIZED);
    return true;
  }
  const { connection } = session;
  if (connection !== null) {
    shard.counters.takeovers++;
    endConnection(shard, connection, Reason.SESSION_TAKEN_OVER); // [MQTT-3.1.4-3]
  }
  if (shard.sessions.at(session.handle) !== session) return false;
  if (claimant.clean) {
    if (!claimant.admits()) return true;
    endSession(shard, session); // [MQTT-3.1.2-4]
    return false;
  }
  claimant.seat(session, true);
  return true;
}

function ask(shard: Shard, claimant: Claimant): void {
  const request = shard.nextClaim++;
  shard.claimants.set(request, claimant);
  claimant.asked(request);
  const { index } = shard.peers!;
  const { clientId, username, clean } = claimant;
  sendControl(shard, 0, { kind: 'claim', claim: { shard: index, request, clientId, username, clean } });
}
