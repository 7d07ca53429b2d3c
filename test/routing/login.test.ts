// Clients on their way in, against a gate whose answers the test gives when it likes.
import { generate, type IConnectPacket, type Packet, parser } from 'mqtt-packet';
import { describe, expect, test, vi } from 'vitest';
import type { AuthOutcome, Credentials, ExchangeMethods, ExchangeOutcome } from '../../engine/gate.ts';
import { memoryListener } from '../../engine/network/memory.ts';
import { Ceilings } from '../../engine/routing/ceilings.ts';
import { endSession } from '../../engine/routing/lifecycle.ts';
import type { Shard } from '../../engine/routing/shard.ts';
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
  /** In one piece. */
  send(...packets: readonly Packet[]): void;
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
    return {
      packets,
      send: (...sent) => peer.send(Buffer.concat(sent.map((packet) => generate(packet, { protocolVersion: 5 })))),
    };
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

test('a login that a reload overtakes is judged by what is asked now', async () => {
  const { shard, questions, asking, settle, client } = rig();
  const [late, other] = [client('192.0.2.1'), client('192.0.2.2')];
  late.send(connect('late'));
  await settle();
  shard.authenticator = asking();
  questions[0]!.answer({ ok: true, username: 'u' });
  await settle();
  expect(questions).toHaveLength(2);
  expect(late.packets).toEqual([]);
  expect(questions[1]!.username).toBe('u');
  expect(Buffer.from(questions[1]!.password!).toString()).toBe('p');
  questions[1]!.answer({ ok: false, reason: Reason.BAD_USER_NAME_OR_PASSWORD });
  other.send(connect('other'));
  await settle();
  questions[2]!.answer({ ok: true, username: 'u' });
  await settle();
  expect(reasonsOf([late, other])).toEqual([[Reason.BAD_USER_NAME_OR_PASSWORD], [0]]);
});

describe('enhanced authentication', () => {
  const auth = (reasonCode: number, data: string): Packet => ({
    cmd: 'auth',
    reasonCode,
    properties: { authenticationMethod: 'm', authenticationData: Buffer.from(data) },
  });

  /** A method whose steps the test ends; each exchange has a number. */
  function steps(shard: Shard) {
    const begun: { readonly name: string | null; readonly ends: ((outcome: ExchangeOutcome) => void)[] }[] = [];
    const methods = (): ExchangeMethods => ({
      begin(_method, { username }) {
        const ends: ((outcome: ExchangeOutcome) => void)[] = [];
        begun.push({ name: username, ends });
        return { step: () => new Promise((end) => ends.push(end)) };
      },
    });
    shard.exchanges = methods();
    const ask: ExchangeOutcome = { kind: 'continue', data: Buffer.from('more') };
    const success: ExchangeOutcome = { kind: 'success', username: 'u', data: null };
    return { begun, methods, ask, success };
  }
  const hello = () =>
    connect('c', { properties: { authenticationMethod: 'm', authenticationData: Buffer.from('1') }, username: 'u' });

  test('one step at a time: what comes while one is looked at is a protocol error', async () => {
    const { shard, settle, client } = rig();
    const { begun, ask } = steps(shard);
    const hasty = client('192.0.2.1');
    hasty.send(hello());
    await settle();
    begun[0]!.ends[0]!(ask);
    await settle();
    hasty.send(auth(Reason.CONTINUE_AUTHENTICATION, '2'), auth(Reason.CONTINUE_AUTHENTICATION, '2 again'));
    await settle();
    expect(begun[0]!.ends).toHaveLength(2);
    expect(reasonsOf([hasty])).toEqual([[Reason.CONTINUE_AUTHENTICATION, Reason.PROTOCOL_ERROR]]);
  });

  test('who authenticates again is judged by the methods of now, in an exchange of its own', async () => {
    const { shard, settle, client } = rig();
    const { begun, methods, ask, success } = steps(shard);
    const one = client('192.0.2.1');
    one.send(hello());
    await settle();
    begun[0]!.ends[0]!(success);
    await settle();
    shard.exchanges = methods();
    one.send(auth(Reason.REAUTHENTICATE, '1'));
    await settle();
    expect(begun.map(({ name, ends }) => [name, ends.length])).toEqual([
      ['u', 1],
      ['u', 1],
    ]);
    begun[1]!.ends[0]!(ask);
    await settle();
    one.send(auth(Reason.CONTINUE_AUTHENTICATION, '2'));
    await settle();
    begun[1]!.ends[1]!(success);
    await settle();
    expect(reasonsOf([one])).toEqual([[0, Reason.CONTINUE_AUTHENTICATION, 0]]);
    // And where the method has gone, there is nobody to say yes.
    shard.exchanges = null;
    one.send(auth(Reason.REAUTHENTICATE, '1'));
    await settle();
    expect(reasonsOf([one])[0]!.at(-1)).toBe(Reason.NOT_AUTHORIZED);
  });

  test('an exchange that a reload overtakes vouches for nobody', async () => {
    const { shard, settle, client } = rig();
    const { begun, methods, success } = steps(shard);
    const one = client('192.0.2.1');
    one.send(hello());
    await settle();
    shard.exchanges = methods();
    begun[0]!.ends[0]!(success);
    await settle();
    expect(reasonsOf([one])).toEqual([[Reason.SERVER_BUSY]]);
  });
});

