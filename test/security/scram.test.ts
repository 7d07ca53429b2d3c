// SCRAM-SHA-256 as the broker's side speaks it: the exchange of RFC 7677, everything that is not one, and what a stranger can learn of who exists.
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Credentials, Exchange, ExchangeMethods, ExchangeOutcome } from '../../engine/gate.ts';
import { TransportKind } from '../../engine/link.ts';
import { systemRandom } from '../../engine/random.ts';
import type { ListenerPolicy } from '../../engine/security/authenticator.ts';
import { loadPasswordFile } from '../../engine/security/password-file.ts';
import { hashPassword } from '../../engine/security/password-hash.ts';
import { createScram, SCRAM_METHOD, type ScramOptions } from '../../engine/security/scram.ts';
import type { ScramUsers } from '../../engine/security/scram-users.ts';
import { Reason } from '../../protocol/packet.ts';
import { check } from '../check.ts';
import { ScramClient } from './scram-client.ts';
import { temporaryFile } from './temporary.ts';

/** RFC 7677 §3: user `user`, password `pencil`. */
const RFC_USER =
  'user:$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=';
const CLIENT_NONCE = 'rOprNGfwEbeRWgbNEkqO';
const SERVER_NONCE = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
const BOTH = CLIENT_NONCE + SERVER_NONCE;
const SERVER_FIRST = `r=${BOTH},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
const PROOF = 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=';
const CLIENT_FINAL = `c=biws,r=${BOTH},p=${PROOF}`;

const FAILED: ExchangeOutcome = { kind: 'failure', reason: Reason.NOT_AUTHORIZED };
const listeners = new Map<string, ListenerPolicy>([
  ['tcp', { anonymous: false, certificateUser: 'none' }],
  ['certificates', { anonymous: false, certificateUser: 'common_name' }],
]);

let text = '';
let users: ScramUsers;
let methods: ExchangeMethods;

beforeAll(async () => {
  const scram = (password: string, iterations: number) => hashPassword(password, systemRandom, { format: 'scram', iterations });
  const plain = await hashPassword('open', systemRandom, { format: 'mosquitto', iterations: 1 });
  const comma = await scram('Ame\u0301lie \u2163', 5_000);
  text = `${RFC_USER}\nmallory:${await scram('pencil', 4_096)}\na,b=c:${comma}\nplain:${plain}\n`;
  users = usersOf(text);
  methods = createScram({ users, random: systemRandom, listeners });
});

function usersOf(file: string): ScramUsers {
  return loadPasswordFile(temporaryFile(file)).scram!;
}

function credentials(username: string | null, listener = 'tcp'): Credentials {
  const peer = { transport: TransportKind.MEMORY, listener, address: '127.0.0.1', port: 1, secure: true, certificate: null };
  return { clientId: 'c', username, password: null, peer };
}

function begin(options: Partial<ScramOptions> = {}, username: string | null = null): Exchange {
  const all = { users, random: systemRandom, listeners, ...options };
  return createScram(all).begin(SCRAM_METHOD, credentials(username))!;
}

function step(exchange: Exchange, message: string | Uint8Array | null): ExchangeOutcome {
  return exchange.step(typeof message === 'string' ? Buffer.from(message) : message) as ExchangeOutcome;
}

/** What the server says when it goes on. */
function told(outcome: ExchangeOutcome): string {
  if (outcome.kind !== 'continue' && outcome.kind !== 'success') throw new Error(`the exchange has failed: ${outcome.reason}`);
  return Buffer.from(outcome.data!).toString();
}

function rfc(): Exchange {
  return begin({ serverNonce: () => SERVER_NONCE });
}

/** A whole exchange. */
function run(exchange: Exchange, client: ScramClient): ExchangeOutcome {
  const outcome = step(exchange, client.final(told(step(exchange, client.first))));
  if (outcome.kind === 'success') expect(client.trusts(told(outcome))).toBe(true);
  return outcome;
}

describe('an exchange', () => {
  test('is that of RFC 7677 §3, to the letter', () => {
    const exchange = rfc();
    expect(told(step(exchange, `n,,n=user,r=${CLIENT_NONCE}`))).toBe(SERVER_FIRST);
    const outcome = step(exchange, CLIENT_FINAL);
    expect(outcome).toMatchObject({ kind: 'success', username: 'user' });
    expect(told(outcome)).toBe('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
  });

  test('goes well for a client that could bind a channel, for one with an authorization identity of its own, and for odd names and passwords', () => {
    for (const header of ['n,,', 'y,,', 'n,a=user,']) {
      const outcome = run(begin(), new ScramClient('user', 'pencil', { header }));
      expect(outcome).toMatchObject({ kind: 'success', username: 'user' });
    }
    expect(run(begin(), new ScramClient('a,b=c', 'Am\u00e9lie IV'))).toMatchObject({ kind: 'success', username: 'a,b=c' });
  });

  test('takes extensions that may be passed over', () => {
    const exchange = begin();
    expect(step(exchange, `n,,n=user,r=${CLIENT_NONCE},x=a,y=b=c`).kind).toBe('continue');
  });

  test('is no method of another name, nor of a listener where the certificate says who it is', () => {
    for (const name of ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1', 'scram-sha-256', ''])
      expect(methods.begin(name, credentials(null))).toBeNull();
    expect(methods.begin(SCRAM_METHOD, credentials(null, 'certificates'))).toBeNull();
    expect(methods.begin(SCRAM_METHOD, credentials(null, 'unknown'))).toBeNull();
  });

  test('a server nonce comes once', () => {
    const nonces = Array.from({ length: 100 }, () => told(step(begin(), `n,,n=user,r=${CLIENT_NONCE}`)));
    expect(new Set(nonces).size).toBe(100);
    for (const nonce of nonces) expect(nonce).toMatch(/^r=rOprNGfwEbeRWgbNEkqO[A-Za-z0-9+/]{24},/);
  });
});

describe('fails', () => {
  const first = `n,,n=user,r=${CLIENT_NONCE}`;

  test.each([
    ['nothing', null],
    ['an empty message', ''],
    ['a bound channel', `p=tls-unique,,n=user,r=${CLIENT_NONCE}`],
    ['no header', `n=user,r=${CLIENT_NONCE}`],
    ['no name', `n,,n=,r=${CLIENT_NONCE}`],
    ['no nonce', 'n,,n=user'],
    ['an empty nonce', 'n,,n=user,r='],
    ['a nonce with a space', 'n,,n=user,r=a b'],
    ['a mandatory extension', `n,,m=x,n=user,r=${CLIENT_NONCE}`],
    ['a lone =', `n,,n=us=er,r=${CLIENT_NONCE}`],
    ['a lower-case escape', `n,,n=us=2cer,r=${CLIENT_NONCE}`],
    ['a NUL in the name', `n,,n=user\0,r=${CLIENT_NONCE}`],
    ['on behalf of another', `n,a=mallory,n=user,r=${CLIENT_NONCE}`],
    ['a long nonce', `n,,n=user,r=${'x'.repeat(513)}`],
    ['a long message', `n,,n=user,r=${CLIENT_NONCE},x=${'y'.repeat(4_096)}`],
    ['bytes that are no UTF-8', Buffer.from([...Buffer.from('n,,n=us'), 0xff, ...Buffer.from(`,r=${CLIENT_NONCE}`)])],
    ['the last message first', CLIENT_FINAL],
  ])('at the first message: %s', (_, message) => {
    expect(step(begin(), message)).toEqual(FAILED);
  });

  test.each([
    ['nothing', null],
    ['an empty message', ''],
    ['the first message again', first],
    ['a wrong proof', CLIENT_FINAL.replace('dHzb', 'dHzc')],
    ['no proof', `c=biws,r=${BOTH}`],
    ['a short proof', `c=biws,r=${BOTH},p=dHzbZapWIk4=`],
    ['a proof that is not base64', `c=biws,r=${BOTH},p=${'!'.repeat(43)}=`],
    ['half of the nonce', `c=biws,r=${CLIENT_NONCE},p=${PROOF}`],
    ['another nonce', `c=biws,r=${BOTH}x,p=${PROOF}`],
    ['another header', `c=eSws,r=${BOTH},p=${PROOF}`],
    ['something behind the proof', `${CLIENT_FINAL},x=y`],
  ])('at the last message: %s', (_, message) => {
    const exchange = rfc();
    expect(step(exchange, first).kind).toBe('continue');
    expect(step(exchange, message)).toEqual(FAILED);
    // It stays failed: the right answer comes too late.
    expect(step(exchange, CLIENT_FINAL)).toEqual(FAILED);
    expect(step(exchange, first)).toEqual(FAILED);
  });

  test('cut short anywhere, either message', () => {
    for (let length = 0; length < first.length; length++) {
      // A shorter name or nonce is one, too: then the last message does not fit.
      const exchange = rfc();
      if (step(exchange, first.slice(0, length)).kind === 'continue') expect(step(exchange, CLIENT_FINAL)).toEqual(FAILED);
    }
    for (let length = 0; length < CLIENT_FINAL.length; length++) {
      const exchange = rfc();
      step(exchange, first);
      expect(step(exchange, CLIENT_FINAL.slice(0, length))).toEqual(FAILED);
    }
  });

  test('a proof that was right in another exchange', () => {
    const client = new ScramClient('user', 'pencil', { nonce: CLIENT_NONCE });
    const seen = client.final(told(step(begin(), client.first)));
    const exchange = begin();
    step(exchange, client.first);
    expect(step(exchange, seen)).toEqual(FAILED);
    // Nor with the new nonce in the old proof.
    const again = begin();
    const { nonce } = client;
    const fresh = /^r=([^,]+)/.exec(told(step(again, client.first)))![1]!;
    expect(step(again, seen.replace(nonce, fresh))).toEqual(FAILED);
  });

  test('a wrong password, another user with the same password, and the name of nobody', () => {
    expect(run(begin(), new ScramClient('user', 'pencils'))).toEqual(FAILED);
    expect(run(begin(), new ScramClient('nobody', 'pencil'))).toEqual(FAILED);
    // A user whose line has no keys for SCRAM.
    expect(run(begin(), new ScramClient('plain', 'open'))).toEqual(FAILED);
    const exchange = begin();
    const mallory = new ScramClient('mallory', 'pencil', { nonce: CLIENT_NONCE });
    const serverFirst = told(step(exchange, `n,,n=user,r=${CLIENT_NONCE}`));
    expect(step(exchange, mallory.final(serverFirst))).toEqual(FAILED);
  });

  test('a name in CONNECT that is not the one in SCRAM', () => {
    expect(step(begin({}, 'mallory'), first)).toEqual(FAILED);
    expect(run(begin({}, 'user'), new ScramClient('user', 'pencil')).kind).toBe('success');
  });

  test('whatever is changed in either message [fuzz]', () =>
    check(
      fc.property(fc.boolean(), fc.nat(200), fc.nat(255), fc.nat(2), (inFirst, at, byte, how) => {
        const mangle = (message: string) => {
          const bytes = [...Buffer.from(message)];
          const place = at % bytes.length;
          if (how === 0) bytes[place] = byte;
          else if (how === 1) bytes.splice(place, 1);
          else bytes.splice(place, 0, byte);
          return Buffer.from(bytes);
        };
        const exchange = rfc();
        const mangled = mangle(inFirst ? first : CLIENT_FINAL);
        const isSame = mangled.equals(Buffer.from(inFirst ? first : CLIENT_FINAL));
        const started = step(exchange, inFirst ? mangled : first);
        const outcome = started.kind === 'continue' ? step(exchange, inFirst ? CLIENT_FINAL : mangled) : started;
        expect(outcome.kind).toBe(isSame ? 'success' : 'failure');
      }),
      2_000,
    ));

  test('on any bytes at all, without an exception [fuzz]', () =>
    check(
      fc.property(fc.array(fc.uint8Array({ maxLength: 120 }), { minLength: 1, maxLength: 4 }), (messages) => {
        const exchange = begin();
        for (const message of messages) expect(step(exchange, message).kind).toBe('failure');
      }),
      500,
    ));
});

describe('who exists', () => {
  const shown = (from: ScramUsers, name: string) => {
    const { salt, iterations } = from.find(name);
    return { salt: Buffer.from(salt).toString('hex'), iterations };
  };

  test('is not told by salts: a name without keys has one of its own, which stays, in another thread and after a start too', () => {
    const names = ['nobody', 'nobody else', 'plain', ''];
    expect(new Set(names.map((name) => shown(users, name).salt)).size).toBe(names.length);
    for (const name of names) expect(shown(usersOf(text), name)).toEqual(shown(users, name));
    // One user more, behind the first one, changes no salt.
    const more = usersOf(`${text}${RFC_USER.replace('user', 'late')}\n`);
    for (const name of names) expect(shown(more, name).salt).toBe(shown(users, name).salt);
  });

  test('nor by rounds or lengths: those of the decoys are those of the users, as often', () => {
    const counts = new Map<number, number>();
    for (let i = 0; i < 3_000; i++) {
      const { salt, iterations } = users.find(`nobody ${i}`);
      expect(salt.length).toBe(16);
      counts.set(iterations, (counts.get(iterations) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual([4_096, 5_000]);
    // Two of three users have 4,096: 2,000 are expected, with a deviation of 26.
    expect(Math.abs(counts.get(4_096)! - 2_000)).toBeLessThan(260);
  });

  test('a stranger without the file’s keys cannot make the salts', () => {
    const other = usersOf(text.replace(/^user:.*$/m, RFC_USER.replace('wfPLwcE6', 'wfPLwcE7')));
    expect(shown(other, 'nobody').salt).not.toBe(shown(users, 'nobody').salt);
  });
});

describe('again, on the same connection', () => {
  test('the same user may, with a new nonce each time', () => {
    const exchange = begin();
    for (let times = 0; times < 3; times++) expect(run(exchange, new ScramClient('user', 'pencil')).kind).toBe('success');
  });

  test('another user may not, though its password is right', () => {
    const exchange = begin();
    expect(run(exchange, new ScramClient('user', 'pencil')).kind).toBe('success');
    expect(step(exchange, new ScramClient('mallory', 'pencil').first)).toEqual(FAILED);
    expect(step(exchange, new ScramClient('user', 'pencil').first)).toEqual(FAILED);
  });
});
