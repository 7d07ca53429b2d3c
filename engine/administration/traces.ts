// Traces of clients that run now: each with a reason and an end, both in the audit log before anything is seen, and its end too. One that nobody looks at ends early.
import type { Clock } from '../clock.ts';
import type { Random } from '../random.ts';
import type { TracedMessage } from '../sessions/tracer.ts';
import { ApiError } from './api-error.ts';
import { type Audit, AuditEvent, isReason, REASON_LENGTH_MAX } from './audit.ts';
import { base32 } from './pseudonym.ts';
import type { AskAll } from './questions.ts';
import type { TracedByShard } from './trace-shard.ts';

export interface TraceBegun {
  /** Names the trace, here and in the audit log. */
  readonly trace: string;
  /** Pseudonym of the client. */
  readonly subject: string;
  /** ISO 8601, UTC: when it ends by itself. */
  readonly until: string;
}

export interface TraceTaken {
  /** In the order in which they were seen. */
  readonly messages: readonly TracedMessage[];
  /** Seen, and not kept for want of room. */
  readonly lost: number;
  readonly isOver: boolean;
}

/** Longest trace in seconds, and most of them at once. */
export const TRACE_MAX_S = 3_600;
const TRACES_MAX = 4;
/** A trace that nobody has looked at for so long ends, and what is left of one that is over goes. */
const UNSEEN_MAX_MS = 60_000;
const ID_BYTES = 10;

interface Trace extends TraceBegun {
  readonly client: string;
  /** Null until it ends; then what was left at the end, once the shards have said so. */
  ending: Promise<TraceTaken> | null;
  cancelEnd: () => void;
  cancelUnseen: () => void;
}

export interface TracesParts {
  readonly askAll: AskAll;
  readonly audit: Audit;
  readonly clock: Clock;
  readonly random: Random;
  pseudonym(clientId: string): string;
}

export class Traces {
  readonly #parts: TracesParts;
  readonly #traces = new Map<string, Trace>();

  constructor(parts: TracesParts) {
    this.#parts = parts;
  }

  /** @throws ApiError without a reason or an end, for a client that is traced, when there are as many traces as may be, and while the audit log cannot be written */
  async begin(client: string, reason: string, forS: number): Promise<TraceBegun> {
    const { askAll, audit, clock, random, pseudonym } = this.#parts;
    if (!isReason(reason)) throw new ApiError(400, `a trace needs a reason: one line of at most ${REASON_LENGTH_MAX} characters`);
    if (!Number.isSafeInteger(forS) || forS < 1 || forS > TRACE_MAX_S)
      throw new ApiError(400, `a trace needs an end: after 1 to ${TRACE_MAX_S} seconds`);
    const running = [...this.#traces.values()].filter(({ ending }) => ending === null);
    if (running.some((one) => one.client === client)) throw new ApiError(409, 'this client is being traced already');
    if (running.length >= TRACES_MAX) throw new ApiError(409, `there are ${TRACES_MAX} traces already, the most at one time`);
    if (audit.isFailing) throw unrecorded();
    const begun = {
      trace: base32(random.bytes(ID_BYTES)),
      subject: pseudonym(client),
      until: new Date(clock.wallMs() + forS * 1_000).toISOString(),
    };
    const trace: Trace = { ...begun, client, ending: null, cancelEnd: () => {}, cancelUnseen: () => {} };
    this.#traces.set(trace.trace, trace);
    audit.record(AuditEvent.TRACE_BEGIN, { trace: trace.trace, subject: trace.subject, seconds: forS, reason });
    await audit.settle();
    if (trace.ending === null && audit.isFailing) await this.#discard(trace, 'unrecorded');
    // A stop of the broker, or an erasure, has come in between.
    if (trace.ending !== null)
      throw audit.isFailing ? unrecorded() : new ApiError(409, 'the trace was ended before it began; ask again');
    trace.cancelEnd = clock.after(forS * 1_000, () => void this.#end(trace, 'time').catch(() => {}));
    this.#watch(trace);
    await askAll({ kind: 'trace-begin', client });
    return begun;
  }

  /** What was seen since the last call. @throws ApiError when there is no such trace */
  async take(id: string): Promise<TraceTaken> {
    const trace = this.#find(id);
    this.#watch(trace);
    if (trace.ending === null)
      return { ...merge(await this.#parts.askAll({ kind: 'trace-take', client: trace.client })), isOver: false };
    const rest = await trace.ending;
    this.#forget(trace);
    return rest;
  }

  /** Ends a trace before its time, and gives what was not taken. @throws ApiError when there is no such trace */
  async end(id: string): Promise<TraceTaken> {
    const trace = this.#find(id);
    const rest = await this.#end(trace, 'asked');
    this.#forget(trace);
    return rest;
  }

  /** Ends the traces of a client, or all of them, and forgets what they saw. */
  async erase(client: string | null): Promise<void> {
    for (const trace of [...this.#traces.values()]) {
      if (client === null || trace.client === client) await this.#discard(trace, 'erased');
    }
  }

  /** The broker stops: everything ends. */
  async close(): Promise<void> {
    for (const trace of [...this.#traces.values()]) await this.#discard(trace, 'stop');
  }

  #find(id: string): Trace {
    const trace = this.#traces.get(id);
    if (trace === undefined) throw new ApiError(404, 'there is no such trace; it has ended');
    return trace;
  }

  #end(trace: Trace, why: string): Promise<TraceTaken> {
    trace.ending ??= this.#endIn(trace, why);
    return trace.ending;
  }

  async #endIn(trace: Trace, why: string): Promise<TraceTaken> {
    trace.cancelEnd();
    const { askAll, audit } = this.#parts;
    const answers = await askAll({ kind: 'trace-end', client: trace.client });
    const messages = answers.reduce((sum, { seen }) => sum + seen, 0);
    audit.record(AuditEvent.TRACE_END, { trace: trace.trace, subject: trace.subject, why, messages });
    return { ...merge(answers), isOver: true };
  }

  /** Ends a trace, of which nothing is given to anybody. */
  async #discard(trace: Trace, why: string): Promise<void> {
    try {
      await this.#end(trace, why);
    } finally {
      this.#forget(trace);
    }
  }

  #watch(trace: Trace): void {
    trace.cancelUnseen();
    trace.cancelUnseen = this.#parts.clock.after(UNSEEN_MAX_MS, () => {
      void this.#end(trace, 'unseen')
        .catch(() => {})
        .then(() => this.#forget(trace));
    });
  }

  #forget(trace: Trace): void {
    trace.cancelUnseen();
    this.#traces.delete(trace.trace);
  }
}

function unrecorded(): ApiError {
  return new ApiError(503, 'the audit log cannot be written, and nobody is traced unrecorded; see the log of the broker');
}

function merge(answers: readonly TracedByShard[]): Pick<TraceTaken, 'messages' | 'lost'> {
  const messages = answers.flatMap((answer) => answer.messages).sort((a, b) => a.atMs - b.atMs);
  return { messages, lost: answers.reduce((sum, { lost }) => sum + lost, 0) };
}
