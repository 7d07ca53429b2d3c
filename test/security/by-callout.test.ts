// The HTTP callout, against real servers on loopback: what is asked, what each answer means, and that everything else lets nobody in.
import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../engine/clock.ts';
import type { Credentials } from '../../engine/gate.ts';
import { TransportKind } from '../../engine/link.ts';
import type { Log } from '../../engine/log.ts';
import { byCallout, loadHeader } from '../../engine/security/by-callout.ts';
import { createHttpClient, type HttpClient, type HttpClientOptions, loadAuthorities } from '../../engine/security/http-client.ts';
import { NOT_MINE } from '../../engine/security/method.ts';
import { Reason } from '../../protocol/packet.ts';
import { certificates } from '../end-to-end/listeners.ts';
import { until } from '../network/temporary.ts';
import { messageOf, temporaryFile } from './temporary.ts';

interface Asked {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

type Answer = (response: ServerResponse, asked: Asked) => void;

const open: { server: Server; client: HttpClient }[] = [];
afterEach(async () => {
  for (const { server, client } of open.splice(0)) {
    client.destroy();
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});

const json =
  (value: unknown, status = 200): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));

async function callout(
  answer: Answer,
  options: Partial<HttpClientOptions> & { readonly sendAddress?: boolean } = {},
  isTls = false,
) {
  const asked: Asked[] = [];
  const sockets = new Set<Socket>();
  const logged: string[] = [];
  const handle = (request: IncomingMessage, response: ServerResponse) =>
    void text(request).then((body) => {
      const one = { method: request.method!, headers: request.headers, body: JSON.parse(body) as unknown };
      asked.push(one);
      answer(response, one);
    });
  const { serverCert, serverKey } = certificates;
  const server = isTls
    ? createTlsServer({ cert: readFileSync(serverCert), key: readFileSync(serverKey) }, handle)
    : createServer(handle);
  server.on('connection', (socket: Socket) => sockets.add(socket));
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  const url = `${isTls ? 'https' : 'http'}://127.0.0.1:${port}/mqtt`;
  const settings = { url, timeoutMs: 5_000, answerBytesMax: 65_536, clock: systemClock, ca: null, headers: {} };
  const client = createHttpClient({ ...settings, ...options });
  open.push({ server: server as Server, client });
  const say = (message: string) => logged.push(message);
  const log: Log = { error: say, warn: say, info: say, debug: say };
  const method = byCallout({ client, sendAddress: options.sendAddress ?? false, log });
  return { method, client, server: server as Server, asked, sockets, logged };
}

function credentials(username: string | null = 'alice', password: Uint8Array | null = Buffer.from('pässword')): Credentials {
  const peer = {
    transport: TransportKind.MEMORY,
    listener: 'tcp',
    address: '192.0.2.7',
    port: 1,
    secure: true,
    certificate: null,
  };
  return { clientId: 'c-1', username, password, peer };
}

const UNAVAILABLE = { ok: false, reason: Reason.SERVER_UNAVAILABLE };

describe('the question', () => {
  test('is a POST with what the client offers, and no address', async () => {
    const { method, asked } = await callout(json({ result: 'allow' }), { headers: { Authorization: 'Bearer x' } });
    await method.answer(credentials(), true);
    expect(asked[0]).toMatchObject({
      method: 'POST',
      headers: { authorization: 'Bearer x', 'content-type': 'application/json' },
    });
    expect(asked[0]!.body).toEqual({ client_id: 'c-1', username: 'alice', password: 'pässword', listener: 'tcp' });
  });

  test('tells the address where it is wanted, and a password that is no text in base64', async () => {
    const { method, asked } = await callout(json({ result: 'allow' }), { sendAddress: true });
    await method.answer(credentials(null, Uint8Array.of(0xff, 0)), true);
    const body = {
      client_id: 'c-1',
      username: null,
      password: null,
      password_base64: '/wA=',
      listener: 'tcp',
      address: '192.0.2.7',
    };
    expect(asked[0]!.body).toEqual(body);
  });

  test('goes by a connection that is kept', async () => {
    const { method, sockets } = await callout(json({ result: 'allow' }));
    for (let i = 0; i < 5; i++) expect(await method.answer(credentials(), true)).toMatchObject({ ok: true });
    expect(sockets.size).toBe(1);
  });

  test('is asked anew when a kept connection has been closed', async () => {
    const { method, sockets, asked } = await callout(json({ result: 'allow' }));
    for (let i = 0; i < 3; i++) {
      expect(await method.answer(credentials(), true)).toMatchObject({ ok: true });
      for (const socket of sockets) socket.resetAndDestroy();
    }
    expect(asked.length).toBe(3);
  });
});

