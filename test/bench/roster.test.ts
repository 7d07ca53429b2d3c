// Who is to receive what, from plan to roster: filters against the naive matcher, what each message is owed, and how far a publisher knows
// its audiences to be.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { localPlan, publisherGroup, subscriberGroup } from '../../bench/plan/local-plan.ts';
import { makePlan } from '../../bench/plan/planner.ts';
import { makeRoster } from '../../bench/plan/roster.ts';
import { scenarios } from '../../bench/plan/scenarios.ts';
import { check } from '../check.ts';
import { naiveMatch, topicFilters, topicNames } from '../topics/naive.ts';

test('a subscriber receives the streams whose topics its filter matches', () =>
  check(
    fc.property(
      fc.array(topicNames, { minLength: 1, maxLength: 12 }),
      fc.array(topicFilters, { minLength: 1, maxLength: 6 }),
      (topics, filters) => {
        const roster = makeRoster(
          localPlan({
            port: 1,
            publishers: topics.map((topic) => publisherGroup({ topic: topic.replaceAll('%', '') })),
            subscribers: filters.map((filter) => subscriberGroup({ filter })),
          }),
        );
        filters.forEach((filter, i) => {
          const expected = topics.flatMap((topic, stream) => (naiveMatch(filter, topic) ? [stream] : []));
          expect([...roster.subscribers[i]!.streams]).toEqual(expected);
        });
        topics.forEach((topic, stream) => {
          expect(roster.audienceOf[stream]).toBe(filters.filter((filter) => naiveMatch(filter, topic)).length);
        });
      },
    ),
    300,
  ));

test('patterns: numbers, client ids, user names and topics count from the start number', () => {
  const roster = makeRoster(
    localPlan({
      port: 1,
      broker: { userName: 'user-%i' },
      clients: { prefix: 'load', firstNumber: 7 },
      publishers: [publisherGroup({ count: 2, topic: '%u/%c/%i/%t', topics: 2 })],
      subscribers: [subscriberGroup({ count: 2, filter: 'user-%i/+/%i/#' })],
    }),
  );
  expect(roster.publishers.map(({ clientId, userName }) => [clientId, userName])).toEqual([
    ['load-pub-7', 'user-7'],
    ['load-pub-8', 'user-8'],
  ]);
  expect(roster.topics).toEqual([
    'user-7/load-pub-7/7/7',
    'user-7/load-pub-7/7/8',
    'user-8/load-pub-8/8/7',
    'user-8/load-pub-8/8/8',
  ]);
  expect(roster.subscribers.map(({ streams }) => [...streams])).toEqual([
    [0, 1],
    [2, 3],
  ]);
});