describe('limits', () => {
  const yes = { authenticate: ({ username }: Credentials) => ({ ok: true, username }) as const };

  test('one user cannot use up what another may connect in a minute, nor what there is no room to count', async () => {
    const { shard, settle, client } = rig();
    shard.authenticator = yes;
    shard.offers = { ...shard.offers, takeover: 'any_user' };
    Object.assign(shard.limits, { clientConnectsPerMinute: 2 });
    const as = async (username: string) => {
      const one = client('192.0.2.1');
      one.send(connect('same', { username }));
      await settle();
      return reasonsOf([one])[0]![0];
    };
    expect([await as('a'), await as('a'), await as('a')]).toEqual([0, 0, Reason.CONNECTION_RATE_EXCEEDED]);
    expect(await as('b')).toBe(0);
    vi.spyOn(shard.connects, 'enter').mockReturnValue(false);
    expect(await as('c')).toBe(0);
    expect(shard.counters.connectsUncounted).toBe(1);
  });

  test('a Clean Start that the quota of the user refuses ends no session', async () => {
    const { shard, settle, client } = rig();
    shard.authenticator = yes;
    Object.assign(shard.limits, { connectionsPerUser: 1 });
    const kept = client('192.0.2.1');
    kept.send(connect('kept', { clean: false, properties: { sessionExpiryInterval: 600 } }));
    await settle();
    kept.send({ cmd: 'disconnect', reasonCode: 0 });
    const [other, again] = [client('192.0.2.1'), client('192.0.2.1')];
    await settle();
    other.send(connect('other'));
    await settle();
    again.send(connect('kept'));
    await settle();
    expect(reasonsOf([other, again])).toEqual([[0], [Reason.QUOTA_EXCEEDED]]);
    expect(shard.sessions.find('kept')).not.toBeNull();
  });

  test('a will goes out with the ceiling of the moment, not of when it was left', async () => {
    const { shard, settle, client } = rig();
    shard.authenticator = yes;
    const [heir, dying] = [client('192.0.2.1'), client('192.0.2.2')];
    heir.send(connect('heir'));
    heir.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'will', qos: 0 }] });
    dying.send(connect('dying', { will: { topic: 'will', payload: Buffer.from('w'), qos: 0, retain: false } }));
    await settle();
    shard.ceilings = new Ceilings(30);
    dying.send({ cmd: 'disconnect', reasonCode: 4 });
    await settle();
    expect(heir.packets.at(-1)).toMatchObject({ cmd: 'publish', properties: { messageExpiryInterval: 30 } });
  });
});

test('roles and grants of a session count as long as it is there, and once', async () => {
  const { shard, questions, settle, client } = rig();
  const come = async (clean: boolean, roles: readonly string[]) => {
    const one = client('192.0.2.1');
    one.send(connect('c', { clean, properties: { sessionExpiryInterval: 600 } }));
    await settle();
    questions.pop()!.answer({ ok: true, username: 'u', roles, grants: { publish: ['abc'], subscribe: ['defg'] } });
    await settle();
    return shard.sessionBytes;
  };
  expect(await come(false, ['r'])).toBe(8);
  expect(await come(false, ['r', 'other'])).toBe(13);
  expect(await come(true, [])).toBe(7);
  endSession(shard, shard.sessions.find('c')!);
  expect(shard.sessionBytes).toBe(0);
});
