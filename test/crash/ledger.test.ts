// The judge of the crash test can say no: each thing that a broker may do wrong is found, and a broker that does none of it passes.
import { expect, test } from 'vitest';
import { Ledger } from './ledger.ts';

/** A session that is owed two messages of each QoS, sent once and acknowledged. */
function twoEach(): Ledger {
  const ledger = new Ledger();
  ledger.chapter = 'here';
  ledger.subscribed('s', 'all/', 2);
  for (const qos of [1, 2] as const) {
    const stream = ledger.stream(`all/p/${qos}`, qos);
    for (const number of [0, 1]) {
      ledger.sent(stream, number);
      ledger.acknowledged(stream, number);
    }
  }
  return ledger;
}

/** Packet identifiers count from 1 for QoS 1 and from 11 for QoS 2, so that the same delivery comes under the same one. */
function arrive(ledger: Ledger, qos: number, number: number, dup = false): void {
  ledger.arrived({ session: 's', topic: `all/p/${qos}`, number, qos, dup, packetId: (qos - 1) * 10 + number + 1 });
}

function arriveAll(ledger: Ledger): void {
  for (const qos of [1, 2]) for (const number of [0, 1]) arrive(ledger, qos, number);
}

function judged(ledger: Ledger): readonly string[] {
  ledger.judgeEnd();
  return ledger.violations;
}

test('a broker that keeps its promises passes', () => {
  const ledger = twoEach();
  expect(ledger.outstanding('s')).toBe(4);
  arriveAll(ledger);
  arrive(ledger, 1, 1, true);
  expect(ledger.outstanding('s')).toBe(0);
  expect(judged(ledger)).toEqual([]);
});

test('a publisher that sends again may bring a second copy at QoS 1', () => {
  const ledger = twoEach();
  arriveAll(ledger);
  ledger.sent(ledger.stream('all/p/1', 1), 1);
  arrive(ledger, 1, 1);
  expect(judged(ledger)).toEqual([]);
});

test('a message that never came is missed', () => {
  const ledger = twoEach();
  arrive(ledger, 1, 0);
  arrive(ledger, 2, 0);
  arrive(ledger, 2, 1);
  expect(judged(ledger)).toEqual(['here: s misses 1 of 2 in all/p/1 (QoS 1), 1 acknowledged: 1']);
});

test('a QoS 2 message that comes twice is found, with DUP or without', () => {
  const ledger = twoEach();
  arriveAll(ledger);
  arrive(ledger, 2, 1, true);
  expect(judged(ledger)).toEqual(['here: all/p/2 number 1 for s (DUP) came 2 times, sent 1 times']);
});

test('a repetition without DUP is found', () => {
  const ledger = twoEach();
  arriveAll(ledger);
  arrive(ledger, 1, 0);
  expect(judged(ledger)).toEqual(['here: all/p/1 number 0 for s came 2 times without DUP, sent 1 times']);
});

test('a message that comes before an older one is found', () => {
  const ledger = twoEach();
  arrive(ledger, 1, 1);
  arrive(ledger, 1, 0);
  arrive(ledger, 2, 0);
  arrive(ledger, 2, 1);
  expect(judged(ledger)).toEqual(['here: all/p/1 number 0 for s came after 1']);
});

test('a delivery that was settled and comes back is found; one whose acknowledgement may be lost is not', () => {
  const ledger = twoEach();
  arriveAll(ledger);
  ledger.consumed('s', 'all/p/1', 0, 1);
  ledger.settling('s')();
  ledger.consumed('s', 'all/p/1', 1, 2);
  ledger.lineLost('s');
  ledger.settling('s')();
  arrive(ledger, 1, 0, true);
  arrive(ledger, 1, 1, true);
  expect(judged(ledger)).toEqual(['here: all/p/1 number 0 for s (DUP) came back after it was forgotten']);
});

test('what was never published, and a wrong QoS, are found', () => {
  const ledger = twoEach();
  arriveAll(ledger);
  arrive(ledger, 1, 7);
  ledger.sent(ledger.stream('all/p/1', 1), 2);
  ledger.arrived({ session: 's', topic: 'all/p/1', number: 2, qos: 2, dup: false, packetId: 3 });
  expect(judged(ledger)).toEqual([
    'here: all/p/1 number 7 for s was never published',
    'here: all/p/1 number 2 for s has QoS 2 instead of 1',
  ]);
});

test('a session that came later is owed what was published since, and one that has ended nothing', () => {
  const ledger = twoEach();
  arriveAll(ledger);
  ledger.subscribed('late', 'all/', 1);
  ledger.subscribed('gone', 'all/', 1);
  ledger.ended('gone');
  ledger.sent(ledger.stream('all/p/2', 2), 2);
  arrive(ledger, 2, 2);
  expect(judged(ledger)).toEqual(['here: late misses 1 of 3 in all/p/2 (QoS 2), 0 acknowledged: 2']);
});
