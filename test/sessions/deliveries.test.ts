// The log of deliveries against a list of entries by position, through random histories and around the end of the packet identifiers.
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { type MessageHandle, NO_MESSAGE } from '../../engine/memory/messages.ts';
import { Deliveries, DeliveryState, deliveryBits } from '../../engine/sessions/deliveries.ts';
import { targetFor } from '../../engine/sessions/target.ts';
import { agree, check } from '../check.ts';

const PACKET_IDENTIFIERS = 65_535;
const SPAN_MAX = 32_768;
const NO_IDS = new Uint8Array(0);
const target = targetFor(1, 0, NO_IDS);

interface Entry {
  readonly position: number;
  readonly qos: number;
  readonly retain: number;
  message: number;
  state: DeliveryState;
  wasSent: boolean;
  isGone: boolean;
}

/** The same in a list: everything from the first position on, and a cursor. */
class NaiveLog {
  readonly entries: Entry[] = [];
  start: number;
  sent: number;

  constructor(start: number) {
    this.start = start;
    this.sent = start;
  }

  get end(): number {
    return this.start + this.entries.length;
  }

  get base(): number {
    return this.entries.find(({ state }) => state !== DeliveryState.DONE)?.position ?? this.end;
  }

  get cursor(): number {
    return Math.max(this.sent, this.base);
  }

  get open(): Entry[] {
    return this.entries.slice(this.base - this.start);
  }

  get inflight(): number {
    return this.open.filter(({ position, state }) => position < this.cursor && state !== DeliveryState.DONE).length;
  }

  append(message: number, qos: number, retain: number, state: DeliveryState): void {
    this.entries.push({ position: this.end, qos, retain, message, state, wasSent: false, isGone: false });
  }

  at(position: number): Entry {
    return this.entries[position - this.start]!;
  }
}

function compare(log: Deliveries, naive: NaiveLog): void {
  const { base, cursor } = naive;
  agree([log.base, log.count, log.sent, log.inflight], [base, naive.end - base, cursor - base, naive.inflight]);
  for (const [offset, entry] of naive.open.entries()) {
    const packetId = (entry.position % PACKET_IDENTIFIERS) + 1;
    const isDone = entry.state === DeliveryState.DONE;
    agree([log.packetId(offset), log.state(offset), log.message(offset)], [packetId, entry.state, isDone ? -1 : entry.message]);
    agree(log.find(packetId), entry.position < cursor && !isDone ? offset : -1);
    if (isDone) continue;
    agree(
      [log.qos(offset), log.retain(offset), log.wasSent(offset), log.isGone(offset), log.target(offset)],
      [entry.qos, entry.retain, entry.wasSent, entry.isGone, target],
    );
  }
}

const step = fc.record({
  do: fc.constantFrom(
    'append',
    'append',
    'append',
    'skip',
    'send',
    'send',
    'send',
    'receive',
    'finish',
    'finish',
    'rewind',
    'take',
    'mark',
  ),
  at: fc.nat(1_000),
  qos: fc.constantFrom(1, 2),
  retain: fc.nat(1),
});

/** Does one step to both, where it may be done. */
function play(
  log: Deliveries,
  naive: NaiveLog,
  { do: kind, at, qos, retain }: typeof step extends fc.Arbitrary<infer T> ? T : never,
): void {
  const open = naive.open.filter(({ state }) => state !== DeliveryState.DONE);
  const chosen = open.length === 0 ? null : open[at % open.length]!;
  const quota = 1 + (at % 7);
  if (kind === 'append') {
    naive.append(at, qos, retain, DeliveryState.QUEUED);
    agree(log.append(at as MessageHandle, deliveryBits(qos, retain), target), naive.end - naive.base - 1);
  } else if (kind === 'skip') {
    naive.append(-1, 0, 0, DeliveryState.DONE);
    log.skip();
  } else if (kind === 'rewind') {
    naive.sent = naive.base;
    log.rewind();
  } else if (kind === 'send') {
    sendOne(log, naive, quota);
  } else if (chosen === null) {
    return;
  } else if (kind === 'finish') {
    chosen.state = DeliveryState.DONE;
    log.finish(chosen.position - log.base);
    naive.sent = naive.cursor;
  } else if (kind === 'receive') {
    agree(log.setReceived(chosen.position - log.base), chosen.message);
    chosen.state = DeliveryState.AWAIT_COMP;
    chosen.message = -1;
  } else if (kind === 'take') {
    agree(log.takeMessage(chosen.position - log.base), chosen.message);
    chosen.message = -1;
  } else {
    chosen.isGone = true;
    chosen.wasSent = true;
    log.setGone(chosen.position - log.base);
    log.setSent(chosen.position - log.base);
  }
}

/** What the pump does with the delivery at the cursor. */
function sendOne(log: Deliveries, naive: NaiveLog, quota: number): void {
  const { cursor, end, inflight } = naive;
  agree(log.canSend(quota), cursor < end && inflight < quota);
  agree(log.canAppendSent(quota), cursor === end && inflight < quota);
  if (cursor === end) return;
  const next = naive.at(cursor);
  if (next.state === DeliveryState.DONE || next.state === DeliveryState.AWAIT_COMP) {
    log.pass();
  } else {
    if (inflight >= quota) return;
    agree(log.send(), cursor - naive.base);
    next.state = DeliveryState.AWAIT_ACK;
    next.wasSent = true;
  }
  naive.sent = cursor + 1;
}

describe('the log of deliveries', () => {
  test('is what a list of entries is, wherever it starts', () =>
    check(
      fc.property(
        fc.constantFrom(0, 65_520, 65_534, 65_535, 131_060, 4_000_000_000),
        fc.array(step, { maxLength: 150, size: 'max' }),
        (start, steps) => {
          const log = new Deliveries();
          log.reset(start);
          const naive = new NaiveLog(start);
          for (const one of steps) {
            play(log, naive, one);
            compare(log, naive);
          }
        },
      ),
      300,
    ));

  test('opens no more positions than identifiers can tell apart', () => {
    const log = new Deliveries();
    log.reset(65_000);
    for (let at = 0; at < SPAN_MAX + 10; at++) log.append(NO_MESSAGE, deliveryBits(1, 0), target);
    const seen = new Set<number>();
    while (log.canSend(Number.MAX_SAFE_INTEGER)) seen.add(log.packetId(log.send()));
    agree(seen.size, SPAN_MAX);
    agree([log.sent, log.inflight, Math.min(...seen), Math.max(...seen)], [SPAN_MAX, SPAN_MAX, 1, PACKET_IDENTIFIERS]);
    for (const packetId of seen) agree(log.packetId(log.find(packetId)), packetId);
    log.finish(0);
    agree(log.canSend(Number.MAX_SAFE_INTEGER), true);
  });

  test('an acknowledgement for a finished delivery finds nothing, out of order too', () => {
    const log = new Deliveries();
    for (let at = 0; at < 4; at++) log.append(at as MessageHandle, deliveryBits(1, 0), target);
    for (let at = 0; at < 3; at++) log.send();
    log.finish(log.find(2));
    agree([log.find(2), log.find(4), log.find(65_535), log.base, log.inflight], [-1, -1, -1, 0, 2]);
    log.finish(log.find(1));
    agree([log.find(1), log.base, log.count, log.sent, log.inflight], [-1, 2, 2, 1, 1]);
  });
});
