// Who may come in: the rules that join a listener's policy, the password file and the client certificate. Fails closed: whatever
// is not foreseen here is a refusal. Rights over topics are acl.ts.
//
// A user name leaves here only when something has vouched for it, a password or a certificate. Where an anonymous listener has no
// password file to ask, a client may give any name, as with Mosquitto, but counts as anonymous: a name that anybody can
// type must not open the rights that an ACL file gives to that user.
import { Reason } from '../../protocol/packet.ts';
import type { Authenticator, AuthOutcome, Credentials } from '../gate.ts';
import { type PasswordFile, Verdict } from './password-file.ts';

export interface ListenerPolicy {
  /** Clients without a user name may come in. */
  readonly anonymous: boolean;
  /** The common name of the verified client certificate is the user name; what CONNECT gives is not looked at. */
  readonly useCertificateNameAsUser: boolean;
}

export interface AuthenticatorOptions {
  readonly passwordFile: PasswordFile | null;
  /** By the name of the listener; one that is not here lets nobody in. */
  readonly listeners: ReadonlyMap<string, ListenerPolicy>;
}

const ANONYMOUS: AuthOutcome = { ok: true, username: null };
const NOT_AUTHORIZED: AuthOutcome = { ok: false, reason: Reason.NOT_AUTHORIZED };
const BAD_CREDENTIALS: AuthOutcome = { ok: false, reason: Reason.BAD_USER_NAME_OR_PASSWORD };
const BUSY: AuthOutcome = { ok: false, reason: Reason.SERVER_BUSY };

export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const { passwordFile, listeners } = options;
  return {
    authenticate(credentials) {
      const policy = listeners.get(credentials.peer.listener);
      if (policy === undefined) return NOT_AUTHORIZED;
      if (policy.useCertificateNameAsUser) return byCertificate(credentials);
      if (passwordFile === null) return policy.anonymous ? ANONYMOUS : NOT_AUTHORIZED;
      if (credentials.username !== null) return byPassword(passwordFile, credentials.username, credentials.password);
      if (credentials.password !== null) return BAD_CREDENTIALS; // MQTT 5.0 §3.1.2.9 permits it; nothing here could check it
      return policy.anonymous ? ANONYMOUS : NOT_AUTHORIZED;
    },
  };
}

function byCertificate(credentials: Credentials): AuthOutcome {
  const name = credentials.peer.certificate?.commonName ?? '';
  return name === '' ? NOT_AUTHORIZED : { ok: true, username: name };
}

async function byPassword(passwordFile: PasswordFile, username: string, password: Uint8Array | null): Promise<AuthOutcome> {
  if (password === null) return BAD_CREDENTIALS; // whoever the name belongs to, so it tells nothing
  try {
    const verdict = await passwordFile.verify(username, password);
    if (verdict === Verdict.OK) return { ok: true, username };
    return verdict === Verdict.BUSY ? BUSY : BAD_CREDENTIALS;
  } catch {
    return NOT_AUTHORIZED;
  }
}