describe('audiences', () => {
  test('each subscriber has a place of its own for each publisher, and the publisher knows how much of it it gets', () => {
    const { publishers, subscribers, slots } = makeRoster(
      localPlan({
        port: 1,
        publishers: [publisherGroup({ count: 2, topic: 'site/%i/%t', topics: 4 })],
        subscribers: [
          subscriberGroup({ filter: 'site/#' }),
          subscriberGroup({ filter: 'site/+/2' }),
          subscriberGroup({ filter: 'site/1/+' }),
          subscriberGroup({ filter: 'elsewhere' }),
        ],
      }),
    );
    expect(slots).toBe(5);
    const places = subscribers.flatMap((seat) => [...new Set(seat.slots)]);
    expect(new Set(places).size).toBe(5);
    expect(publishers[0]!.audiences.map(({ reach }) => [...reach])).toEqual([
      [0, 1, 2, 3, 4],
      [0, 0, 0, 1, 1],
    ]);
    expect(publishers[1]!.audiences.map(({ reach }) => [...reach])).toEqual([
      [0, 1, 2, 3, 4],
      [0, 0, 0, 1, 1],
      [0, 1, 2, 3, 4],
    ]);
  });

  test('a shared subscription is one audience, with a place for each thread that has a member', () => {
    const { publishers, subscribers, audienceOf, shares } = makeRoster(
      localPlan({
        port: 1,
        threads: 3,
        publishers: [publisherGroup({ topic: 'a' })],
        subscribers: [subscriberGroup({ count: 7, filter: 'a', shared: 'group' }), subscriberGroup({ filter: '+' })],
      }),
    );
    expect([...audienceOf]).toEqual([2]);
    expect(shares).toMatchObject([{ filter: '$share/group/a' }]);
    expect(publishers[0]!.audiences).toHaveLength(2);
    expect(publishers[0]!.audiences[0]!.slots).toHaveLength(3);
    for (const { index, slots, share } of subscribers.slice(0, 7)) {
      expect(share).toBe(0);
      expect(slots[0]).toBe(publishers[0]!.audiences[0]!.slots[index % 3]);
    }
  });

  test('nobody waits for who is away, nor in an open loop', () => {
    const { slots, audienceOf } = makeRoster(
      localPlan({
        port: 1,
        publishers: [publisherGroup({ topic: 'open', rate: 10 }), publisherGroup({ topic: 'closed' })],
        subscribers: [subscriberGroup({ filter: 'open' }), subscriberGroup({ filter: 'closed', away: true })],
      }),
    );
    expect(slots).toBe(0);
    expect([...audienceOf]).toEqual([1, 1]);
  });
});

describe('scenarios', () => {
  const named = Object.keys(scenarios).filter((name) => name !== 'custom');

  test.each(named)('%s: every subscriber has something to receive, and every message a receiver', (scenario) => {
    const roster = makeRoster(makePlan({ scenario, startNumber: 5 }));
    expect(roster.subscribers.filter(({ streams }) => streams.length === 0)).toEqual([]);
    expect([...roster.audienceOf].filter((count) => count === 0)).toEqual([]);
  });

  test('numbers are those of the scenario', () => {
    const count = (settings: Parameters<typeof makePlan>[0]) => {
      const { publishers, subscribers, topics } = makeRoster(makePlan(settings));
      return [publishers.length, subscribers.length, topics.length];
    };
    expect(count({ scenario: 'point-to-point', clients: 7 })).toEqual([7, 7, 7]);
    expect(count({ scenario: 'fan-in', clients: 7, subscribers: 2 })).toEqual([7, 2, 7]);
    expect(count({ scenario: 'fan-out', clients: 7, topics: 3 })).toEqual([1, 7, 3]);
    expect(count({ scenario: 'shared', clients: 7, publishers: 2 })).toEqual([2, 7, 2]);
    expect(count({ scenario: 'persistent', clients: 7 })).toEqual([7, 7, 7]);
    expect(count({ scenario: 'reconnect-storm', clients: 7 })).toEqual([1, 7, 7]);
    expect(count({ scenario: 'wildcards', clients: 7, publishers: 2, topics: 5 })).toEqual([2, 7, 10]);
  });
});

test('a subscriber with several filters receives what any of them matches, and is shown by their pattern', () => {
  const { subscribers, audienceOf } = makeRoster(
    localPlan({
      publishers: [publisherGroup({ count: 2, topic: 'site/%i/%t', topics: 4 })],
      subscribers: [
        subscriberGroup({ count: 2, filter: 'site/%i/%t', filters: 3 }),
        subscriberGroup({ filter: '+/1/%t/#', filters: 2 }),
      ],
    }),
  );
  expect(subscribers.map(({ filter, filters, streams }) => [filter, filters, [...streams]])).toEqual([
    ['site/0/%t', ['site/0/0', 'site/0/1', 'site/0/2'], [0, 1, 2]],
    ['site/1/%t', ['site/1/0', 'site/1/1', 'site/1/2'], [4, 5, 6]],
    ['+/1/%t/#', ['+/1/0/#', '+/1/1/#'], [4, 5]],
  ]);
  expect([...audienceOf]).toEqual([1, 1, 1, 0, 2, 2, 1, 0]);
});
