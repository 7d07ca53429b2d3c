// Traces among what can go wrong around them: a disk that is slow or does not take their record, an end that comes while they end; what they keep at most; an answer that cannot be sent.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeEach, expect, test } from 'vitest';
import type { Administration } from '../../engine/administration/administration.ts';
import { apiListener } from '../../engine/administration/api.ts';
import { type Audit, noAudit } from '../../engine/administration/audit.ts';
import type { AskAll, Question } from '../../engine/administration/questions.ts';
import type { TracedByShard } from '../../engine/administration/trace-shard.ts';
import { Traces } from '../../engine/administration/traces.ts';
import { createLog } from '../../engine/log.ts';
import { type TracedMessage, Tracer } from '../../engine/sessions/tracer.ts';
import { MessageView } from '../../protocol/publish.ts';
import { SeededRandom } from '../seeded-random.ts';
import { VirtualClock } from '../virtual-clock.ts';

const MESSAGE = { atMs: 1, topic: 'a' } as TracedMessage;

let clock: VirtualClock;
/** What the shards were asked, and the events that were recorded. */
let asked: Question['kind'][];
let recorded: string[];
let isFailing: boolean;
let settling: { readonly promise: Promise<void>; resolve(): void };
let answering: { readonly promise: Promise<void>; resolve(): void };
let traces: Traces;

function gate(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

beforeEach(() => {
  clock = new VirtualClock();
  asked = [];
  recorded = [];
  isFailing = false;
  settling = gate();
  answering = gate();
  const audit: Audit = {
    ...noAudit,
    get isFailing() {
      return isFailing;
    },
    record: (event, fields) => void recorded.push(`${event} ${fields?.['why'] ?? ''}`.trim()),
    settle: () => settling.promise,
  };
  const askAll = async ({ kind }: Question) => {
    asked.push(kind);
    if (kind === 'trace-begin') return [null];
    await answering.promise;
    const answer: TracedByShard = { messages: [MESSAGE], lost: 2, seen: 3 };
    return [answer];
  };
  traces = new Traces({ askAll: askAll as AskAll, audit, clock, random: new SeededRandom(1), pseudonym: (client) => client });
});

test('a record that is long on its way to the disk: the trace ends after it has begun', async () => {
  const beginning = traces.begin('c', 'r', 1);
  clock.advance(5_000);
  expect(asked).toEqual([]);
  settling.resolve();
  const { trace } = await beginning;
  expect(asked).toEqual(['trace-begin']);
  answering.resolve();
  clock.advance(1_000);
  expect(asked).toEqual(['trace-begin', 'trace-end']);
  expect(await traces.take(trace)).toMatchObject({ messages: [MESSAGE], isOver: true });
});

test('one that is ended before it has begun never begins', async () => {
  answering.resolve();
  const beginning = traces.begin('c', 'r', 1);
  await traces.erase('another');
  await traces.erase('c');
  settling.resolve();
  await expect(beginning).rejects.toThrow('the trace was ended before it began');
  expect(asked).toEqual(['trace-end']);
  expect(recorded).toEqual(['trace-begin', 'trace-end erased']);
});

test('whoever ends it while it ends, or takes from it, gets what was left', async () => {
  settling.resolve();
  const { trace } = await traces.begin('c', 'r', 1);
  clock.advance(1_000);
  const all = [traces.end(trace), traces.end(trace), traces.take(trace)];
  answering.resolve();
  for (const taken of await Promise.all(all)) expect(taken).toEqual({ messages: [MESSAGE], lost: 2, isOver: true });
  expect(asked).toEqual(['trace-begin', 'trace-end']);
  await expect(traces.take(trace)).rejects.toThrow('there is no such trace');
});

test('nobody is traced while the audit log cannot be written', async () => {
  answering.resolve();
  isFailing = true;
  await expect(traces.begin('c', 'r', 1)).rejects.toThrow('the audit log cannot be written');
  expect(recorded).toEqual([]);
  isFailing = false;
  const beginning = traces.begin('c', 'r', 1);
  isFailing = true;
  settling.resolve();
  await expect(beginning).rejects.toThrow('the audit log cannot be written');
  expect(asked).not.toContain('trace-begin');
  expect(recorded).toEqual(['trace-begin', 'trace-end unrecorded']);
  isFailing = false;
  await traces.begin('c', 'r', 1);
});

test('what waits in a shard is bounded in messages and in bytes of topics; the rest counts as lost', () => {
  const tracer = new Tracer(() => 0);
  const view = new MessageView();
  const note = (topicBytes: number) => {
    view.topic = new Uint8Array(topicBytes).fill(97);
    view.topicTo = topicBytes;
    tracer.note('to client', view, 0, 0, 0);
  };
  for (let count = 0; count < 20; count++) note(65_535);
  const large = tracer.take();
  expect([large.messages.length, large.lost]).toEqual([16, 4]);
  for (let count = 0; count < 5_000; count++) note(1);
  const many = tracer.take();
  expect([many.messages.length, many.lost, tracer.seen]).toEqual([4_096, 904, 5_020]);
});

test('an answer that cannot be put into JSON ends its own connection, and nothing else', async () => {
  const lines: string[] = [];
  const log = createLog('error', (line) => lines.push(line), Date.now);
  const server = createServer(
    apiListener({ log, isStopping: () => false, traces: { take: async () => 1n } } as unknown as Administration),
  );
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await expect(fetch(`http://127.0.0.1:${port}/v1/traces/x`)).rejects.toThrow('fetch failed');
  expect(lines).toEqual([expect.stringMatching(/ error an answer to an admin request could not be sent$/)]);
  expect((await fetch(`http://127.0.0.1:${port}/v1/nothing`)).status).toBe(404);
  await new Promise((done) => server.close(done));
});
