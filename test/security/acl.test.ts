// Topic rights: what each line of an ACL file gives, what odd names cannot gain, and which files are refused.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { principalOf } from '../../engine/principal.ts';
import { loadAclFile } from '../../engine/security/acl.ts';
import { createRights } from '../../engine/security/rights.ts';
import { naiveMatch } from '../topics/naive.ts';
import { filters, topics } from './names.ts';
import { directory, messageOf, temporaryFile } from './temporary.ts';

type Client = readonly [username: string | null, clientId: string];

function rightsOf(text: string) {
  const acl = loadAclFile(temporaryFile(text));
  const rights = createRights({ acl, roles: [], defaultRoles: [], anonymousRoles: [] });
  const ask = (question: 'mayPublish' | 'mayReceive' | 'maySubscribe') => (client: Client, topic: string) => {
    const bytes = new TextEncoder().encode(`#${topic}#`); // the range is what counts, not the buffer
    return rights[question](principalOf({ username: client[0] }), client[1], bytes, 1, bytes.length - 1);
  };
  return { publish: ask('mayPublish'), receive: ask('mayReceive'), subscribe: ask('maySubscribe') };
}

const anonymous: Client = [null, 'c'];
const alice: Client = ['alice', 'c'];
const bob: Client = ['bob', 'd'];

describe('rules', () => {
  test('topic lines before the first user line are for anonymous clients alone', () => {
    const { publish } = rightsOf('topic readwrite g/#\nuser alice\ntopic a/#\n');
    expect(publish(anonymous, 'g/1')).toBe(true);
    expect(publish(alice, 'g/1')).toBe(false);
    expect(publish(alice, 'a/1')).toBe(true);
    expect(publish(anonymous, 'a/1')).toBe(false);
    expect(publish(bob, 'g/1')).toBe(false);
    expect(publish(['', 'c'], 'g/1')).toBe(false);
  });

  test('each access word gives what it says, and no word gives both', () => {
    const { publish, receive } = rightsOf('topic read r\ntopic write w\ntopic readwrite rw\ntopic both\ntopic deny d\n');
    const may = (topic: string) => [receive(anonymous, topic), publish(anonymous, topic)];
    expect(may('r')).toEqual([true, false]);
    expect(may('w')).toEqual([false, true]);
    expect(may('rw')).toEqual([true, true]);
    expect(may('both')).toEqual([true, true]);
    expect(may('d')).toEqual([false, false]);
    expect(may('other')).toEqual([false, false]);
  });

  test('comments, blank lines, CRLF, spaces around and inside, a user in two places', () => {
    const { publish } = rightsOf(
      '# comment\r\n\r\n  user   alice smith  \r\n topic  write   a b  \r\nuser bob\r\ntopic b\r\nuser alice smith\r\ntopic c',
    );
    const smith: Client = ['alice smith', 'c'];
    expect(publish(smith, 'a b')).toBe(true);
    expect(publish(smith, 'c')).toBe(true);
    expect(publish(smith, 'b')).toBe(false);
  });

  test('deny wins whatever stands beside it, before it or after it', () => {
    const { publish, receive } = rightsOf(
      'user alice\ntopic deny a/x\ntopic readwrite a/#\ntopic deny a/y\npattern deny a/z\npattern readwrite p/#\npattern deny p/1\n',
    );
    expect(publish(alice, 'a/1')).toBe(true);
    for (const topic of ['a/x', 'a/y', 'a/z', 'p/1']) {
      expect(publish(alice, topic)).toBe(false);
      expect(receive(alice, topic)).toBe(false);
    }
    expect(publish(alice, 'p/2')).toBe(true);
  });

  test('wildcards at the first level give nothing that begins with $ [MQTT-4.7.2-1]', () => {
    const wide = rightsOf('topic #\ntopic +/x\n');
    expect(wide.receive(anonymous, '$SYS/x')).toBe(false);
    expect(wide.publish(anonymous, 'y/x')).toBe(true);
    const narrow = rightsOf('topic read $SYS/#\n');
    expect(narrow.receive(anonymous, '$SYS/broker/uptime')).toBe(true);
    expect(narrow.publish(anonymous, '$SYS/broker/uptime')).toBe(false);
  });

  test('ten thousand users are found by name', () => {
    const { publish } = rightsOf(Array.from({ length: 10_000 }, (_, i) => `user u${i}\ntopic t${i}/#`).join('\n'));
    expect(publish(['u9999', 'c'], 't9999/x')).toBe(true);
    expect(publish(['u9999', 'c'], 't9998/x')).toBe(false);
  });
});

