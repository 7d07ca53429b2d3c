// Who comes in, for every meeting of listener policy, methods and credentials.
import { describe, expect, test } from 'vitest';
import type { Credentials } from '../../engine/gate.ts';
import { TransportKind } from '../../engine/link.ts';
import { createAuthenticator } from '../../engine/security/authenticator.ts';
import { byCertificate } from '../../engine/security/by-certificate.ts';
import { byPasswordFile } from '../../engine/security/by-password.ts';
import { type Method, type MethodAnswer, NOT_MINE } from '../../engine/security/method.ts';
import { type PasswordFile, Verdict } from '../../engine/security/password-file.ts';
import { Reason } from '../../protocol/packet.ts';

const listeners = new Map([
  ['open', { anonymous: true, certificateUser: 'none' }],
  ['closed', { anonymous: false, certificateUser: 'none' }],
  ['certificates', { anonymous: false, certificateUser: 'common_name' }],
] as const);

/** Knows `alice` with the password `ok`; answers `busy` to `busy`, rejects for `broken`. */
const passwords: PasswordFile = {
  users: 1,
  has: (user) => user === 'alice',
  warnings: [],
  async verify(user, password) {
    const text = new TextDecoder().decode(password);
    if (text === 'broken') throw new Error('broken');
    if (text === 'busy') return Verdict.BUSY;
    return user === 'alice' && text === 'ok' ? Verdict.OK : Verdict.DENIED;
  },
};
const password = byPasswordFile(passwords);

/** @param userName absent: no certificate was shown; null: the listener takes no name from it */
function credentials(listener: string, username: string | null, password: string | null, userName?: string | null): Credentials {
  const shown = { commonName: 'x', fingerprint: '00' };
  const certificate = userName === undefined ? null : userName === null ? shown : { ...shown, userName };
  const peer = { transport: TransportKind.MEMORY, listener, address: '127.0.0.1', port: 1, secure: true, certificate };
  return { clientId: 'c', username, password: password === null ? null : new TextEncoder().encode(password), peer };
}

const accepted = (username: string | null) => ({ ok: true, username });
const refused = (reason: Reason) => ({ ok: false, reason });
const BAD = refused(Reason.BAD_USER_NAME_OR_PASSWORD);
const NOT_AUTHORIZED = refused(Reason.NOT_AUTHORIZED);

describe('with a password file', () => {
  const authenticator = createAuthenticator({ methods: [password], listeners });
  test.each([
    ['open', 'alice', 'ok', accepted('alice')],
    ['closed', 'alice', 'ok', accepted('alice')],
    ['open', 'alice', 'wrong', BAD],
    ['open', 'nobody', 'ok', BAD],
    ['open', 'alice', null, BAD],
    ['open', '', 'ok', BAD],
    ['open', null, 'ok', BAD],
    ['open', null, null, accepted(null)],
    ['closed', null, null, NOT_AUTHORIZED],
    ['closed', 'alice', 'busy', refused(Reason.SERVER_BUSY)],
    ['closed', 'alice', 'broken', NOT_AUTHORIZED],
    ['unknown', 'alice', 'ok', NOT_AUTHORIZED],
    ['unknown', null, null, NOT_AUTHORIZED],
  ])('listener %s, user %j, password %j', async (listener, username, password, outcome) => {
    expect(await authenticator.authenticate(credentials(listener, username, password))).toEqual(outcome);
  });
});

describe('without anything to ask', () => {
  const authenticator = createAuthenticator({ methods: [], listeners });
  test.each([
    ['open', null, null, accepted(null)],
    ['open', 'alice', 'ok', accepted(null)], // unverified: no rights of alice
    ['open', 'alice', null, accepted(null)],
    ['closed', null, null, NOT_AUTHORIZED],
    ['closed', 'alice', 'ok', NOT_AUTHORIZED],
  ])('listener %s, user %j, password %j', async (listener, username, password, outcome) => {
    expect(await authenticator.authenticate(credentials(listener, username, password))).toEqual(outcome);
  });
});

describe('with client certificates first', () => {
  const authenticator = createAuthenticator({ methods: [byCertificate, password], listeners });
  test.each([
    ['sensor-7', null, null, accepted('sensor-7')],
    ['sensor-7', 'alice', 'ok', accepted('sensor-7')],
    ['sensor-7', 'alice', 'wrong', accepted('sensor-7')],
    ['', 'alice', 'ok', NOT_AUTHORIZED],
    ['', null, null, NOT_AUTHORIZED],
    [undefined, 'alice', 'ok', accepted('alice')],
    [undefined, 'alice', 'wrong', BAD],
    [undefined, null, null, NOT_AUTHORIZED],
  ])('name %j, user %j, password %j', async (userName, username, password, outcome) => {
    expect(await authenticator.authenticate(credentials('certificates', username, password, userName))).toEqual(outcome);
  });

  test('a certificate on a listener that takes no name from it does not name the user', async () => {
    expect(await authenticator.authenticate(credentials('open', null, null, null))).toEqual(accepted(null));
  });

  test('behind the password file a wrong password is the end, whatever the certificate says', async () => {
    const after = createAuthenticator({ methods: [password, byCertificate], listeners });
    expect(await after.authenticate(credentials('certificates', 'alice', 'wrong', 'sensor-7'))).toEqual(BAD);
    expect(await after.authenticate(credentials('certificates', 'bob', 'x', 'sensor-7'))).toEqual(accepted('sensor-7'));
    expect(await after.authenticate(credentials('certificates', null, null, 'sensor-7'))).toEqual(accepted('sensor-7'));
  });

  test('alone, a name that somebody types is not looked at', async () => {
    const alone = createAuthenticator({ methods: [byCertificate], listeners });
    expect(await alone.authenticate(credentials('open', 'alice', 'ok'))).toEqual(accepted(null));
    expect(await alone.authenticate(credentials('certificates', 'alice', 'ok'))).toEqual(NOT_AUTHORIZED);
  });
});

