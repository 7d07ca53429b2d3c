// Micro-benchmarks of what stands under the sessions: deliveries in flight, answers that wait, aliases, outboxes, messages, timers.
import { Counters } from '../../engine/counters.ts';
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
import { targetFor } from '../../engine/sessions/target.ts';
import { type Duty, Turn } from '../../engine/sessions/turn.ts';
import { Timer, TimerWheel } from '../../engine/timers.ts';
import { PacketType, Reason } from '../../protocol/packet.ts';
import { MessageView, NO_BYTES } from '../../protocol/publish.ts';
import { MemoryStore } from '../../storage/memory.ts';
import type { DeliverySink } from '../../storage/store.ts';
import { Dice, HandClock, NoLink } from './stand-ins.ts';
import { Nature, type Suite, Tasks } from './suite.ts';

const BATCH = 1_024;
const SESSIONS = 65_536;
const TIMERS = 100_000;

/** Everything that a task found, so that nothing is optimised away. */
let found = 0;

export const sessionsSuite: Suite = { key: 'sessions', build };

function build(): Tasks {
  const tasks = new Tasks('sessions');
  const message = new MessageView();
  const topic = Buffer.from('building/7/floor/3/room/12/temperature');
  message.topic = topic;
  message.topicTo = topic.length;
  message.payload = new Uint8Array(32).fill(1);
  message.payloadTo = 32;
  message.qos = 1;
  addDeliveries(tasks);
  addIdentifiers(tasks);
  addTables(tasks);
  addOutboxes(tasks);
  addMessages(tasks, message);
  addTimers(tasks);
  addStore(tasks, message);
  tasks.end = () => {
    if (found === 0) throw new Error('bench: nothing was done');
  };
  return tasks;
}

function addDeliveries(tasks: Tasks): void {
  const target = targetFor(1, 1, NO_BYTES);
  const log = new Deliveries();
  tasks.each('inflight', 'deliveries: append, send, find and finish', () => {
    log.append(NO_MESSAGE, deliveryBits(1, 0), target);
    log.finish(log.find(log.packetId(log.send())));
  });
  const window = new Deliveries();
  for (let at = 0; at < 100; at++) window.append(at as MessageHandle, deliveryBits(1, 0), target);
  for (let at = 0; at < 100; at++) window.send();
  tasks.each('inflight-100', 'deliveries: the same, 100 in flight', () => {
    window.append(NO_MESSAGE, deliveryBits(1, 0), target);
    window.send();
    window.finish(window.find(window.packetId(0)));
  });
  const gated = new GatedAnswers();
  tasks.each('gated', 'gated answers: push and shift, 100 waiting', (at) => {
    gated.push(at, PacketType.PUBACK, 1 + at, Reason.SUCCESS);
    if (gated.count <= 100) return;
    found += gated.packetId;
    gated.shift();
  });
  const tail = new DurableTail();
  tasks.each('durable-tail', 'durable tail: add a position and move on', (at) => {
    tail.added(at, at);
    if (tail.moved(at)) found++;
  });
}

function addIdentifiers(tasks: Tasks): void {
  const inbound = new InboundIdentifiers();
  tasks.each('inbound', 'inbound identifiers: add and remove', (at) => {
    inbound.add(1 + at);
    if (inbound.remove(1 + at)) found++;
  });
  const names = Array.from({ length: 64 }, (_, at) => Buffer.from(`building/7/floor/3/room/${at}/temperature`));
  const outbound = new OutboundAliases(64);
  const aliases = new InboundAliases(64);
  for (const [at, name] of names.entries()) aliases.set(1 + at, name, 0, name.length);
  tasks.each('alias-out', 'aliases: one of 64 outbound, known', (at) => {
    const name = names[at & 63]!;
    found += outbound.use(name, 0, name.length);
  });
  tasks.each('alias-in', 'aliases: one of 64 inbound', (at) => {
    found += aliases.get(1 + (at & 63))!.length;
  });
}