describe('the answer', () => {
  const acl = { publish: ['a/%c'], subscribe: ['a/#'] };
  test.each([
    [{ result: 'allow' }, { ok: true, username: 'alice', roles: [], grants: null }],
    [
      { result: 'allow', roles: ['r'], acl },
      { ok: true, username: 'alice', roles: ['r'], grants: acl },
    ],
    [{ result: 'deny' }, { ok: false, reason: Reason.NOT_AUTHORIZED }],
    [
      { result: 'deny', roles: ['r'] },
      { ok: false, reason: Reason.NOT_AUTHORIZED },
    ],
    [{ result: 'ignore' }, NOT_MINE],
    [{ result: 'allowed' }, UNAVAILABLE],
    [{ result: true }, UNAVAILABLE],
    [{}, UNAVAILABLE],
    [null, UNAVAILABLE],
    [['allow'], UNAVAILABLE],
    ['allow', UNAVAILABLE],
    [{ result: 'allow', roles: 'admin' }, UNAVAILABLE],
    [{ result: 'allow', acl: { publish: ['a/#/b'] } }, UNAVAILABLE],
    [{ result: 'allow', acl: { deny: ['a'] } }, UNAVAILABLE],
  ])('%j', async (body, outcome) => {
    const { method } = await callout(json(body));
    expect(await method.answer(credentials(), true)).toEqual(outcome);
  });

  test.each([201, 204, 301, 307, 401, 403, 404, 500, 503])(
    'status %i lets nobody in, and is not followed anywhere',
    async (status) => {
      const { method, asked } = await callout((response) =>
        response.writeHead(status, { location: '/elsewhere' }).end(status === 204 ? undefined : '{"result":"allow"}'),
      );
      expect(await method.answer(credentials(), true)).toEqual(UNAVAILABLE);
      expect(asked.length).toBe(1);
    },
  );

  test.each<readonly [string, Answer]>([
    ['no JSON', (response) => response.end('allow')],
    ['nothing', (response) => response.end()],
    ['too long', (response) => response.end(JSON.stringify({ result: 'allow', padding: 'x'.repeat(70_000) }))],
    [
      'broken off',
      (response) => void response.writeHead(200, { 'content-length': 100 }).write('{"result":"allow"}', () => response.destroy()),
    ],
    ['a closed connection', (response) => response.destroy()],
    ['not HTTP', (response) => response.socket!.end('hello\r\n\r\n')],
  ])('%s lets nobody in', async (_what, answer) => {
    const { method } = await callout(answer);
    expect(await method.answer(credentials(), true)).toEqual(UNAVAILABLE);
  });
});

