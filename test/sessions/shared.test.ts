// What the member of a shared group leaves behind goes to another member, and it is the same message (MQTT 5.0 §4.8.2): random
// histories of members that come, answer late and go.
import fc from 'fast-check';
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { expect, test } from 'vitest';
import { type MemoryListener, memoryListener } from '../../engine/network/memory.ts';
import type { MemoryPeer } from '../../engine/network/memory-link.ts';
import { acceptLink } from '../../engine/routing/sink.ts';
import { Level } from '../../protocol/packet.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { check } from '../check.ts';
import { SeededRandom } from '../seeded-random.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { bytesOfPacket, packetReader } from './packets.ts';
import { shardOver } from './shard.ts';

const PUBLISH_QOS_1 = { topic: 't', qos: 1, dup: false, retain: false } as const;

/** An MQTT 5 client whose session ends with its connection, and which answers when it is told to. */
class Member {
  readonly peer: MemoryPeer;
  readonly unanswered: IPublishPacket[] = [];
  readonly answered: IPublishPacket[] = [];
  readonly packets: Packet[] = [];

  constructor(listener: MemoryListener, clientId: string, receiveMaximum: number) {
    this.peer = listener.connect();
    this.peer.onBytes = packetReader(Level.V5, (packet) => {
      if (packet.cmd === 'publish' && packet.qos > 0) this.unanswered.push(packet);
      else this.packets.push(packet);
    });
    this.send({ cmd: 'connect', protocolVersion: 5, clientId, clean: true, keepalive: 0, properties: { receiveMaximum } });
  }

  send(packet: Packet): void {
    this.peer.send(bytesOfPacket(packet, Level.V5));
  }

  subscribe(filter: string): void {
    this.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic: filter, qos: 1, nl: false, rap: false, rh: 0 }],
    } as Packet);
  }

  answer(): void {
    const packet = this.unanswered.shift();
    if (packet === undefined) return;
    this.answered.push(packet);
    this.send({ cmd: 'puback', messageId: packet.messageId! });
  }
}

function open() {
  const clock = new VirtualClock();
  const shard = shardOver({ clock, random: new SeededRandom(1), store: new MemoryStore() });
  const listener = memoryListener((link) => acceptLink(shard, link), { clock, drive: 'steps' });
  const settle = () => {
    for (let worked = true; worked; ) worked = [listener.step(), clock.endTurn()].includes(true);
  };
  return { shard, listener, settle };
}

test('every message is answered by some member while one is left, and nothing is left behind', () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('publish' as const), padding: fc.nat(200) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('plain' as const), padding: fc.nat(200) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('answer' as const), at: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('join' as const), receiveMaximum: fc.constantFrom(1, 2, 5) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('leave' as const), at: fc.nat(9) }) },
  );
  return check(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const { shard, listener, settle } = open();
      let names = 0;
      const join = (receiveMaximum: number) => {
        const member = new Member(listener, `member-${names++}`, receiveMaximum);
        member.subscribe('$share/g/t');
        settle();
        return member;
      };
      const members = [join(2)];
      const answered: string[] = [];
      const publisher = new Member(listener, 'publisher', 65_535);
      const witness = new Member(listener, 'witness', 65_535);
      witness.subscribe('plain');
      const sent: string[] = [];
      const publish = (topic: string, padding: number) => {
        const payload = `${topic} ${sent.length} ${'x'.repeat(padding)}`;
        publisher.send({ ...PUBLISH_QOS_1, cmd: 'publish', topic, payload, messageId: 1 });
        settle();
        return payload;
      };
      for (const one of steps) {
        if (one.do === 'publish') sent.push(publish('t', one.padding));
        else if (one.do === 'plain') {
          publish('plain', one.padding);
          witness.answer();
        } else if (one.do === 'answer') members[one.at % members.length]!.answer();
        else if (one.do === 'join') members.push(join(one.receiveMaximum));
        else if (members.length > 1) {
          const [member] = members.splice(one.at % members.length, 1);
          answered.push(...member!.answered.map(({ payload }) => payload.toString()));
          member!.peer.abort();
        }
        settle();
      }
      for (const member of members) {
        for (; member.unanswered.length > 0; settle()) member.answer();
        answered.push(...member.answered.map(({ payload }) => payload.toString()));
      }
      // An answer that was lost with its member may bring the message to another one.
      expect([...new Set(answered)].sort()).toEqual([...sent].sort());
      for (const { peer } of [...members, publisher, witness]) peer.abort();
      settle();
      const { messages, blocks, queuedMessages, queuedBytes, sharedSubscriptions, connections, sessions } = shard;
      expect({ messages: messages.count, blocks: blocks.lent, queuedMessages, queuedBytes, sharedSubscriptions }).toEqual({
        messages: 0,
        blocks: 0,
        queuedMessages: 0,
        queuedBytes: 0,
        sharedSubscriptions: 0,
      });
      expect([connections.size, sessions.count]).toEqual([0, 0]);
    }),
    120,
  );
});
