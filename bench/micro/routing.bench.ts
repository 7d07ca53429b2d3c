// Micro-benchmarks of engine/routing as a whole: packets in at one end, bytes out at the other, between links that lead nowhere. What a
// turn costs is in the figures, spread over the messages of one chunk; the kernel is not.
import { Counters } from '../../engine/counters.ts';
import type { LinkSink } from '../../engine/link.ts';
import { silentLog } from '../../engine/log.ts';
import { systemRandom } from '../../engine/random.ts';
import { Shard } from '../../engine/routing/shard.ts';
import { acceptLink } from '../../engine/routing/sink.ts';
import { defaultLimits, PACKET_IDENTIFIER_MAX } from '../../protocol/limits.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { ACK_BYTES, acks, encode, OFFERS, published, writeAcks } from './packets.ts';
import { HandClock, NoLink } from './stand-ins.ts';
import { type Suite, Tasks } from './suite.ts';

const MESSAGES = 1_000;
const PUBACK = 0x40;
const PUBREC = 0x50;
const PUBREL = 0x62;
const PUBCOMP = 0x70;
export const routingSuite: Suite = { key: 'routing', build };

function build(): Tasks {
  const tasks = new Tasks('routing');
  const broker = new Broker();
  addFanOut(tasks, broker, 1, MESSAGES);
  addFanOut(tasks, broker, 10, MESSAGES);
  // Of a turn each receiver gets as much as a small block of its outbox holds.
  addFanOut(tasks, broker, 1_000, 40);
  // More than a small block a receiver: where the pool has too few of the next size, it takes four times as long and more.
  addFanOut(tasks, broker, 1_000, 120, 'fan-out-1000-much');
  for (let at = 0; at < 100; at++) broker.subscriber('$share/group/shared', 0);
  const sharing = broker.client();
  const shared = published('shared', 0, MESSAGES);
  tasks.add('shared-100', 'shared subscription, QoS 0: 100 members', MESSAGES, () => {
    sharing.take(shared);
    broker.endTurn();
  });
  addPair(tasks, broker, 1);
  addPair(tasks, broker, 2);
  tasks.end = () => broker.mustBeWhole();
  return tasks;
}

/** One publisher whose messages go to all receivers; figures are for one delivery. */
function addFanOut(tasks: Tasks, broker: Broker, receivers: number, messages: number, key = `fan-out-${receivers}`): void {
  const topic = key;
  for (let at = 0; at < receivers; at++) broker.subscriber(topic, 0);
  const publisher = broker.client();
  const chunk = published(topic, 0, messages);
  const once = (): void => {
    publisher.take(chunk);
    broker.endTurn();
  };
  const title = `fan-out, QoS 0: 1 to ${receivers}, ${messages} messages at once, for each delivery`;
  tasks.add(key, title, messages * receivers, once);
}

/** A publisher and a subscriber that acknowledge everything at once. */
function addPair(tasks: Tasks, broker: Broker, qos: 1 | 2): void {
  const topic = `pair/${qos}`;
  const receiver = broker.subscriber(topic, qos);
  const sender = broker.client();
  const chunk = published(topic, qos, MESSAGES);
  const ids = new Uint16Array(MESSAGES);
  for (let at = 0; at < MESSAGES; at++) ids[at] = 1 + at;
  const released = acks(PUBREL, ids);
  const answers = new Uint8Array(MESSAGES * ACK_BYTES);
  // The packet identifiers of a session's deliveries follow each other.
  let position = 0;
  tasks.add(`qos-${qos}`, `QoS ${qos}, 1 to 1, acknowledged at both ends`, MESSAGES, () => {
    sender.take(chunk);
    broker.endTurn();
    for (let at = 0; at < MESSAGES; at++) ids[at] = 1 + ((position + at) % PACKET_IDENTIFIER_MAX);
    position += MESSAGES;
    receiver.take(writeAcks(answers, qos === 1 ? PUBACK : PUBREC, ids));
    broker.endTurn();
    if (qos === 1) return;
    receiver.take(writeAcks(answers, PUBCOMP, ids));
    sender.take(released);
    broker.endTurn();
  });
}

/** Bytes of a client towards the broker. */
class Client {
  readonly link = new NoLink();
  readonly #sink: LinkSink;

  constructor(shard: Shard) {
    this.#sink = acceptLink(shard, this.link)!;
  }

  take(bytes: Uint8Array): void {
    this.#sink.linkBytes(bytes, 0, bytes.length);
  }
}

/** A shard without a network. */
class Broker {
  readonly #shard: Shard;
  readonly #clients: Client[] = [];

  constructor() {
    this.#shard = new Shard({
      limits: defaultLimits,
      offers: OFFERS,
      clock: new HandClock(),
      random: systemRandom,
      log: silentLog,
      counters: new Counters(),
      store: new MemoryStore(),
      authenticator: { authenticate: () => ({ ok: true, username: null }) },
      exchanges: null,
      rights: null,
    });
  }

  client(): Client {
    const client = new Client(this.#shard);
    this.#clients.push(client);
    const clientId = `client-${this.#clients.length}`;
    client.take(encode({ cmd: 'connect', clientId, protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 0 }));
    return client;
  }

  subscriber(topic: string, qos: 0 | 1 | 2): Client {
    const client = this.client();
    client.take(encode({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] }));
    this.endTurn();
    return client;
  }

  endTurn(): void {
    this.#shard.turn.finish();
  }

  /** Throws when a message went astray: then the figures are of something else. */
  mustBeWhole(): void {
    const { counters, connections, queuedMessages } = this.#shard;
    if (this.#clients.some(({ link }) => link.closed || link.bytes === 0) || connections.size !== this.#clients.length)
      throw new Error('bench: the broker closed a connection');
    if (counters.droppedTotal + counters.refusedQuota + queuedMessages > 0)
      throw new Error('bench: messages were dropped or are left');
  }
}
