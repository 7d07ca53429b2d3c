// What a client may do, for every meeting of ACL file, roles of the configuration, and what a token or a callout has given.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Identity, principalOf } from '../../engine/principal.ts';
import { loadAclFile } from '../../engine/security/acl.ts';
import { readGivenRights } from '../../engine/security/given-rights.ts';
import { createRights, type RightsOptions, type RoleConfig } from '../../engine/security/rights.ts';
import { Access, type Pattern, patternOf, ruleOf } from '../../engine/security/rules.ts';
import { naiveMatch } from '../topics/naive.ts';
import { filters, topics } from './names.ts';
import { temporaryFile } from './temporary.ts';

function role(name: string, parts: Partial<RoleConfig>): RoleConfig {
  return { name, publish: [], subscribe: [], deny: [], users: [], ...parts };
}

function rightsOf(options: Partial<RightsOptions> & { readonly aclText?: string }) {
  const acl = options.aclText === undefined ? null : loadAclFile(temporaryFile(options.aclText));
  const rights = createRights({ roles: [], defaultRoles: [], anonymousRoles: [], ...options, acl });
  const ask =
    (question: 'mayPublish' | 'mayReceive' | 'maySubscribe') =>
    (identity: Identity, topic: string, clientId = 'c') => {
      const bytes = new TextEncoder().encode(topic);
      return rights[question](principalOf(identity), clientId, bytes, 0, bytes.length);
    };
  return { publish: ask('mayPublish'), receive: ask('mayReceive'), subscribe: ask('maySubscribe') };
}

const nobody: Identity = { username: null };
const alice: Identity = { username: 'alice' };
const bob: Identity = { username: 'bob' };

describe('roles', () => {
  const roles = [
    role('reader', { subscribe: ['news/#'] }),
    role('writer', { publish: ['news/%u'], users: ['alice'] }),
    role('careful', { deny: ['news/secret'], users: ['bob'] }),
    role('guest', { subscribe: ['lobby'] }),
  ];
  const { publish, receive, subscribe } = rightsOf({ roles, defaultRoles: ['reader'], anonymousRoles: ['guest'] });

  test('come by user name, by default, to those without a name, and by what was given', () => {
    expect([publish(alice, 'news/alice'), publish(bob, 'news/bob'), publish(nobody, 'news/alice')]).toEqual([true, false, false]);
    expect([receive(alice, 'news/x'), receive(bob, 'news/x'), receive(nobody, 'news/x')]).toEqual([true, true, false]);
    expect([receive(nobody, 'lobby'), receive(alice, 'lobby')]).toEqual([true, false]);
    expect(receive({ username: 'alice', roles: ['guest'] }, 'lobby')).toBe(true);
    expect(publish({ username: 'carol', roles: ['writer'] }, 'news/carol')).toBe(true);
  });

  test('publish and subscribe are apart, and each filter is only what it says', () => {
    expect(receive(alice, 'elsewhere')).toBe(false);
    expect(publish(alice, 'news/bob')).toBe(false);
    expect(subscribe(alice, 'news/+')).toBe(true);
    expect(subscribe(nobody, 'news/+')).toBe(false);
  });

  test('a deny wins over whatever allows', () => {
    expect([receive(bob, 'news/secret'), receive(alice, 'news/secret')]).toEqual([false, true]);
    const given: Identity = { username: 'bob', grants: { publish: ['#'], subscribe: ['#'] } };
    expect([receive(given, 'news/secret'), publish(given, 'news/secret'), receive(given, 'other')]).toEqual([false, false, true]);
  });

  test('a role that does not exist gives nothing, also where it stands alone', () => {
    expect(receive({ username: null, roles: ['admin'] }, 'news/x')).toBe(false);
    const open = rightsOf({});
    expect(open.receive({ username: 'x', roles: ['admin'] }, 'news/x')).toBe(false);
    expect(open.receive({ username: 'x' }, 'news/x')).toBe(true);
  });

  test.each(['+', '#', 'a/b', '/', 'x+', ''])('a name %j fills no pattern', (name) => {
    const named: Identity = { username: name, roles: ['writer'] };
    for (const topic of ['news/alice', `news/${name}`, 'news/', 'news/a/b']) expect(publish(named, topic)).toBe(false);
  });

  test('$ topics only where a rule names them', () => {
    const all = rightsOf({ roles: [role('all', { subscribe: ['#', '+/x', '$SYS/broker/#'] })], defaultRoles: ['all'] });
    expect(all.receive(alice, '$SYS/broker/uptime')).toBe(true);
    expect(all.receive(alice, '$other/x')).toBe(false);
    expect(all.subscribe(alice, '$other/#')).toBe(false);
  });
});

test('the ACL file and roles add up, and each denies for both', () => {
  const { receive } = rightsOf({
    aclText: 'user alice\ntopic read acl/#\ntopic deny both/acl-no\n',
    roles: [role('r', { subscribe: ['role/#', 'both/#'], deny: ['acl/role-no'], users: ['alice'] })],
  });
  const may = ['acl/x', 'role/x', 'both/x', 'acl/role-no', 'both/acl-no', 'else'].map((topic) => receive(alice, topic));
  expect(may).toEqual([true, true, true, false, false, false]);
});

