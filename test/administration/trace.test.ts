// A trace shows topics and sizes of one client's messages both ways, for a reason and for a time, and leaves its mark in the audit log; no payload is ever in it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { TraceBegun, TraceTaken } from '../../engine/administration/traces.ts';
import type { TracedMessage } from '../../engine/sessions/tracer.ts';
import { run, start } from '../cli/command-line.ts';
import { Subjects } from './subjects.ts';

describe.each([1, 3])('with %i shards', (threads) => {
  let subjects: Subjects;
  const begin = (body: unknown) => subjects.ask<TraceBegun>('POST', '/v1/traces', body);
  const take = (trace: string) => subjects.ask<TraceTaken>('GET', `/v1/traces/${trace}`);
  const end = (trace: string) => subjects.ask<TraceTaken>('DELETE', `/v1/traces/${trace}`);
  const seen = ({ messages }: TraceTaken) =>
    messages.map(({ direction, topic, qos, payloadBytes }) => [direction, topic, qos, payloadBytes]);

  beforeAll(async () => {
    subjects = await Subjects.start(threads);
  });
  afterAll(() => subjects.stop());

  test('what a client sends and gets, at every QoS, on the connections that it makes meanwhile too; and nobody else', async () => {
    const client = await subjects.connect('traced');
    await client.subscribe('to/#');
    await (await subjects.connect('neighbour')).subscribe('#');
    const { trace, subject } = await begin({ client: subjects.text('traced.client'), reason: 'a ticket', forS: 60 });
    expect(subject).toMatch(/^[a-z2-7]{26}$/);
    for (const qos of [0, 1, 2] as const) await client.publish({ topic: `from/${qos}`, payload: 'x'.repeat(10 + qos), qos });
    await subjects.publish({ topic: 'to/0', payload: 'four', qos: 0 }, { topic: 'to/1', payload: 'seventy', qos: 1 });
    await client.got(2);
    client.cut();
    await subjects.publish({
      topic: 'to/2',
      payload: subjects.text('traced.payload'),
      qos: 2,
      properties: { contentType: 'text' },
    });
    const again = await subjects.connect('traced');
    await again.got(1);
    await again.publish({ topic: 'from/again', payload: 'y', qos: 0 });
    await again.publish({ topic: 'from/again', payload: 'y', qos: 1 });
    const taken = await take(trace);
    expect(taken).toMatchObject({ isOver: false, lost: 0 });
    const all = seen(taken);
    const payloadBytes = subjects.text('traced.payload').length;
    for (const one of [
      ['from client', 'from/0', 0, 10],
      ['from client', 'from/1', 1, 11],
      ['from client', 'from/2', 2, 12],
      ['to client', 'to/0', 0, 4],
      ['to client', 'to/1', 1, 7],
      ['to client', 'to/2', 2, payloadBytes],
      ['from client', 'from/again', 0, 1],
      ['from client', 'from/again', 1, 1],
    ])
      expect(all).toContainEqual(one);
    expect(all).toHaveLength(8);
    expect(JSON.stringify(taken)).not.toContain(subjects.text('traced.payload'));
    expect(seen(await end(trace))).toEqual([]);
    await again.publish({ topic: 'from/later', payload: 'z' });
    await expect(take(trace)).rejects.toThrow('404: there is no such trace');
    await again.leave(0);
  });

  test('no trace without a reason and an end, and not two of one client', async () => {
    const client = 'anybody';
    await expect(begin({ client, forS: 60 })).rejects.toThrow('400: a trace needs a reason');
    await expect(begin({ client, reason: 'two\nlines', forS: 60 })).rejects.toThrow('400: a trace needs a reason');
    for (const forS of [0, -1, 1.5, 3_601, undefined])
      await expect(begin({ client, reason: 'r', forS })).rejects.toThrow('400: a trace needs an end');
    await expect(begin({ reason: 'r', forS: 60 })).rejects.toThrow('400: the body must name a client');
    const { trace } = await begin({ client, reason: 'r', forS: 60 });
    await expect(begin({ client, reason: 'r', forS: 60 })).rejects.toThrow('409: this client is being traced already');
    const others = await Promise.all(['b', 'c', 'd'].map((name) => begin({ client: name, reason: 'r', forS: 60 })));
    await expect(begin({ client: 'e', reason: 'r', forS: 60 })).rejects.toThrow('409: there are 4 traces already');
    for (const one of [trace, ...others.map((other) => other.trace)]) await end(one);
  });

  test('an erasure ends it, and what it saw is gone: of the client; by user or topic, of everybody', async () => {
    const client = await subjects.connect('erased');
    const begun = async (name: string) => {
      const { trace } = await begin({ client: subjects.text(`${name}.client`), reason: 'r', forS: 60 });
      return trace;
    };
    for (const [body, isSpared] of [
      [{ client: subjects.text('other.client') }, true],
      [{ retained: 'erased/#' }, true],
      [{ topic: 'erased/#' }, false],
      [{ user: subjects.text('other.username') }, false],
      [{ client: subjects.text('erased.client') }, false],
    ] as const) {
      const trace = await begun('erased');
      await client.publish({ topic: 'erased/1', payload: 'a' });
      await subjects.ask('POST', '/v1/erase', body);
      if (isSpared) expect(seen(await end(trace))).toEqual([['from client', 'erased/1', 1, 1]]);
      else await expect(take(trace)).rejects.toThrow('404: there is no such trace');
    }
    const log = readFileSync(join(subjects.place.folder, 'audit.log'), 'utf8');
    expect(log.match(/"why":"erased"/g)).toHaveLength(3);
  });

  test('it ends by itself, and both ends are in the audit log under a pseudonym', async () => {
    const client = await subjects.connect('short');
    const { trace, subject } = await begin({ client: subjects.text('short.client'), reason: 'to see it end', forS: 1 });
    await client.publish({ topic: 'short/1', payload: 'a' });
    const events = () =>
      readFileSync(join(subjects.place.folder, 'audit.log'), 'utf8')
        .split('\n')
        .filter((line) => line.includes(trace));
    await vi.waitFor(() => expect(events()).toHaveLength(2), 10_000);
    await client.publish({ topic: 'short/2', payload: 'b' });
    const taken = await take(trace);
    expect(taken.isOver).toBe(true);
    expect(seen(taken)).toEqual([['from client', 'short/1', 1, 1]]);
    const [begun, ended] = events().map((line) => JSON.parse(line) as { event: string; fields: object });
    expect(begun).toMatchObject({ event: 'trace-begin', fields: { trace, subject, seconds: 1, reason: 'to see it end' } });
    expect(ended).toMatchObject({ event: 'trace-end', fields: { trace, subject, why: 'time', messages: 1 } });
    expect(events().join()).not.toContain(subjects.text('short.client'));
  });
});

