// How long things may be kept at most, whatever a client asks for: by the listener that it came to, by its user name, and for all. The smallest one holds. Seconds, because that is what clients ask in and what
// stores look at.
import type { Connection } from '../sessions/connection.ts';
import type { Session } from '../sessions/session.ts';

export interface Ceiling {
  /** Null: none of its own. */
  readonly sessionExpiryMaxS: number | null;
  readonly messageExpiryMaxS: number | null;
}

export class Ceilings {
  /** Longest age of a retained message in ms. */
  readonly retainedMaxMs: number;
  readonly #messageMaxS: number;
  readonly #byListener: ReadonlyMap<string, Ceiling>;
  readonly #byUser: ReadonlyMap<string, Ceiling>;

  /** Infinity stands for no ceiling. */
  constructor(
    messageMaxS = Infinity,
    retainedMaxS = Infinity,
    byListener: ReadonlyMap<string, Ceiling> = new Map(),
    byUser: ReadonlyMap<string, Ceiling> = new Map(),
  ) {
    this.retainedMaxMs = retainedMaxS * 1_000;
    this.#messageMaxS = messageMaxS;
    this.#byListener = byListener;
    this.#byUser = byUser;
  }

  /** Longest session expiry in s, Infinity for no ceiling. `listener` is null where it is not known any more. */
  sessionS(listener: string | null, username: string | null): number {
    const { ofListener, ofUser } = this.#of(listener, username);
    return Math.min(ofListener?.sessionExpiryMaxS ?? Infinity, ofUser?.sessionExpiryMaxS ?? Infinity);
  }

  /** Longest time in s that a message is kept, Infinity for no ceiling. */
  messageS(listener: string | null, username: string | null): number {
    const { ofListener, ofUser } = this.#of(listener, username);
    return Math.min(this.#messageMaxS, ofListener?.messageExpiryMaxS ?? Infinity, ofUser?.messageExpiryMaxS ?? Infinity);
  }

  #of(listener: string | null, username: string | null): { ofListener: Ceiling | undefined; ofUser: Ceiling | undefined } {
    return {
      ofListener: listener === null ? undefined : this.#byListener.get(listener),
      ofUser: username === null ? undefined : this.#byUser.get(username),
    };
  }
}

/** Sets what holds for a client that is known now. */
export function setCeilings(ceilings: Ceilings, connection: Connection, username: string | null): void {
  const { listener } = connection.link.peer;
  connection.sessionExpiryMaxS = ceilings.sessionS(listener, username);
  connection.messageExpiryMaxMs = ceilings.messageS(listener, username) * 1_000;
}

/** Cuts what a session asked for to what holds now. Whether anything was cut. */
export function cutToCeiling(ceilings: Ceilings, session: Session, expiryMaxS: number): boolean {
  if (session.principal.isBroker === true) return false;
  const maxS = Math.min(expiryMaxS, ceilings.sessionS(session.listener, session.username));
  if (session.expiryS <= maxS) return false;
  session.expiryS = maxS;
  return true;
}
