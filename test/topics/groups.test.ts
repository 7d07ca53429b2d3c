// Shared groups: the round is fair, survives members that come and go, and a stale handle finds nothing.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SubscriptionTrie } from '../../engine/topics/trie.ts';
import { fault, Reason } from '../../protocol/packet.ts';
import { Clients } from './clients.ts';

describe.each([1, 2])('in a trie of %i participants', (participantsMax) => {
  function smallTrie(nodesMax = 256): Clients {
    return new Clients(new SubscriptionTrie({ nodesMax, subscriptionsMax: 256, participantsMax }));
  }

  /** `name` is `group/filter`, as it stands after `$share/`. */
  function join(clients: Clients, name: string, subscriber: number, options = 0, identifier = 0): number {
    return clients.subscribe(`$share/${name}`, subscriber, options, identifier);
  }

  function leave(clients: Clients, name: string, subscriber: number): number {
    return clients.unsubscribe(`$share/${name}`, subscriber);
  }

  function turn({ trie }: Clients, group: number): number {
    return trie.entrySubscriber(trie.groupNext(group));
  }

  describe('shared groups', () => {
    it('gives each member its turn', () => {
      const clients = smallTrie();
      for (let subscriber = 0; subscriber < 5; subscriber++) expect(join(clients, 'g/a/+', subscriber)).toBe(1);
      const [group] = clients.groups('a/b');
      const turns = new Array<number>(5).fill(0);
      for (let i = 0; i < 1_000; i++) turns[turn(clients, group!)]!++;
      expect(turns).toEqual([200, 200, 200, 200, 200]);
    });

    it('keeps groups, their filters and plain subscriptions apart', () => {
      const clients = smallTrie();
      expect([join(clients, 'g/a', 1, 1, 11), join(clients, 'h/a', 1, 2, 12), join(clients, 'g/+', 1, 3, 13)]).toEqual([1, 1, 1]);
      expect(join(clients, 'g/a', 1, 9, 19)).toBe(0);
      expect(clients.subscribe('a', 1, 4, 14)).toBe(1);
      const { trie, list } = clients;
      const groups = clients.groups('a');
      expect([list.count, list.options[0], list.subscriptionId[0]]).toEqual([1, 4, 14]);
      const entries = groups.map((group) => trie.groupNext(group));
      expect(entries.map((entry) => trie.entryOptions(entry)).sort()).toEqual([2, 3, 9]);
      expect(entries.map((entry) => trie.entrySubscriptionId(entry)).sort()).toEqual([12, 13, 19]);
      expect(groups.map((group) => trie.groupMembers(group))).toEqual([1, 1, 1]);
    });

    it('is no level of a topic', () => {
      const clients = smallTrie();
      join(clients, 'g/a', 1);
      expect(clients.groups('a/g')).toEqual([]);
      expect(clients.subscribe('a/g', 2)).toBe(1);
      expect(clients.trie.nodes).toBe(3);
      expect(clients.groups('a/g')).toEqual([]);
      expect(clients.list.count).toBe(1);
    });

    it('walks all members once from the one whose turn it is, and from any of them', () => {
      const clients = smallTrie();
      for (let subscriber = 0; subscriber < 4; subscriber++) join(clients, 'g/a', subscriber);
      const [group] = clients.groups('a');
      const { trie } = clients;
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
      const clients = smallTrie(2);
      join(clients, 'g/a', 1);
      const [old] = clients.groups('a');
      const { trie } = clients;
      expect(leave(clients, 'g/a', 1)).toBe(1);
      expect(leave(clients, 'g/a', 1)).toBe(0);
      expect([trie.groupMembers(old!), trie.groupNext(old!), trie.groupMemberAfter(old!, -1)]).toEqual([0, -1, -1]);
      join(clients, 'h/b', 2);
      expect([trie.groupMembers(old!), trie.groupNext(old!), trie.groupMembers(-1)]).toEqual([0, -1, 0]);
      expect(join(clients, 'i/b', 2)).toBe(fault(Reason.QUOTA_EXCEEDED));
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
          const clients = smallTrie();
          join(clients, 'g/a', 99);
          const [group] = clients.groups('a');
          const members = new Set([99]);
          for (const one of steps) {
            if ('join' in one) {
              expect(join(clients, 'g/a', one.join)).toBe(members.has(one.join) ? 0 : 1);
              members.add(one.join);
            } else if ('leave' in one) {
              expect(leave(clients, 'g/a', one.leave)).toBe(members.delete(one.leave) ? 1 : 0);
            } else {
              for (let i = 0; i < one.turns; i++) expect(members.has(turn(clients, group!))).toBe(true);
            }
            expect(clients.trie.groupMembers(group!)).toBe(members.size);
          }
          const round = new Set(Array.from({ length: members.size }, () => turn(clients, group!)));
          expect(round).toEqual(members);
          for (const member of members) leave(clients, 'g/a', member);
          expect([clients.trie.nodes, clients.trie.subscriptions, clients.trie.levelBytes]).toEqual([0, 0, 0]);
        }),
      );
    });

    it('unlinks any of many groups of one filter', () => {
      const clients = smallTrie();
      for (let at = 0; at < 50; at++) join(clients, `group-with-a-long-name-${at}/a/#`, at);
      expect(new Set(clients.groups('a')).size).toBe(50);
      for (let at = 0; at < 50; at += 2) leave(clients, `group-with-a-long-name-${at}/a/#`, at);
      expect(
        clients
          .groups('a')
          .map((group) => turn(clients, group))
          .sort((a, b) => a - b),
      ).toEqual(Array.from({ length: 25 }, (_, at) => at * 2 + 1));
      for (let at = 1; at < 50; at += 2) leave(clients, `group-with-a-long-name-${at}/a/#`, at);
      expect([clients.trie.nodes, clients.trie.subscriptions, clients.trie.levelBytes]).toEqual([0, 0, 0]);
    });
  });
});
