// Micro-benchmarks of what a message costs on its way to another shard: two shards in one thread, so that both ends are in the figure and no kernel, no bell and no other core's cache are. Beside
// `routing.fan-out-1` and `routing.qos-1`, which are the same within one shard.
import { Counters } from '../../engine/counters.ts';
import type { LinkSink } from '../../engine/link.ts';
import { silentLog } from '../../engine/log.ts';
import { allocateFabric } from '../../engine/peers/fabric.ts';
import { Peers } from '../../engine/peers/peers.ts';
import { systemRandom } from '../../engine/random.ts';
import { onControl } from '../../engine/routing/administer.ts';
import { exchange, poll } from '../../engine/routing/arrive.ts';
import { Shard } from '../../engine/routing/shard.ts';
import { acceptLink } from '../../engine/routing/sink.ts';
import { defaultLimits, PACKET_IDENTIFIER_MAX } from '../../protocol/limits.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { ACK_BYTES, encode, OFFERS, published, writeAcks } from './packets.ts';
import { HandClock, NoLink } from './stand-ins.ts';
import { type Suite, Tasks } from './suite.ts';

const MESSAGES = 1_000;
const PUBACK = 0x40;
const ROUNDS = 16;

export const shardsSuite: Suite = { key: 'shards', build };

function build(): Tasks {
  const tasks = new Tasks('shards');
  const company = new Company(2);
  addRun(tasks, company, 1, MESSAGES);
  addRun(tasks, company, 10, MESSAGES);
  addAlone(tasks, company);
  addAcknowledged(tasks, company);
  tasks.end = () => company.mustBeWhole();
  return tasks;
}

/** One publisher here, all receivers there; figures are for one delivery. */
function addRun(tasks: Tasks, company: Company, receivers: number, messages: number): void {
  const topic = `run/${receivers}`;
  for (let at = 0; at < receivers; at++) company.subscriber(1, topic, 0);
  const publisher = company.client(0);
  const chunk = published(topic, 0, messages);
  const title = `QoS 0 to another shard: 1 to ${receivers}, ${messages} messages at once, for each delivery`;
  tasks.add(`run-${receivers}`, title, messages * receivers, () => {
    publisher.take(chunk);
    company.endTurns();
  });
}

/** A letter and a turn on both sides for each message: what is left where nothing can be gathered. */
function addAlone(tasks: Tasks, company: Company): void {
  company.subscriber(1, 'alone', 0);
  const publisher = company.client(0);
  const packet = published('alone', 0, 1);
  tasks.add('alone', 'QoS 0 to another shard, one message a turn', 1, () => {
    publisher.take(packet);
    company.endTurns();
  });
}

function addAcknowledged(tasks: Tasks, company: Company): void {
  const receiver = company.subscriber(1, 'pair', 1);
  const sender = company.client(0);
  const chunk = published('pair', 1, MESSAGES);
  const ids = new Uint16Array(MESSAGES);
  const answers = new Uint8Array(MESSAGES * ACK_BYTES);
  let position = 0;
  tasks.add('qos-1', 'QoS 1 to another shard, acknowledged at both ends', MESSAGES, () => {
    sender.take(chunk);
    company.endTurns();
    for (let at = 0; at < MESSAGES; at++) ids[at] = 1 + ((position + at) % PACKET_IDENTIFIER_MAX);
    position += MESSAGES;
    receiver.take(writeAcks(answers, PUBACK, ids));
    company.endTurns();
  });
}

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

/** Shards without a network, all in this thread. */
class Company {
  readonly #shards: Shard[] = [];
  readonly #clients: Client[] = [];

  constructor(count: number) {
    const fabric = allocateFabric(count, defaultLimits.sessionsMax, defaultLimits.connectionsMax);
    for (let index = 0; index < count; index++) {
      const clock = new HandClock();
      const shard: Shard = new Shard({
        limits: defaultLimits,
        offers: OFFERS,
        clock,
        random: systemRandom,
        log: silentLog,
        counters: new Counters(),
        store: new MemoryStore(),
        authenticator: { authenticate: () => ({ ok: true, username: null }) },
        exchanges: null,
        rights: null,
        peers: new Peers(fabric, index, clock),
        ...(index === 0 ? {} : { trie: this.#shards[0]!.trie.memory }),
      });
      shard.ownControl.handle = (control) => onControl(shard, control);
      shard.turn.after = () => exchange(shard);
      this.#shards.push(shard);
    }
  }

  client(shard: number): Client {
    const client = new Client(this.#shards[shard]!);
    this.#clients.push(client);
    const clientId = `client-${this.#clients.length}`;
    client.take(encode({ cmd: 'connect', clientId, protocolId: 'MQTT', protocolVersion: 4, clean: true, keepalive: 0 }));
    for (let round = 0; round < ROUNDS; round++) this.endTurns();
    return client;
  }

  subscriber(shard: number, topic: string, qos: 0 | 1): Client {
    const client = this.client(shard);
    client.take(encode({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] }));
    for (let round = 0; round < ROUNDS; round++) this.endTurns();
    return client;
  }

  /** One turn of each, with what the others have sent, and once more for what that brought. */
  endTurns(): void {
    for (const shard of this.#shards) shard.turn.finish();
    for (const shard of this.#shards) poll(shard);
    for (const shard of this.#shards) poll(shard);
  }

  /** Throws when a message went astray: then the figures are of something else. */
  mustBeWhole(): void {
    if (this.#clients.some(({ link }) => link.closed || link.bytes === 0))
      throw new Error('bench: the broker closed a connection');
    for (const { counters, queuedMessages, peers } of this.#shards) {
      if (counters.droppedTotal + counters.refusedQuota + queuedMessages + peers!.tickets.open > 0)
        throw new Error('bench: messages were dropped or are left');
    }
  }
}
