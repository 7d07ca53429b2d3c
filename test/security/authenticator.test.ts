// Who comes in, for every meeting of listener policy, password file and credentials.
import { describe, expect, test } from 'vitest';
import type { Credentials } from '../../engine/gate.ts';
import { TransportKind } from '../../engine/link.ts';
import { createAuthenticator } from '../../engine/security/authenticator.ts';
import { type PasswordFile, Verdict } from '../../engine/security/password-file.ts';
import { Reason } from '../../protocol/packet.ts';

const listeners = new Map([
  ['open', { anonymous: true, useCertificateNameAsUser: false }],
  ['closed', { anonymous: false, useCertificateNameAsUser: false }],
  ['certificates', { anonymous: true, useCertificateNameAsUser: true }],
]);

/** Knows `alice` with the password `ok`; answers `busy` to `busy`, rejects for `broken`. */
const passwords: PasswordFile = {
  users: 1,
  warnings: [],
  async verify(user, password) {
    const text = new TextDecoder().decode(password);
    if (text === 'broken') throw new Error('broken');
    if (text === 'busy') return Verdict.BUSY;
    return user === 'alice' && text === 'ok' ? Verdict.OK : Verdict.DENIED;
  },
};

function credentials(listener: string, username: string | null, password: string | null, commonName?: string): Credentials {
  const certificate = commonName === undefined ? null : { commonName, fingerprint: '00' };
  const peer = { transport: TransportKind.MEMORY, listener, address: '127.0.0.1', port: 1, secure: true, certificate };
  return { clientId: 'c', username, password: password === null ? null : new TextEncoder().encode(password), peer };
}

const accepted = (username: string | null) => ({ ok: true, username });
const refused = (reason: Reason) => ({ ok: false, reason });
const BAD = refused(Reason.BAD_USER_NAME_OR_PASSWORD);

describe('with a password file', () => {
  const authenticator = createAuthenticator({ passwordFile: passwords, listeners });
  test.each([
    ['open', 'alice', 'ok', accepted('alice')],
    ['closed', 'alice', 'ok', accepted('alice')],
    ['open', 'alice', 'wrong', BAD],
    ['open', 'nobody', 'ok', BAD],
    ['open', 'alice', null, BAD],
    ['open', '', 'ok', BAD],
    ['open', null, 'ok', BAD],
    ['open', null, null, accepted(null)],
    ['closed', null, null, refused(Reason.NOT_AUTHORIZED)],
    ['closed', 'alice', 'busy', refused(Reason.SERVER_BUSY)],
    ['closed', 'alice', 'broken', refused(Reason.NOT_AUTHORIZED)],
    ['unknown', 'alice', 'ok', refused(Reason.NOT_AUTHORIZED)],
    ['unknown', null, null, refused(Reason.NOT_AUTHORIZED)],
  ])('listener %s, user %j, password %j', async (listener, username, password, outcome) => {
    expect(await authenticator.authenticate(credentials(listener, username, password))).toEqual(outcome);
  });
});

describe('without a password file', () => {
  const authenticator = createAuthenticator({ passwordFile: null, listeners });
  test.each([
    ['open', null, null, accepted(null)],
    ['open', 'alice', 'ok', accepted(null)], // unverified: no rights of alice
    ['open', 'alice', null, accepted(null)],
    ['closed', null, null, refused(Reason.NOT_AUTHORIZED)],
    ['closed', 'alice', 'ok', refused(Reason.NOT_AUTHORIZED)],
  ])('listener %s, user %j, password %j', async (listener, username, password, outcome) => {
    expect(await authenticator.authenticate(credentials(listener, username, password))).toEqual(outcome);
  });
});

describe('with client certificates', () => {
  const authenticator = createAuthenticator({ passwordFile: passwords, listeners });
  test.each([
    ['sensor-7', null, null, accepted('sensor-7')],
    ['sensor-7', 'alice', 'ok', accepted('sensor-7')],
    ['sensor-7', 'alice', 'wrong', accepted('sensor-7')],
    ['', 'alice', 'ok', refused(Reason.NOT_AUTHORIZED)],
    [undefined, 'alice', 'ok', refused(Reason.NOT_AUTHORIZED)],
    [undefined, null, null, refused(Reason.NOT_AUTHORIZED)],
  ])('common name %j, user %j, password %j', async (commonName, username, password, outcome) => {
    expect(await authenticator.authenticate(credentials('certificates', username, password, commonName))).toEqual(outcome);
  });

  test('a certificate on another listener does not name the user', async () => {
    expect(await authenticator.authenticate(credentials('open', null, null, 'alice'))).toEqual(accepted(null));
  });
});
