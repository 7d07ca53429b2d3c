// 20. Secrets that can be told by the time that a comparison takes. Deeper: test/security/password-file.test.ts, scram.test.ts, test/end-to-end/scram.test.ts.
// Red when: a name that is not there costs less work than one that is, or a secret is compared by something that stops at the first difference.
// Time itself is not measured, a loaded machine has its own: what is counted is the work that the running broker asks node:crypto for.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { systemRandom } from '../../../engine/random.ts';
import { hashPassword, type Recipe } from '../../../engine/security/password-hash.ts';
import { ONE_SHARD, startBroker } from '../../broker.ts';
import { auth, connect, property } from '../../conformance/bytes.ts';
import { propertyOf, readConnack, readReason } from '../../conformance/decode.ts';
import { RawClient } from '../../conformance/raw-client.ts';
import { ScramClient } from '../../security/scram-client.ts';
import { temporaryFile } from '../../security/temporary.ts';

const work = vi.hoisted(() => [] as string[]);
vi.mock('node:crypto', async (original) => {
  const real = await original<typeof import('node:crypto')>();
  const counted = {
    ...real,
    pbkdf2: (...args: Parameters<typeof real.pbkdf2>) => {
      work.push(`pbkdf2 ${args[2]} ${args[3]} ${args[4]}`);
      real.pbkdf2(...args);
    },
    scrypt: (...args: unknown[]) => {
      const { N, r, p } = args[3] as { N: number; r: number; p: number };
      work.push(`scrypt ${N} ${r} ${p}`);
      (real.scrypt as unknown as (...all: unknown[]) => void)(...args);
    },
    timingSafeEqual: (a: NodeJS.ArrayBufferView, b: NodeJS.ArrayBufferView) => {
      work.push(`equal ${a.byteLength}`);
      return real.timingSafeEqual(a, b);
    },
  };
  return { ...counted, default: counted };
});

const clients: RawClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.drop();
});

async function open(port: number): Promise<RawClient> {
  const client = await RawClient.connect(port, 5);
  clients.push(client);
  return client;
}

/** The work of one CONNECT, and what it was told. */
async function workOf(port: number, userName: string, password: string): Promise<{ reason: number; done: string[] }> {
  const client = await open(port);
  work.length = 0;
  client.send(connect(5, { userName, password }));
  const { reason } = readConnack(await client.nextPacket(20_000), 5);
  return { reason, done: [...work] };
}

const RECIPES: readonly Recipe[] = [
  { format: 'scrypt', ln: 4 },
  { format: 'mosquitto', iterations: 50 },
  { format: 'scram', iterations: 4_096 },
];

test.each(RECIPES)('the right password, a wrong one and an unknown name cost the same: $format', async (recipe) => {
  const hash = await hashPassword('right', systemRandom, recipe);
  const broker = await startBroker([ONE_SHARD, `auth.password_file=${temporaryFile(`ada:${hash}\n`)}`]);
  const right = await workOf(broker.tcp, 'ada', 'right');
  expect(right.reason).toBe(0);
  expect(right.done).toHaveLength(2);
  expect(right.done[0]).toMatch(/^(pbkdf2|scrypt) /);
  expect(right.done[1]).toMatch(/^equal (32|64)$/);
  for (const [user, password] of [
    ['ada', 'wrong'],
    ['ada', ''],
    ['ada', 'righ'],
    ['ad', 'right'],
    ['nobody', 'right'],
    ['', 'x'],
  ] as const) {
    expect(await workOf(broker.tcp, user, password), `${user} ${password}`).toEqual({ reason: 0x86, done: right.done });
  }
  await broker.stop();
});

test('an exchange of SCRAM compares as much, and tells as much, for a user, a wrong password and nobody', async () => {
  const hash = await hashPassword('right', systemRandom, { format: 'scram', iterations: 4_096 });
  const broker = await startBroker([ONE_SHARD, `auth.password_file=${temporaryFile(`ada:${hash}\n`)}`]);
  const outcomes: string[] = [];
  for (const [user, password] of [
    ['ada', 'right'],
    ['ada', 'wrong'],
    ['nobody', 'right'],
  ] as const) {
    const scram = new ScramClient(user, password);
    const data = (text: string) => [property.authenticationMethod('SCRAM-SHA-256'), property.authenticationData(text)];
    const client = await open(broker.tcp);
    client.send(connect(5, { properties: data(scram.first) }));
    const challenge = await client.nextPacket();
    const final = scram.final(String(propertyOf(readReason(challenge).properties, 0x16)));
    work.length = 0;
    client.send(auth(0x18, data(final)));
    const { reason } = readConnack(await client.nextPacket(), 5);
    outcomes.push(`${reason} ${challenge.bytes.length} ${work.join(', ')}`);
  }
  const [right, wrong, nobody] = outcomes;
  expect(right).toMatch(/^0 \d+ equal 32$/);
  expect(wrong).toBe(right!.replace(/^0/, '135'));
  expect(nobody).toBe(wrong);
  await broker.stop();
});

describe('in the sources', () => {
  const root = new URL('../../..', import.meta.url).pathname;
  const files = (folder: string) =>
    readdirSync(join(root, folder))
      .map((name) => join(folder, name))
      .filter((name) => name.endsWith('.ts'));

  test.each([...files('engine/security'), ...files('engine/administration')])(
    '%s compares no bytes with a comparison that stops early',
    (file) => {
      const text = readFileSync(join(root, file), 'utf8');
      expect(text).not.toMatch(/\.equals\(|Buffer\.compare\(|\.compare\(/);
    },
  );
});
