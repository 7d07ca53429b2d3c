// The record of a session: whoever its client was found to be comes back, from records of the version before too, and what is broken is nobody's.
import fc from 'fast-check';
import { Packr } from 'msgpackr/pack';
import { expect, test } from 'vitest';
import { isPrincipal, NOBODY, type Principal, principalOf, samePrincipal } from '../../engine/principal.ts';
import { packSession, unpackSession } from '../../engine/routing/record.ts';
import { Session, type SessionHandle } from '../../engine/sessions/session.ts';
import { check } from '../check.ts';

const packr = new Packr({ useRecords: false, mapsAsObjects: true, variableMapSize: true });
const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const texts = fc.array(text, { maxLength: 5 });
const principals: fc.Arbitrary<Principal> = fc.record({
  username: fc.option(text),
  roles: texts,
  grants: fc.option(fc.record({ publish: texts, subscribe: texts })),
});

function sessionOf(principal: Principal): Session {
  const session = new Session(1 as SessionHandle, 'client');
  session.principal = principal;
  return session;
}

test('a principal is read as it was written', () =>
  check(
    fc.property(principals, (principal) => {
      const read = unpackSession(packSession(sessionOf(principal)))!;
      expect(read.principal).toEqual(principal);
      expect(samePrincipal(read.principal, principal)).toBe(true);
    }),
    300,
  ));

/** A record with another version byte and other fields. */
function altered(version: number, change: (record: Record<string, unknown>) => void): Uint8Array {
  const record = packr.unpack(packSession(sessionOf(NOBODY)).slice(1)) as Record<string, unknown>;
  change(record);
  return Uint8Array.of(version, ...packr.pack(record));
}

test.each(['alice', null])('version 1 had the user name %j and nothing more of its client', (username) => {
  const bytes = altered(1, (record) => {
    delete record['principal'];
    record['username'] = username;
  });
  const read = unpackSession(bytes)!;
  expect(read.principal).toEqual(principalOf({ username }));
  expect(read.clientId).toBe('client');
  expect('username' in read).toBe(false);
});

test.each<readonly [string, unknown]>([
  ['none', undefined],
  ['a name', 'alice'],
  ['without roles', { username: 'a', grants: null }],
  ['with a role that is no text', { username: 'a', roles: [1], grants: null }],
  ['with grants of another form', { username: 'a', roles: [], grants: { publish: ['#'] } }],
  ['with a name that is none', { username: 7, roles: [], grants: null }],
])('a record whose principal is broken is not read: %s', (_what, principal) => {
  expect(isPrincipal(principal)).toBe(false);
  expect(unpackSession(altered(2, (record) => Object.assign(record, { principal })))).toBeNull();
});

test('a record of version 1 whose user name is none is not read', () => {
  const change = (record: Record<string, unknown>) => Object.assign(record, { principal: undefined, username: 7 });
  expect(unpackSession(altered(1, change))).toBeNull();
});

test('a record of a later version is not read', () => {
  expect(unpackSession(altered(3, () => {}))).toBeNull();
});

test('principals are the same by what is in them', () =>
  check(
    fc.property(principals, principals, (one, other) => {
      expect(samePrincipal(one, other)).toBe(JSON.stringify(one) === JSON.stringify(other));
      expect(samePrincipal(one, structuredClone(one))).toBe(true);
    }),
    300,
  ));