function addTables(tasks: Tasks): void {
  const dice = new Dice();
  const table = new SessionTable(SESSIONS);
  const names = Array.from({ length: SESSIONS }, (_, at) => `client-${at}`);
  const handles = names.map((name) => table.create(name)!.handle);
  tasks.each(
    'by-handle',
    `sessions: one of ${SESSIONS} by handle`,
    () => {
      if (table.at(handles[dice.below(SESSIONS)]!) !== null) found++;
    },
    Nature.MEMORY,
  );
  tasks.each(
    'by-client-id',
    `sessions: one of ${SESSIONS} by client identifier`,
    () => {
      if (table.find(names[dice.below(SESSIONS)]!) !== null) found++;
    },
    Nature.MEMORY,
  );
}

function addOutboxes(tasks: Tasks): void {
  const turn = new Turn(new HandClock());
  const duties: Duty[] = Array.from({ length: BATCH }, () => ({ due: false, endTurn: () => void found++ }));
  tasks.add('turn', 'turn: add and run a duty', BATCH, () => {
    for (const duty of duties) turn.add(duty);
    turn.finish();
  });
  const pool = new BlockPool();
  const link = new NoLink();
  const outbox = new Outbox(link, pool, turn, new Counters());
  const packet = new Uint8Array(44).fill(7);
  tasks.add('outbox', 'outbox: append 44 bytes, one write a turn', BATCH, () => {
    for (let at = 0; at < BATCH; at++) outbox.append(packet, 0, packet.length);
    turn.finish();
  });
  const many = Array.from({ length: BATCH }, () => new Outbox(link, pool, turn, new Counters()));
  tasks.add('outbox-each', 'outbox: append 44 bytes, each to another one', BATCH, () => {
    for (const one of many) one.append(packet, 0, packet.length);
    turn.finish();
  });
  tasks.each('blocks', 'blocks: acquire and release a small one', () => pool.release(pool.acquire(100)));
}

function addMessages(tasks: Tasks, message: MessageView): void {
  const dice = new Dice();
  const slab = new MessageSlab();
  const seen = new MessageView();
  tasks.each('messages', 'messages: add, view and release 70 bytes', () => {
    const handle = slab.add(message);
    if (slab.view(handle, seen)) found++;
    slab.release(handle);
  });
  const kept = Array.from({ length: SESSIONS }, () => slab.add(message));
  tasks.each(
    'messages-many',
    `messages: replace one of ${SESSIONS}`,
    () => {
      const at = dice.below(SESSIONS);
      slab.release(kept[at]!);
      kept[at] = slab.add(message);
    },
    Nature.MEMORY,
  );
  const ints = new IntList();
  const push = (): void => {
    ints.clear();
    for (let at = 0; at < BATCH; at++) ints.push(at);
    found += ints.count;
  };
  // V8 makes one of two things of so short a loop.
  tasks.add('int-list', 'int list: push', BATCH, push, { isFar: false, tolerance: 1 });
}

function addTimers(tasks: Tasks): void {
  const dice = new Dice();
  const wheel = new TimerWheel(new HandClock());
  const timers = Array.from({ length: TIMERS }, () => new Timer(() => void found++));
  for (const timer of timers) wheel.set(timer, 1_000 + dice.below(90_000));
  tasks.each(
    'timers',
    `timers: move one of ${TIMERS}`,
    () => wheel.set(timers[dice.below(TIMERS)]!, 1_000 + dice.below(90_000)),
    Nature.MEMORY,
  );
}

function addStore(tasks: Tasks, message: MessageView): void {
  const store = new MemoryStore();
  store.putSession(1, Uint8Array.of(1), false);
  let position = 0;
  tasks.each('memory-store', 'memory store: put, owe and drop 70 bytes', () => {
    store.addDelivery(1, position, store.putMessage(message), 1, NO_BYTES);
    store.dropDelivery(1, position++);
  });
  const full = new MemoryStore();
  full.putSession(1, Uint8Array.of(1), false);
  for (let at = 0; at < BATCH; at++) full.addDelivery(1, at, full.putMessage(message), 1, NO_BYTES);
  const sink: DeliverySink = {
    delivery: () => void found++,
    end() {},
  };
  tasks.add('memory-read', 'memory store: read a delivery', BATCH, () => full.read(1, 0, BATCH, sink));
}
