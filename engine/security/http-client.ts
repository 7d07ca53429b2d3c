// Asks one URL, for those who must wait for an answer before a client comes in: few requests at once, few that wait, one deadline for the whole of it, answers of bounded size, no redirects.
// What goes wrong is one error that says nothing of what was asked.
import { X509Certificate } from 'node:crypto';
import { type IncomingMessage, Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import type { Clock } from '../clock.ts';
import { readTextFile } from './text-file.ts';

export interface HttpClientOptions {
  readonly url: string;
  readonly timeoutMs: number;
  readonly answerBytesMax: number;
  readonly clock: Clock;
  /** PEM; null: the authorities of the system. */
  readonly ca: string | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly atOnceMax?: number;
  readonly waitingMax?: number;
}

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

/** No answer that could be used. `cause` is a word: a code of the system, or what was wrong. */
export class HttpProblem extends Error {
  readonly isBusy: boolean;

  constructor(word: string, isBusy = false) {
    super(word);
    this.isBusy = isBusy;
  }
}

export interface HttpClient {
  /** Sends `body` as JSON by POST; null: GET. Rejects with HttpProblem. */
  ask(body: unknown): Promise<HttpAnswer>;
  /** Lets the connections go, each as soon as nothing is asked on it. */
  close(): void;
  /** Ends them at once; who waits for an answer gets none. */
  destroy(): void;
}

const AT_ONCE_MAX = 64;
const WAITING_MAX = 1_024;

export function createHttpClient(options: HttpClientOptions): HttpClient {
  const { url, timeoutMs, answerBytesMax, clock, headers, atOnceMax = AT_ONCE_MAX, waitingMax = WAITING_MAX } = options;
  const isTls = url.startsWith('https:');
  const kept = { keepAlive: true, maxSockets: atOnceMax, maxFreeSockets: atOnceMax };
  const agent = isTls ? new TlsAgent({ ...kept, ...(options.ca === null ? {} : { ca: options.ca }) }) : new PlainAgent(kept);
  const request = isTls ? tlsRequest : plainRequest;
  let asked = 0;
  let isClosed = false;

  function send(payload: string | null, abandon: AbortSignal): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const method = payload === null ? 'GET' : 'POST';
      const sent = { accept: 'application/json', ...headers, ...(payload === null ? {} : describe(payload)) };
      const asking = request(url, { agent, method, headers: sent, signal: abandon });
      asking.on('response', (response) => read(response, answerBytesMax).then(resolve, reject));
      asking.on('error', (error: NodeJS.ErrnoException) => {
        // A connection that was kept open and that the other side has closed meanwhile: nothing was asked yet.
        if (asking.reusedSocket && error.code === 'ECONNRESET') send(payload, abandon).then(resolve, reject);
        else reject(new HttpProblem(abandon.aborted ? 'no answer in time' : (error.code ?? 'failed')));
      });
      asking.end(payload ?? undefined);
    });
  }

  return {
    async ask(body) {
      if (asked >= atOnceMax + waitingMax) throw new HttpProblem('too many ask at once', true);
      asked++;
      const deadline = new AbortController();
      const cancel = clock.after(timeoutMs, () => deadline.abort());
      try {
        return await send(body === null ? null : JSON.stringify(body), deadline.signal);
      } finally {
        cancel();
        asked--;
        if (isClosed && asked === 0) agent.destroy();
      }
    },
    close() {
      isClosed = true;
      if (asked === 0) agent.destroy();
    },
    destroy: () => agent.destroy(),
  };
}

function describe(payload: string): Readonly<Record<string, string | number>> {
  return { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) };
}

async function read(response: IncomingMessage, bytesMax: number): Promise<HttpAnswer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      bytes += part.length;
      if (bytes > bytesMax) throw new HttpProblem('the answer is too long');
      parts.push(part);
    }
  } catch (error) {
    throw error instanceof HttpProblem ? error : new HttpProblem('the answer broke off');
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() };
}

/** Reads a file of authorities. @throws Error in one line with the path */
export function loadAuthorities(path: string): string {
  const pem = readTextFile(path).lines.join('\n');
  try {
    new X509Certificate(pem);
  } catch {
    throw new Error(`${path}: the file holds no PEM certificate`);
  }
  return pem;
}