describe('patterns', () => {
  const rules = 'pattern readwrite d/%c/#\npattern readwrite u/%u\npattern readwrite x-%c-%u\nuser alice\ntopic own\n';

  test('fill in the client id and the user name', () => {
    const { publish } = rightsOf(rules);
    expect(publish(anonymous, 'd/c/1')).toBe(true);
    expect(publish(anonymous, 'd/other/1')).toBe(false);
    expect(publish(anonymous, 'u/')).toBe(false);
    expect(publish(alice, 'u/alice')).toBe(true);
    expect(publish(bob, 'u/alice')).toBe(false);
    expect(publish(bob, 'x-d-bob')).toBe(true);
  });

  test('a name is filled in once: %u inside a client id stays as it is', () => {
    const { publish } = rightsOf('pattern readwrite d/%c\n');
    expect(publish(['alice', '%u'], 'd/alice')).toBe(false);
    expect(publish(['alice', '%u'], 'd/%u')).toBe(true);
    expect(publish(['alice', '$&'], 'd/$&')).toBe(true);
  });

  test.each(['+', '#', 'a/b', 'c+', '#c', '/', ''])('a client id or user name %j gains nothing from them', (name) => {
    const { publish, receive, subscribe } = rightsOf(rules);
    for (const topic of ['d/c/1', 'd/other/1', 'd/a/b/1', 'd//1', `d/${name}/1`, 'u/alice', 'u/a/b', `u/${name}`, 'x-c-d']) {
      for (const client of [[null, name] as const, [name, name] as const]) {
        expect(publish(client, topic)).toBe(false);
        expect(receive(client, topic)).toBe(false);
        expect(subscribe(client, topic)).toBe(false);
      }
    }
    expect(publish(['alice', name], 'own')).toBe(true);
    expect(publish(['alice', name], 'u/alice')).toBe(true);
  });

  test('a name that begins with $ cannot start a filter', () => {
    const { publish } = rightsOf('pattern readwrite %c/#\npattern readwrite in/%u\n');
    expect(publish([null, '$SYS'], '$SYS/x')).toBe(false);
    expect(publish(['$SYS', 'c'], 'in/$SYS')).toBe(true);
  });

  test('a deny pattern that cannot be filled in denies everything; one about users says nothing of anonymous clients', () => {
    const { publish } = rightsOf('pattern readwrite all/#\npattern deny all/%c/secret\npattern deny all/%u\n');
    expect(publish(anonymous, 'all/c/open')).toBe(true);
    expect(publish(anonymous, 'all/c/secret')).toBe(false);
    expect(publish(alice, 'all/alice')).toBe(false);
    expect(publish([null, '+'], 'all/open')).toBe(false);
    expect(publish(['a/b', 'c'], 'all/open')).toBe(false);
  });
});

describe('subscriptions', () => {
  test('are granted when some message could come through, refused when none could', () => {
    const { subscribe } = rightsOf('topic read a/#\ntopic write w/#\ntopic deny a/private/#\n');
    for (const filter of ['a', 'a/b', 'a/#', '#', '+/b', '+']) {
      expect(subscribe(anonymous, filter)).toBe(true);
    }
    for (const filter of ['b/#', 'w/#', 'a/private', 'a/private/x', 'a/private/#', '$SYS/#', 'b/+']) {
      expect(subscribe(anonymous, filter)).toBe(false);
    }
    expect(subscribe(alice, '#')).toBe(false);
  });
});

