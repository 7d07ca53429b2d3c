// Clients on their way in, against a gate whose answers the test gives when it likes.
import { generate, type IConnectPacket, type Packet, parser } from 'mqtt-packet';
import { expect, test } from 'vitest';
import type { AuthOutcome, Credentials } from '../../engine/gate.ts';
import { memoryListener } from '../../engine/network/memory.ts';
import { acceptLink } from '../../engine/routing/sink.ts';
import { createLoginGuard } from '../../engine/security/login-guard.ts';
import { Reason } from '../../protocol/packet.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { SeededRandom } from '../seeded-random.ts';
import { shardOver } from '../sessions/shard.ts';
import { VirtualClock } from '../virtual-clock.ts';

interface Question extends Credentials {
  answer(outcome: AuthOutcome): void;
}

/** What a client was sent. */
interface Client {
  readonly packets: Packet[];
  send(packet: Packet): void;
}

function rig() {
  const clock = new VirtualClock();
  const random = new SeededRandom(1);
  const shard = shardOver({ clock, random, store: new MemoryStore(0) });
  const questions: Question[] = [];
  const asking = () => ({
    authenticate: (credentials: Credentials) =>
      new Promise<AuthOutcome>((answer) => {
        const password = credentials.password === null ? null : Uint8Array.from(credentials.password);
        questions.push({ ...credentials, password, answer });
      }),
  });
  shard.authenticator = asking();
  const listener = memoryListener((link) => acceptLink(shard, link), { clock, drive: 'steps' });
  /** Lets everything happen that can. */
  const settle = async () => {
    for (let i = 0; i < 20; i++) {
      while (listener.step());
      clock.advance(0);
      while (clock.endTurn());
      await Promise.resolve();
    }
  };
  const client = (address: string): Client => {
    const peer = listener.connect({ address });
    const packets: Packet[] = [];
    const reading = parser({ protocolVersion: 5 });
    reading.on('packet', (packet) => packets.push(packet));
    peer.onBytes = (chunk) => reading.parse(Buffer.from(chunk));
    return { packets, send: (packet) => peer.send(generate(packet, { protocolVersion: 5 })) };
  };
  return { clock, random, shard, questions, asking, settle, client };
}

const connect = (clientId: string, rest: Partial<IConnectPacket> = {}): IConnectPacket => ({
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: 5,
  clean: true,
  keepalive: 0,
  clientId,
  username: 'u',
  password: Buffer.from('p'),
  ...rest,
});

const reasonsOf = (clients: readonly Client[]) =>
  clients.map(({ packets }) => packets.map((packet) => ('reasonCode' in packet ? packet.reasonCode : null)));

test('guesses that are looked at together are told no more than guesses one after the other', async () => {
  const { clock, random, shard, questions, settle, client } = rig();
  shard.guard = createLoginGuard({ failuresPerMinute: 3, blockMs: 60_000, clock, random });
  const guesses = Array.from({ length: 8 }, () => client('192.0.2.1'));
  const other = client('192.0.2.2');
  [...guesses, other].forEach((one, at) => {
    one.send(connect(`c-${at}`));
  });
  await settle();
  expect(questions).toHaveLength(9);
  // The sixth was the right one.
  for (const [at, { answer }] of questions.entries())
    answer(at === 5 || at === 8 ? { ok: true, username: 'u' } : { ok: false, reason: Reason.BAD_USER_NAME_OR_PASSWORD });
  await settle();
  const wrong = [Reason.BAD_USER_NAME_OR_PASSWORD];
  const blocked = [Reason.CONNECTION_RATE_EXCEEDED];
  expect(reasonsOf([...guesses, other])).toEqual([wrong, wrong, wrong, blocked, blocked, blocked, blocked, blocked, [0]]);
  expect(shard.counters.authRefusedBlocked).toBe(5);
});
