// Micro-benchmarks of what stands under the sessions: npm run build && node dist/bench/micro/sessions.bench.js
// Each task handles a batch; the table gives nanoseconds for one item of it.
import { Bench } from 'tinybench';
import type { Clock } from '../../engine/clock.ts';
import { Counters } from '../../engine/counters.ts';
import { Lent, type Link } from '../../engine/link.ts';
import { BlockPool } from '../../engine/memory/blocks.ts';
import { IntList } from '../../engine/memory/int-list.ts';
import { type MessageHandle, MessageSlab, NO_MESSAGE } from '../../engine/memory/messages.ts';
import { InboundAliases, OutboundAliases } from '../../engine/sessions/aliases.ts';
import { Deliveries, deliveryBits } from '../../engine/sessions/deliveries.ts';
import { DurableTail } from '../../engine/sessions/durable-tail.ts';
import { GatedAnswers } from '../../engine/sessions/gated.ts';
import { InboundIdentifiers } from '../../engine/sessions/inbound.ts';
import { Outbox } from '../../engine/sessions/outbox.ts';
import { SessionTable } from '../../engine/sessions/table.ts';
import type { Target } from '../../engine/sessions/target.ts';
import { type Duty, Turn } from '../../engine/sessions/turn.ts';
import { Timer, TimerWheel } from '../../engine/timers.ts';
import { PacketType, Reason } from '../../protocol/packet.ts';
import { MessageView, NO_BYTES } from '../../protocol/publish.ts';
import { MemoryStore } from '../../storage/memory.ts';
import type { DeliverySink } from '../../storage/store.ts';

const BATCH = 1_024;
const SESSIONS = 65_536;
const TIMERS = 100_000;

/** Everything that a task found, so that nothing is optimised away. */
let found = 0;

// A step of a full-period generator: visits are random enough to defeat the processor's caches, and the same in every run.
let state = 1;
function below(bound: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
  return (state >>> 8) % bound;
}

/** A clock that is told the time, and a turn that is ended by hand. */
class HandClock implements Clock {
  nowMs = 0;
  wake: () => void = () => {};
  monotonicMs = () => this.nowMs;
  wallMs = () => this.nowMs;
  sleep = () => Promise.resolve();
  after(_delayMs: number, wake: () => void): () => void {
    this.wake = wake;
    return () => {};
  }
  endOfTurn(): void {}
}

const bench = new Bench({ time: 400, warmupTime: 100 });
function batch(name: string, once: (at: number) => void): void {
  bench.add(name, () => {
    for (let at = 0; at < BATCH; at++) once(at);
  });
}

const target: Target = { subscriber: 1, options: 1, subscriptionIds: NO_BYTES, group: -1, ofOwn: null };
const topic = Buffer.from('building/7/floor/3/room/12/temperature');
const message = new MessageView();
message.topic = topic;
message.topicTo = topic.length;
message.payload = new Uint8Array(32).fill(1);
message.payloadTo = 32;
message.qos = 1;

const log = new Deliveries();
batch('deliveries: append, send, find and finish', () => {
  log.append(NO_MESSAGE, deliveryBits(1, 0), target);
  log.finish(log.find(log.packetId(log.send())));
});
const window = new Deliveries();
for (let at = 0; at < 100; at++) window.append(at as MessageHandle, deliveryBits(1, 0), target);
for (let at = 0; at < 100; at++) window.send();
batch('deliveries: the same, 100 in flight', () => {
  window.append(NO_MESSAGE, deliveryBits(1, 0), target);
  window.send();
  window.finish(window.find(window.packetId(0)));
});

const gated = new GatedAnswers();
batch('gated answers: push and shift, 100 waiting', (at) => {
  gated.push(at, PacketType.PUBACK, 1 + at, Reason.SUCCESS);
  if (gated.count <= 100) return;
  found += gated.packetId;
  gated.shift();
});

const tail = new DurableTail();
batch('durable tail: add a position and move on', (at) => {
  tail.added(at, at);
  if (tail.moved(at)) found++;
});

const inbound = new InboundIdentifiers();
batch('inbound identifiers: add and remove', (at) => {
  inbound.add(1 + at);
  if (inbound.remove(1 + at)) found++;
});

