// Shared groups: the round is fair, survives members that come and go, and a stale handle finds nothing.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MatchList, SubscriptionTrie } from '../../engine/topics/trie.ts';
import { fault, Reason } from '../../protocol/packet.ts';

const list = new MatchList();

function smallTrie(nodesMax = 256): SubscriptionTrie {
  return new SubscriptionTrie({ nodesMax, subscriptionsMax: 256 });
}

/** `name` is `group/filter`, as it stands after `$share/`. */
function parts(name: string): [bytes: Buffer, groupTo: number, filterFrom: number] {
  const bytes = Buffer.from(name);
  return [bytes, bytes.indexOf('/'), bytes.indexOf('/') + 1];
}

function join(trie: SubscriptionTrie, name: string, subscriber: number, options = 0, identifier = 0): number {
  const [bytes, groupTo, from] = parts(name);
  return trie.subscribeShared(bytes, 0, groupTo, bytes, from, bytes.length, subscriber, options, identifier);
}

function leave(trie: SubscriptionTrie, name: string, subscriber: number): number {
  const [bytes, groupTo, from] = parts(name);
  return trie.unsubscribeShared(bytes, 0, groupTo, bytes, from, bytes.length, subscriber);
}

function groupsOf(trie: SubscriptionTrie, topic: string): number[] {
  const bytes = Buffer.from(topic);
  trie.match(bytes, 0, bytes.length, list);
  return Array.from(list.group.subarray(0, list.groupCount));
}

function turn(trie: SubscriptionTrie, group: number): number {
  return trie.entrySubscriber(trie.groupNext(group));
}

describe('shared groups', () => {
  it('gives each member its turn', () => {
    const trie = smallTrie();
    for (let subscriber = 0; subscriber < 5; subscriber++) expect(join(trie, 'g/a/+', subscriber)).toBe(1);
    const [group] = groupsOf(trie, 'a/b');
    const turns = new Array<number>(5).fill(0);
    for (let i = 0; i < 1_000; i++) turns[turn(trie, group!)]!++;
    expect(turns).toEqual([200, 200, 200, 200, 200]);
  });

  it('keeps groups, their filters and plain subscriptions apart', () => {
    const trie = smallTrie();
    expect([join(trie, 'g/a', 1, 1, 11), join(trie, 'h/a', 1, 2, 12), join(trie, 'g/+', 1, 3, 13)]).toEqual([1, 1, 1]);
    expect(join(trie, 'g/a', 1, 9, 19)).toBe(0);
    const filter = Buffer.from('a');
    expect(trie.subscribe(filter, 0, 1, 1, 4, 14)).toBe(1);
    const groups = groupsOf(trie, 'a');
    expect([list.count, list.options[0], list.subscriptionId[0]]).toEqual([1, 4, 14]);
    const entries = groups.map((group) => trie.groupNext(group));
    expect(entries.map((entry) => trie.entryOptions(entry)).sort()).toEqual([2, 3, 9]);
    expect(entries.map((entry) => trie.entrySubscriptionId(entry)).sort()).toEqual([12, 13, 19]);
    expect(groups.map((group) => trie.groupMembers(group))).toEqual([1, 1, 1]);
  });

  it('is no level of a topic', () => {
    const trie = smallTrie();
    join(trie, 'g/a', 1);
    expect(groupsOf(trie, 'a/g')).toEqual([]);
    const bytes = Buffer.from('a/g');
    expect(trie.subscribe(bytes, 0, 3, 2, 0, 0)).toBe(1);
    expect(trie.nodes).toBe(3);
    expect(groupsOf(trie, 'a/g')).toEqual([]);
    expect(list.count).toBe(1);
  });

  it('walks all members once from the one whose turn it is, and from any of them', () => {
    const trie = smallTrie();
    for (let subscriber = 0; subscriber < 4; subscriber++) join(trie, 'g/a', subscriber);
    const [group] = groupsOf(trie, 'a');
    const served = trie.groupNext(group!);
    const seen: number[] = [];
    for (let entry = -1, i = 0; i < trie.groupMembers(group!); i++) {
      entry = trie.groupMemberAfter(group!, entry);
      seen.push(entry);
    }
    expect(new Set(seen).size).toBe(4);
    expect(seen[3]).toBe(served);
    expect(trie.groupNext(group!)).toBe(seen[0]);
  });

  it('finds nothing by the handle of a group that is gone', () => {
    const trie = smallTrie(2);
    join(trie, 'g/a', 1);
    const [old] = groupsOf(trie, 'a');
    expect(leave(trie, 'g/a', 1)).toBe(1);
    expect(leave(trie, 'g/a', 1)).toBe(0);
    expect([trie.groupMembers(old!), trie.groupNext(old!), trie.groupMemberAfter(old!, -1)]).toEqual([0, -1, -1]);
    join(trie, 'h/b', 2);
    expect([trie.groupMembers(old!), trie.groupNext(old!), trie.groupMembers(-1)]).toEqual([0, -1, 0]);
    expect(join(trie, 'i/b', 2)).toBe(fault(Reason.QUOTA_EXCEEDED));
    expect([trie.nodes, trie.subscriptions]).toEqual([2, 1]);
  });

  it('serves the members that were there all along within one round, whoever comes and goes', () => {
    const step = fc.oneof(
      fc.record({ join: fc.integer({ min: 0, max: 6 }) }),
      fc.record({ leave: fc.integer({ min: 0, max: 6 }) }),
      fc.record({ turns: fc.integer({ min: 1, max: 9 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const trie = smallTrie();
        join(trie, 'g/a', 99);
        const [group] = groupsOf(trie, 'a');
        const members = new Set([99]);
        for (const one of steps) {
          if ('join' in one) {
            expect(join(trie, 'g/a', one.join)).toBe(members.has(one.join) ? 0 : 1);
            members.add(one.join);
          } else if ('leave' in one) {
            expect(leave(trie, 'g/a', one.leave)).toBe(members.delete(one.leave) ? 1 : 0);
          } else {
            for (let i = 0; i < one.turns; i++) expect(members.has(turn(trie, group!))).toBe(true);
          }
          expect(trie.groupMembers(group!)).toBe(members.size);
        }
        const round = new Set(Array.from({ length: members.size }, () => turn(trie, group!)));
        expect(round).toEqual(members);
        for (const member of members) leave(trie, 'g/a', member);
        expect([trie.nodes, trie.subscriptions, trie.levelBytes]).toEqual([0, 0, 0]);
      }),
    );
  });

  it('unlinks any of many groups of one filter', () => {
    const trie = smallTrie();
    for (let at = 0; at < 50; at++) join(trie, `group-with-a-long-name-${at}/a/#`, at);
    expect(new Set(groupsOf(trie, 'a')).size).toBe(50);
    for (let at = 0; at < 50; at += 2) leave(trie, `group-with-a-long-name-${at}/a/#`, at);
    expect(
      groupsOf(trie, 'a')
        .map((group) => turn(trie, group))
        .sort((a, b) => a - b),
    ).toEqual(Array.from({ length: 25 }, (_, at) => at * 2 + 1));
    for (let at = 1; at < 50; at += 2) leave(trie, `group-with-a-long-name-${at}/a/#`, at);
    expect([trie.nodes, trie.subscriptions, trie.levelBytes]).toEqual([0, 0, 0]);
  });
});