test('one role or rule anywhere, and what nobody allows is refused to all', () => {
  const { publish } = rightsOf({ roles: [role('r', { publish: ['x'], users: ['someone'] })] });
  expect([publish(nobody, 'x'), publish(alice, 'x'), publish({ username: 'someone' }, 'x')]).toEqual([false, false, true]);
});

test('who came with grants is held to them, also where no rule exists', () => {
  const { publish, receive } = rightsOf({});
  const given: Identity = { username: 'u', grants: { publish: ['own/%c/+'], subscribe: ['own/%u'] } };
  expect([publish(given, 'own/c/1'), publish(given, 'own/d/1'), receive(given, 'own/u'), receive(given, 'own/c/1')]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  expect(publish(given, 'own/+/1', '+')).toBe(false);
  expect(publish({ username: 'u', grants: { publish: [], subscribe: [] } }, 'x')).toBe(false);
  expect(publish(nobody, 'anything')).toBe(true);
});

test('one principal is judged by the client id that it is asked with', () => {
  const rights = createRights({ acl: null, roles: [role('r', { publish: ['%c'] })], defaultRoles: ['r'], anonymousRoles: [] });
  const principal = principalOf(alice);
  const topic = new TextEncoder().encode('one');
  expect(['one', 'two', 'one'].map((id) => rights.mayPublish(principal, id, topic, 0, 3))).toEqual([true, false, true]);
});

test('agrees with naive matching over random roles', () => {
  const list = fc.array(filters, { maxLength: 3 });
  const any = fc.record({ publish: list, subscribe: list, deny: list, isMine: fc.boolean() });
  fc.assert(
    fc.property(fc.array(any, { minLength: 1, maxLength: 5 }), topics, (random, topic) => {
      const roles = random.map(({ isMine, ...parts }, at) => role(`r${at}`, { ...parts, users: isMine ? ['alice'] : [] }));
      const { publish, receive } = rightsOf({ roles });
      const mine = roles.filter((_, at) => random[at]!.isMine);
      const hits = (kind: 'publish' | 'subscribe' | 'deny') =>
        mine.some((own) => own[kind].some((filter) => naiveMatch(filter, topic)));
      expect(publish(alice, topic)).toBe(hits('publish') && !hits('deny'));
      expect(receive(alice, topic)).toBe(hits('subscribe') && !hits('deny'));
    }),
    { numRuns: 500 },
  );
});

describe('what a token or a callout gives', () => {
  test('is read', () => {
    expect(readGivenRights({})).toEqual({ roles: [], grants: null });
    expect(readGivenRights({ roles: null, acl: null })).toEqual({ roles: [], grants: null });
    expect(readGivenRights({ roles: ['a'], acl: { publish: ['x/%c'], subscribe: null } })).toEqual({
      roles: ['a'],
      grants: { publish: ['x/%c'], subscribe: [] },
    });
    expect(readGivenRights({ acl: {} })).toEqual({ roles: [], grants: { publish: [], subscribe: [] } });
  });

  test.each([
    ['a role that is no text', { roles: [1] }],
    ['one role that is not in a list', { roles: 'admin' }],
    ['an empty role', { roles: [''] }],
    ['too many roles', { roles: Array<string>(65).fill('r') }],
    ['an ACL that is a list', { acl: ['#'] }],
    ['an ACL that is a text', { acl: '#' }],
    ['a word that is not known', { acl: { publish: ['a'], deny: ['b'] } }],
    ['a filter that is none', { acl: { publish: ['a/#/b'] } }],
    ['a filter that is no text', { acl: { subscribe: [null] } }],
    ['filters that are not in a list', { acl: { subscribe: '#' } }],
    ['too many filters', { acl: { subscribe: Array<string>(257).fill('a') } }],
    ['filters that are too long together', { acl: { publish: Array<string>(20).fill('x'.repeat(1_000)) } }],
  ])('is refused as a whole: %s', (_what, source) => {
    expect(readGivenRights(source)).toBeNull();
  });
});

test('rules are worked out once for each principal, however many there are, and once for all of a user where no rule names the client', () => {
  let worked = 0;
  const byUser = new Map([['alice', [ruleOf(Access.READ, 'a')]]]);
  byUser.get = (user) => {
    worked++;
    return Map.prototype.get.call(byUser, user);
  };
  const topic = new TextEncoder().encode('a');
  const askAll = (patterns: readonly Pattern[]) => {
    worked = 0;
    const rights = createRights({ acl: { anonymous: [], byUser, patterns }, roles: [], defaultRoles: [], anonymousRoles: [] });
    const principals = Array.from({ length: 20_000 }, () => principalOf(alice));
    for (let round = 0; round < 2; round++)
      for (const principal of principals) expect(rights.mayReceive(principal, 'c', topic, 0, 1)).toBe(true);
    return worked;
  };
  expect(askAll([patternOf(Access.READ, '%c/x')])).toBe(20_000);
  expect(askAll([patternOf(Access.READ, '%u/x')])).toBe(1);
});
