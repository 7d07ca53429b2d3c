// SCRAM-SHA-256 as clients of a broker see it: from CONNECT through AUTH to CONNACK, again on an open connection, and what tells a stranger nothing.
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../engine/random.ts';
import { hashPassword } from '../../engine/security/password-hash.ts';
import { auth, type ConnectFields, connect, property } from '../conformance/bytes.ts';
import { propertyOf, readConnack, readReason } from '../conformance/decode.ts';
import type { RawClient } from '../conformance/raw-client.ts';
import { expectRefused, subscribed, useRig } from '../conformance/rig.ts';
import { ScramClient } from '../security/scram-client.ts';
import { temporaryFile } from '../security/temporary.ts';

const METHOD = 'SCRAM-SHA-256';
const ROUNDS = 4_096;
const keys = (password: string) => hashPassword(password, systemRandom, { format: 'scram', iterations: ROUNDS });
const passwords = `ada:${await keys('countess')}\nbob:${await keys('builder')}\n`;
const acl = 'user ada\ntopic readwrite ada/#\nuser bob\ntopic readwrite bob/#\n';
const rig = useRig([
  `auth.password_file=${temporaryFile(passwords)}`,
  `auth.acl_file=${temporaryFile(acl)}`,
  'listener.tcp.anonymous=false',
]);

const properties = (data: string) => [property.authenticationMethod(METHOD), property.authenticationData(data)];

/** Sends CONNECT with the first message, and the last one for what the broker says. */
async function begin(client: RawClient, scram: ScramClient, fields: ConnectFields = {}): Promise<void> {
  client.send(connect(5, { clientId: rig.name('scram'), ...fields, properties: properties(scram.first) }));
  const challenge = await client.nextPacket();
  expect(challenge.firstByte, 'AUTH').toBe(0xf0);
  const { reason, properties: told } = readReason(challenge);
  expect({ reason, method: propertyOf(told, 0x15) }).toEqual({ reason: 0x18, method: METHOD });
  client.send(auth(0x18, properties(scram.final(String(propertyOf(told, 0x16))))));
}

async function accepted(scram: ScramClient, fields: ConnectFields = {}): Promise<RawClient> {
  const client = await rig.open(5);
  await begin(client, scram, fields);
  const connack = readConnack(await client.nextPacket(), 5);
  expect(connack.reason).toBe(0);
  expect(propertyOf(connack.properties, 0x15)).toBe(METHOD);
  expect(scram.trusts(String(propertyOf(connack.properties, 0x16))), 'the broker knows the password').toBe(true);
  return client;
}

test('a user is let in, with its rights and no others [MQTT-4.12.0-2] [MQTT-4.12.0-3]', async () => {
  const client = await accepted(new ScramClient('ada', 'countess'));
  expect(
    await subscribed(client, {
      filters: [
        ['ada/#', 0],
        ['bob/#', 0],
      ],
    }),
  ).toEqual([0, 0x87]);
});

test('the same line serves a client that sends its password', async () => {
  const client = await rig.connect(4, { userName: 'ada', password: 'countess' });
  await client.expectSilence();
  const wrong = await rig.open(5);
  wrong.send(connect(5, { userName: 'ada', password: 'builder' }));
  await expectRefused(wrong, 0x86);
});

describe('refused, with the same bytes each time', () => {
  test.each<[string, string, string, ConnectFields]>([
    ['a wrong password', 'ada', 'builder', {}],
    ['a user that is not there', 'nobody', 'countess', {}],
    ['a user name in CONNECT that is another’s', 'ada', 'countess', { userName: 'bob' }],
  ])('%s', async (_what, user, password, fields) => {
    const client = await rig.open(5);
    const scram = new ScramClient(user, password);
    if (fields.userName === undefined) await begin(client, scram, fields);
    else client.send(connect(5, { ...fields, properties: properties(scram.first) }));
    expect((await client.nextPacket()).bytes.toString('hex')).toBe('2003008700');
    await client.expectClosed();
  });

  test('a challenge for nobody looks like one for a user: as long, as many rounds, the same salt each time', async () => {
    const shown: Record<string, string[]> = {};
    for (const user of ['ada', 'nobody', 'ada', 'nobody']) {
      const client = await rig.open(5);
      const scram = new ScramClient(user, 'x');
      await begin(client, scram);
      await client.nextPacket();
      expect({ rounds: scram.iterations, salt: scram.salt.length, nonce: scram.nonce.length }).toEqual({
        rounds: ROUNDS,
        salt: 24,
        nonce: 40,
      });
      shown[user] = [...(shown[user] ?? []), scram.salt];
    }
    for (const salts of Object.values(shown)) expect(new Set(salts).size).toBe(1);
    expect(shown['ada']).not.toEqual(shown['nobody']);
  });

  test.each(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1', 'PLAIN'])('the method %s, which is not there', async (method) => {
    const client = await rig.open(5);
    client.send(connect(5, { properties: [property.authenticationMethod(method), property.authenticationData('n,,n=ada,r=x')] }));
    expect((await client.nextPacket()).bytes.toString('hex')).toBe('2003008c00');
    await client.expectClosed();
  });
});

describe('again on an open connection', () => {
  async function again(client: RawClient, scram: ScramClient): Promise<void> {
    client.send(auth(0x19, properties(scram.first)));
    const { reason, properties: told } = readReason(await client.nextPacket());
    if (reason !== 0x18) throw new Error(`the broker said ${reason}`);
    client.send(auth(0x18, properties(scram.final(String(propertyOf(told, 0x16))))));
  }

  test('the same user goes on [MQTT-4.12.1-1]', async () => {
    const client = await accepted(new ScramClient('ada', 'countess'));
    for (let times = 0; times < 2; times++) {
      const scram = new ScramClient('ada', 'countess');
      await again(client, scram);
      const { reason, properties: told } = readReason(await client.nextPacket());
      expect({ reason, trusts: scram.trusts(String(propertyOf(told, 0x16))) }).toEqual({ reason: 0, trusts: true });
    }
    await client.expectSilence();
  });

  test('another user is sent away at its first word, a wrong password at its last [MQTT-4.12.1-2]', async () => {
    const other = await accepted(new ScramClient('ada', 'countess'));
    other.send(auth(0x19, properties(new ScramClient('bob', 'builder').first)));
    await other.expectFault(0x87);
    const wrong = await accepted(new ScramClient('ada', 'countess'));
    await again(wrong, new ScramClient('ada', 'builder'));
    await wrong.expectFault(0x87);
  });
});