const names = Array.from({ length: 64 }, (_, at) => Buffer.from(`building/7/floor/3/room/${at}/temperature`));
const outbound = new OutboundAliases(64);
const aliases = new InboundAliases(64);
for (const [at, name] of names.entries()) aliases.set(1 + at, name, 0, name.length);
batch('aliases: one of 64 outbound, known', (at) => {
  const name = names[at & 63]!;
  found += outbound.use(name, 0, name.length);
});
batch('aliases: one of 64 inbound', (at) => {
  found += aliases.get(1 + (at & 63))!.length;
});

const table = new SessionTable(SESSIONS);
const handles = Array.from({ length: SESSIONS }, (_, at) => table.create(`client-${at}`)!.handle);
batch(`sessions: one of ${SESSIONS} by handle`, () => {
  if (table.at(handles[below(SESSIONS)]!) !== null) found++;
});
batch(`sessions: one of ${SESSIONS} by client identifier`, () => {
  if (table.find(`client-${below(SESSIONS)}`) !== null) found++;
});

const turn = new Turn(new HandClock());
const duties: Duty[] = Array.from({ length: BATCH }, () => ({ due: false, endTurn: () => void found++ }));
bench.add('turn: add and run a duty', () => {
  for (const duty of duties) turn.add(duty);
  turn.finish();
});

const link: Link = {
  peer: { transport: 'memory', listener: '', address: '', port: 0, secure: false, certificate: null },
  write: (_block, from, to) => {
    found += to - from;
    return Lent.RETURNED;
  },
  flush: () => Lent.RETURNED,
  unsentBytes: () => 0,
  pause: () => true,
  resume() {},
  end() {},
  destroy() {},
};
const pool = new BlockPool();
const outbox = new Outbox(link, pool, turn, new Counters());
const packet = new Uint8Array(44).fill(7);
bench.add('outbox: append 44 bytes, one write a turn', () => {
  for (let at = 0; at < BATCH; at++) outbox.append(packet, 0, packet.length);
  turn.finish();
});
const many = Array.from({ length: BATCH }, () => new Outbox(link, pool, turn, new Counters()));
bench.add('outbox: append 44 bytes, each to another one', () => {
  for (const one of many) one.append(packet, 0, packet.length);
  turn.finish();
});
batch('blocks: acquire and release a small one', () => pool.release(pool.acquire(100)));

const slab = new MessageSlab();
const seen = new MessageView();
batch('messages: add, view and release 70 bytes', () => {
  const handle = slab.add(message);
  if (slab.view(handle, seen)) found++;
  slab.release(handle);
});
const kept = Array.from({ length: SESSIONS }, () => slab.add(message));
batch(`messages: replace one of ${SESSIONS}`, () => {
  const at = below(SESSIONS);
  slab.release(kept[at]!);
  kept[at] = slab.add(message);
});

const ints = new IntList();
bench.add('int list: push', () => {
  ints.clear();
  for (let at = 0; at < BATCH; at++) ints.push(at);
  found += ints.count;
});

const clock = new HandClock();
const wheel = new TimerWheel(clock);
const timers = Array.from({ length: TIMERS }, () => new Timer(() => void found++));
for (const timer of timers) wheel.set(timer, 1_000 + below(90_000));
batch(`timers: move one of ${TIMERS}`, () => wheel.set(timers[below(TIMERS)]!, 1_000 + below(90_000)));

const store = new MemoryStore();
store.putSession(1, Uint8Array.of(1), false);
let position = 0;
batch('memory store: put, owe and drop 70 bytes', () => {
  store.addDelivery(1, position, store.putMessage(message), 1, NO_BYTES);
  store.dropDelivery(1, position++);
});
for (let at = 0; at < BATCH; at++) store.addDelivery(1, position++, store.putMessage(message), 1, NO_BYTES);
const sink: DeliverySink = {
  delivery: () => void found++,
  end() {},
};
bench.add('memory store: read a delivery', () => store.read(1, 0, BATCH, sink));

await bench.run();
for (const task of bench.tasks) {
  const { result } = task;
  if (result.state !== 'completed') throw new Error(`bench: ${task.name} did not complete`);
  console.log(`${task.name.padEnd(52)} ${((result.latency.p50 * 1e6) / BATCH).toFixed(1).padStart(8)} ns`);
}
if (found === 0) throw new Error('bench: nothing was done');