describe('the chain', () => {
  /** A method that always answers the same, and is asked in vain or not. */
  function always(answer: MethodAnswer | Error, when: 'now' | 'later') {
    const asked: { password: string; isLast: boolean }[] = [];
    const method: Method = {
      answer({ password }, isLast) {
        const copy = password === null ? '' : Buffer.from(password).toString();
        asked.push({ password: copy, isLast });
        if (answer instanceof Error) return Promise.reject(answer);
        return when === 'now' ? answer : Promise.resolve(answer);
      },
    };
    return { method, asked };
  }

  test.each(['now', 'later'] as const)('the first that allows or denies decides, answering %s', async (when) => {
    for (const decision of [accepted('x') as MethodAnswer, NOT_AUTHORIZED as MethodAnswer]) {
      const [first, second, third] = [
        always(NOT_MINE, when),
        always(decision, when),
        always(accepted('y') as MethodAnswer, when),
      ];
      const authenticator = createAuthenticator({ methods: [first.method, second.method, third.method], listeners });
      expect(await authenticator.authenticate(credentials('open', 'u', 'p'))).toEqual(decision);
      expect([first.asked.length, second.asked.length, third.asked.length]).toEqual([1, 1, 0]);
    }
  });

  test.each(['now', 'later'] as const)(
    'to be nobody’s is a refusal also where anonymous clients may come, answering %s',
    async (when) => {
      const [first, second] = [always(NOT_MINE, when), always(NOT_MINE, when)];
      const authenticator = createAuthenticator({ methods: [first.method, second.method], listeners });
      expect(await authenticator.authenticate(credentials('open', 'u', 'p'))).toEqual(BAD);
      expect(await authenticator.authenticate(credentials('open', 'u', null))).toEqual(BAD);
      expect(await authenticator.authenticate(credentials('open', null, 'p'))).toEqual(BAD);
      expect([first.asked[0]!.isLast, second.asked[0]!.isLast]).toEqual([false, true]);
    },
  );

  test('who offers nothing is not asked about', async () => {
    const only = always(accepted('x') as MethodAnswer, 'now');
    const authenticator = createAuthenticator({ methods: [only.method], listeners });
    expect(await authenticator.authenticate(credentials('open', null, null))).toEqual(accepted(null));
    expect(await authenticator.authenticate(credentials('closed', null, null))).toEqual(NOT_AUTHORIZED);
    expect(only.asked).toEqual([]);
  });

  test('a method that fails is a refusal, and nobody is asked after it', async () => {
    const [first, second] = [always(new Error('broken'), 'later'), always(accepted('x') as MethodAnswer, 'now')];
    const authenticator = createAuthenticator({ methods: [first.method, second.method], listeners });
    expect(await authenticator.authenticate(credentials('open', 'u', 'p'))).toEqual(NOT_AUTHORIZED);
    expect(second.asked).toEqual([]);
  });

  test('a password is the same for all, however late they are asked and whatever becomes of the buffer', async () => {
    const [first, second] = [always(NOT_MINE, 'later'), always(accepted('x') as MethodAnswer, 'now')];
    const authenticator = createAuthenticator({ methods: [first.method, second.method], listeners });
    const given = credentials('open', 'u', 'secret');
    const outcome = authenticator.authenticate(given);
    given.password!.fill(0);
    expect(await outcome).toEqual(accepted('x'));
    expect(second.asked).toEqual([{ password: 'secret', isLast: true }]);
  });

  test('a name that is not in the password file is judged by the next, one that is in it by the file', async () => {
    const next = always(accepted('next') as MethodAnswer, 'now');
    const authenticator = createAuthenticator({ methods: [password, next.method], listeners });
    expect(await authenticator.authenticate(credentials('open', 'carol', 'ok'))).toEqual(accepted('next'));
    expect(await authenticator.authenticate(credentials('open', 'alice', 'wrong'))).toEqual(BAD);
    expect(await authenticator.authenticate(credentials('open', 'alice', null))).toEqual(BAD);
    expect(next.asked.length).toBe(1);
  });
});