describe('a service that is down', () => {
  test('lets nobody in, and is logged once, without a word about the client', async () => {
    let isBroken = true;
    const { method, logged } = await callout((response, asked) =>
      json({ result: 'allow' }, isBroken ? 500 : 200)(response, asked),
    );
    for (let i = 0; i < 3; i++) expect(await method.answer(credentials(), true)).toEqual(UNAVAILABLE);
    isBroken = false;
    expect(await method.answer(credentials(), true)).toMatchObject({ ok: true });
    expect(logged).toEqual([
      'auth.http_url does not answer, and nobody comes in by it: status 500',
      'auth.http_url answers again',
    ]);
  });

  test('an answer that is none is logged once, however often a client brings it about between good ones', async () => {
    const answers: Answer[] = [json({ result: 'who?' }), json({}, 404), json({ result: 'allow' })];
    let at = 0;
    const { method, logged } = await callout((response, asked) => answers[at++ % 3]!(response, asked));
    for (let i = 0; i < 9; i++) await method.answer(credentials(), true);
    expect(logged).toHaveLength(1);
    expect(logged[0]).toMatch(/^auth\.http_url gives an answer that is none, and who is asked about does not come in: /);
  });

  test('that does not listen', async () => {
    const { method, server, logged } = await callout(json({ result: 'allow' }));
    await new Promise((closed) => server.close(closed));
    expect(await method.answer(credentials(), true)).toEqual(UNAVAILABLE);
    expect(logged[0]).toMatch(/ECONNREFUSED$/);
  });

  test.each<readonly [string, Answer]>([
    ['says nothing', () => {}],
    ['never comes to an end', (response) => void response.writeHead(200).write('{"result":')],
  ])('that %s is waited for as long as the configuration says', async (_what, answer) => {
    const { method, logged } = await callout(answer, { timeoutMs: 50 });
    expect(await method.answer(credentials(), true)).toEqual(UNAVAILABLE);
    expect(logged).toHaveLength(1);
  });

  test('that is slow is asked by so many at once, so many wait, and the rest is told to come later', async () => {
    const waiting: ServerResponse[] = [];
    const { method, asked } = await callout((response) => void waiting.push(response), { atOnceMax: 2, waitingMax: 3 });
    const outcomes = Array.from({ length: 7 }, () => method.answer(credentials(), true));
    expect(await Promise.all(outcomes.slice(5))).toEqual(Array(2).fill({ ok: false, reason: Reason.SERVER_BUSY }));
    await until('two are asked', () => waiting.length === 2);
    expect(asked.length).toBe(2);
    let answered = 0;
    for (const outcome of outcomes.slice(0, 5)) void Promise.resolve(outcome).then(() => answered++);
    await until('all are answered', () => {
      for (const response of waiting.splice(0)) response.end('{"result":"deny"}');
      return answered === 5;
    });
    expect(asked.length).toBe(5);
  });
});

test('who is replaced goes on with what is under way, and keeps nothing open', async () => {
  const waiting: ServerResponse[] = [];
  const { method, client, sockets } = await callout((response) => void waiting.push(response));
  const outcome = method.answer(credentials(), true);
  await until('it is asked', () => waiting.length === 1);
  client.close();
  waiting[0]!.end('{"result":"allow"}');
  expect(await outcome).toMatchObject({ ok: true });
  await until('the connection is closed', () => [...sockets].every((socket) => socket.destroyed || socket.readableEnded));
});

describe('over TLS', () => {
  test('the certificate is verified, by the authorities of the configuration', async () => {
    const trusting = await callout(json({ result: 'allow' }), { ca: loadAuthorities(certificates.ca) }, true);
    expect(await trusting.method.answer(credentials(), true)).toMatchObject({ ok: true });
    const other = await callout(json({ result: 'allow' }), {}, true);
    expect(await other.method.answer(credentials(), true)).toEqual(UNAVAILABLE);
    expect(other.asked).toEqual([]);
  });
});

describe('files', () => {
  test('a header is one line', () => {
    expect(loadHeader(temporaryFile('Authorization: Bearer a:b\n'))).toEqual({ Authorization: 'Bearer a:b' });
    for (const broken of ['', 'Authorization', ': x', 'A:', 'A: b\nC: d', 'A b: c', 'A: \u0001'])
      expect(messageOf(() => loadHeader(temporaryFile(broken)))).toMatch(/one line, written as Name: value/);
  });

  test('authorities are PEM', () => {
    expect(messageOf(() => loadAuthorities(temporaryFile('none')))).toMatch(/no PEM certificate/);
  });
});
