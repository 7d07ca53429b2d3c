// Who may come in: the listener's policy, and the methods of the configuration, asked in turn. The first one that allows or denies decides; one to whom the client means nothing is passed over.
// Fails closed: whatever is not foreseen here is a refusal. Rights over topics are rights.ts.
//
// - A listener that is not known lets nobody in.
// - A certificate is asked about first wherever `certificate` stands first, whatever else the client gives.
// - Who offers neither user name nor password is not asked about further: it comes in where the listener takes anonymous clients.
// - Who offers something that no method knows is refused, also where anonymous clients may come in, unless there is no method that looks at user names or passwords at all. Then a client may
//   give any name, as with Mosquitto, but counts as anonymous: a name that anybody can type must not open the rights of that user.
import { Reason } from '../../protocol/packet.ts';
import type { Authenticator, AuthOutcome, Credentials } from '../gate.ts';
import type { CertificateUser } from '../link.ts';
import { byCertificate } from './by-certificate.ts';
import { type Method, NOT_MINE } from './method.ts';

export interface ListenerPolicy {
  /** Clients without a user name may come in. */
  readonly anonymous: boolean;
  /** What of the verified client certificate is the user name. */
  readonly certificateUser: CertificateUser;
}

export interface AuthenticatorOptions {
  /** In the order in which they are asked. */
  readonly methods: readonly Method[];
  /** By the name of the listener; one that is not here lets nobody in. */
  readonly listeners: ReadonlyMap<string, ListenerPolicy>;
}

const ANONYMOUS: AuthOutcome = { ok: true, username: null };
const NOT_AUTHORIZED: AuthOutcome = { ok: false, reason: Reason.NOT_AUTHORIZED };
const BAD_CREDENTIALS: AuthOutcome = { ok: false, reason: Reason.BAD_USER_NAME_OR_PASSWORD };

export function createAuthenticator({ methods, listeners }: AuthenticatorOptions): Authenticator {
  const looksAtCredentials = methods.some((method) => method !== byCertificate);

  function askFrom(first: number, credentials: Credentials, policy: ListenerPolicy): Promise<AuthOutcome> | AuthOutcome {
    const offersNothing = credentials.username === null && credentials.password === null;
    for (let at = first; at < methods.length; at++) {
      const method = methods[at]!;
      if (offersNothing && method !== byCertificate) continue;
      const answer = method.answer(credentials, at === methods.length - 1);
      if (answer instanceof Promise)
        return answer.then(
          (later) => (later === NOT_MINE ? askFrom(at + 1, credentials, policy) : later),
          () => NOT_AUTHORIZED,
        );
      if (answer !== NOT_MINE) return answer;
    }
    if (!offersNothing && looksAtCredentials) return BAD_CREDENTIALS;
    return policy.anonymous ? ANONYMOUS : NOT_AUTHORIZED;
  }

  return {
    authenticate(credentials) {
      const policy = listeners.get(credentials.peer.listener);
      if (policy === undefined) return NOT_AUTHORIZED;
      if (methods.length < 2 || credentials.password === null) return askFrom(0, credentials, policy);
      // The password lies in a buffer that is lent for this call, and a method may be asked after it.
      const password = Uint8Array.from(credentials.password);
      const outcome = askFrom(0, { ...credentials, password }, policy);
      if (!(outcome instanceof Promise)) {
        password.fill(0);
        return outcome;
      }
      return outcome.finally(() => password.fill(0));
    },
  };
}