test('the command shows lines as they come, and ends with Ctrl-C or when no broker runs', async () => {
  const subjects = await Subjects.start(1);
  const client = await subjects.connect('typed');
  const args = ['trace', '--client', subjects.text('typed.client'), '--reason', 'a test', '--data', subjects.place.folder];
  const child = start([...args, '--for', '1h', '--json']);
  await vi.waitFor(async () => {
    await client.publish({ topic: 'typed/\u001b[31m', payload: 'red' });
    expect(child.stdout).toContain('\n');
  }, 20_000);
  child.kill('SIGINT');
  await child.exited;
  expect([child.exit?.code, child.stderr]).toEqual([0, '']);
  const message = JSON.parse(child.stdout.split('\n')[0]!) as TracedMessage;
  expect(message).toMatchObject({ direction: 'from client', topic: 'typed/\u001b[31m', payloadBytes: 3 });
  expect(child.stdout).not.toContain('\u001b');
  expect(child.stdout).not.toContain('"red"');
  expect((await run([...args, '--for', '10'])).exit?.code).toBe(2);
  await subjects.stop();
  const stopped = await run([...args, '--for', '1m']);
  expect([stopped.exit?.code, stopped.stderr]).toEqual([1, expect.stringContaining('no broker runs on this data directory')]);
});