test('agrees with naive matching over random rule sets', () => {
  const words = fc.constantFrom('read', 'write', 'readwrite', 'deny');
  const line = fc.record({ word: words, filter: filters, owner: fc.constantFrom('', 'alice', 'pattern') });
  fc.assert(
    fc.property(fc.array(line, { minLength: 1, maxLength: 8 }), topics, (lines, topic) => {
      const text = lines
        .map(({ word, filter, owner }) => [owner, `${owner === 'pattern' ? 'pattern' : 'topic'} ${word} ${filter}`] as const)
        .sort(([a], [b]) => (a === b ? 0 : a === '' || b === 'alice' ? -1 : 1))
        .flatMap(([owner, rule]) => (owner === 'alice' ? ['user alice', rule] : [rule]))
        .join('\n');
      const { publish, receive } = rightsOf(text);
      for (const client of [anonymous, alice, bob]) {
        const mine = lines.filter(({ owner }) => owner === 'pattern' || owner === (client[0] ?? ''));
        const hits = mine.filter(({ filter }) => naiveMatch(filter, topic)).map(({ word }) => word);
        const gives = (word: 'read' | 'write') => !hits.includes('deny') && (hits.includes(word) || hits.includes('readwrite'));
        expect(publish(client, topic)).toBe(gives('write'));
        expect(receive(client, topic)).toBe(gives('read'));
      }
    }),
    { numRuns: 1_000 },
  );
});

describe('refused files', () => {
  test.each([
    ['an access word that does not exist', 'topic readx secret/a', 1, /read, write, readwrite or deny/],
    ['a topic line without a filter', '\ntopic', 2, /filter is missing/],
    ['a pattern line without a filter', 'pattern ', 1, /filter is missing/],
    ['an access word without a filter', 'topic a\ntopic deny  ', 2, /access word without/],
    ['a user line without a name', 'topic a\nuser ', 2, /user name is missing/],
    ['an unknown word', 'secret a', 1, /topic, user, pattern or #/],
    ['a comment behind spaces', '  # secret', 1, /topic, user, pattern or #/],
    ['tabs for spaces', 'topic\tread\tsecret', 1, /space/],
    ['# before the last level', 'topic secret/#/b', 1, /not a valid topic filter/],
    ['+ beside other characters', 'topic read secret+', 1, /not a valid topic filter/],
    ['a placeholder beside a wildcard', 'pattern read secret/%c#', 1, /not a valid topic filter/],
  ])('%s', (_, text, line, words) => {
    const path = temporaryFile(text);
    const message = messageOf(() => loadAclFile(path));
    expect(message.startsWith(`${path}:${line}: `)).toBe(true);
    expect(message).toMatch(words);
    expect(message).not.toContain('secret');
  });

  test.each([
    ['empty', ''],
    ['only comments', '# nothing\n\n'],
    ['users without rules', 'user alice\nuser bob\n'],
  ])('%s', (_, text) => {
    const path = temporaryFile(text);
    expect(messageOf(() => loadAclFile(path))).toMatch(/no rule/);
  });

  test('missing, a directory, not UTF-8, with a NUL', () => {
    mkdirSync(join(directory, 'folder'));
    expect(messageOf(() => loadAclFile(join(directory, 'none')))).toMatch(/none: there is no such file/);
    expect(messageOf(() => loadAclFile(join(directory, 'folder')))).toMatch(/not a regular file/);
    expect(messageOf(() => loadAclFile(temporaryFile(Uint8Array.of(0x74, 0xff, 0x0a))))).toMatch(/not UTF-8/);
    expect(messageOf(() => loadAclFile(temporaryFile('topic a\0b\n')))).toMatch(/NUL/);
  });
});
