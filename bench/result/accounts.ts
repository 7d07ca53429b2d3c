// The account of a run: what every publisher sent, what every subscriber was owed for it, and what became of each single delivery.

import type { PublisherAccount, SubscriberAccount } from '../raw/account.ts';
import { type CoverageParts, unite } from '../raw/coverage-union.ts';
import type { Outcome } from '../run.ts';

export interface PublisherRow {
  readonly clientId: string;
  readonly sent: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unacknowledged: number;
}

/** How deliveries can go wrong. */
export interface Wrongs {
  readonly lost: number;
  readonly duplicated: number;
  /** Duplicates that QoS 1 allows, after a lost connection. */
  readonly redelivered: number;
  readonly outOfOrder: number;
  /** Payload or topic not as sent; what arrives corrupt is lost too. */
  readonly corrupt: number;
  /** Delivered to a subscriber whose filter does not match. */
  readonly misdelivered: number;
}

export interface SubscriberRow extends Wrongs {
  readonly clientId: string;
  readonly filter: string;
  /** Deliveries that the publishers' messages come to; null for a member of a shared subscription, and where they are not of this run. */
  readonly owed: number | null;
  readonly received: number;
  readonly foreign: number;
}

export interface ShareRow {
  readonly filter: string;
  readonly owed: number;
  readonly lost: number;
  readonly duplicated: number;
}

export interface Account extends Wrongs {
  readonly sent: number;
  readonly acknowledged: number;
  readonly refused: number;
  readonly unacknowledged: number;
  readonly owed: number;
  readonly received: number;
  /** Messages that are none of this run. */
  readonly foreign: number;
  readonly connectionsLost: number;
  /** Sessions that the broker had forgotten when their clients came back. */
  readonly sessionsLost: number;
  /** Connections that could not be made (conn), or not be made again. */
  readonly failed: number;
  /** How often a publisher waited for a second in vain for what it had sent. */
  readonly stalls: number;
  readonly publishers: readonly PublisherRow[];
  readonly subscribers: readonly SubscriberRow[];
  readonly shares: readonly ShareRow[];
  /** What went wrong with connections, by message, with how often. */
  readonly troubles: Readonly<Record<string, number>>;
}

export function settleAccounts(outcome: Outcome): Account {
  const { plan, roster, accounts } = outcome;
  const publishers = accounts.flatMap((own) => own.publishers).toSorted((a, b) => a.index - b.index);
  const subscribers = accounts.flatMap((own) => own.subscribers).toSorted((a, b) => a.index - b.index);
  const sentOf = sentPerStream(outcome, publishers);
  const subscriberRows = subscribers.map((own) => subscriberRow(outcome, own, sentOf));
  const shares = roster.shares.map((_, share) => shareRow(outcome, share, sentOf));
  const sum = <Row>(rows: readonly Row[], figure: (row: Row) => number): number =>
    rows.reduce((all, row) => all + figure(row), 0);
  const ofRows = (key: keyof Wrongs): number => sum(subscriberRows, (row) => row[key]);
  const troubles = new Map<string, number>();
  for (const own of accounts)
    for (const [message, count] of own.troubles) troubles.set(message, (troubles.get(message) ?? 0) + count);
  const connections = roster.idle.length;
  return {
    sent: sum(publishers, ({ sent }) => sent),
    acknowledged: sum(publishers, ({ acknowledged }) => acknowledged),
    refused: sum(publishers, ({ refused }) => refused),
    unacknowledged: sum(publishers, ({ unacknowledged }) => unacknowledged),
    owed: plan.closed ? sum(subscriberRows, ({ owed }) => owed ?? 0) + sum(shares, ({ owed }) => owed) : 0,
    received: sum(subscribers, ({ received }) => received),
    lost: ofRows('lost') + sum(shares, ({ lost }) => lost),
    duplicated: ofRows('duplicated') + sum(shares, ({ duplicated }) => duplicated),
    redelivered: ofRows('redelivered'),
    outOfOrder: ofRows('outOfOrder'),
    corrupt: ofRows('corrupt'),
    misdelivered: ofRows('misdelivered'),
    foreign: sum(subscribers, ({ foreign }) => foreign),
    connectionsLost: sum(accounts, ({ connectionsLost }) => connectionsLost),
    sessionsLost: sum(subscribers, ({ sessionsLost }) => sessionsLost),
    failed: connections === 0 ? 0 : connections - outcome.stages[0]!.stage.connects.count,
    stalls: sum(publishers, ({ stalls }) => stalls),
    publishers: publishers.map(({ index, sent, acknowledged, refused, unacknowledged }) => {
      const { clientId } = roster.publishers[index]!;
      return { clientId, sent, acknowledged, refused, unacknowledged };
    }),
    subscribers: subscriberRows,
    shares,
    troubles: Object.fromEntries(troubles),
  };
}

/** Of each stream, messages that were sent and not refused. */
function sentPerStream({ roster }: Outcome, publishers: readonly PublisherAccount[]): Float64Array {
  const sentOf = new Float64Array(roster.topics.length);
  for (const own of publishers) {
    const { firstStream } = roster.publishers[own.index]!;
    own.sentOf.forEach((sent, i) => {
      sentOf[firstStream + i] = sent - own.refusedOf[i]!;
    });
  }
  return sentOf;
}

function subscriberRow({ plan, roster }: Outcome, own: SubscriberAccount, sentOf: Float64Array): SubscriberRow {
  const { clientId, filter, streams, share } = roster.subscribers[own.index]!;
  const { received, duplicated, redelivered, outOfOrder, corrupt, misdelivered, foreign, distinctOf } = own;
  let owed: number | null = null;
  let lost = own.gaps;
  if (share >= 0) lost = 0;
  else if (plan.closed) {
    owed = 0;
    lost = 0;
    for (let place = 0; place < streams.length; place++) {
      const sent = sentOf[streams[place]!]!;
      owed += sent;
      lost += Math.max(0, sent - distinctOf[place]!);
    }
  }
  return { clientId, filter, owed, received, lost, duplicated, redelivered, outOfOrder, corrupt, misdelivered, foreign };
}

function shareRow({ roster, accounts }: Outcome, share: number, sentOf: Float64Array): ShareRow {
  const { streams, filter } = roster.shares[share]!;
  const own = accounts.flatMap(({ shares }) => shares.filter((candidate) => candidate.share === share));
  let owed = 0;
  let lost = 0;
  let duplicated = 0;
  streams.forEach((stream, place) => {
    const parts: CoverageParts[] = own.map(({ partsOf }) => partsOf[place]!);
    const { distinct, twice } = unite(parts);
    const sent = sentOf[stream]!;
    owed += sent;
    lost += Math.max(0, sent - distinct);
    duplicated += twice;
  });
  return { filter, owed, lost, duplicated };
}
