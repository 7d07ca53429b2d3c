// A broker with an admin port, and requests to it.
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { afterAll, beforeAll } from 'vitest';
import { type RunningBroker, startBroker } from '../broker.ts';
import { temporaryFile } from '../security/temporary.ts';

/** Not a secret: of brokers that live for one test file. */
export const TOKEN = 'a-token-of-the-tests-that-is-long-enough';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  json<T = Record<string, unknown>>(): T;
}

export interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** What the TLS server's certificate is checked against; absent: no TLS. */
  readonly ca?: string;
  /** UNIX socket to ask instead. */
  readonly socketPath?: string;
}

/** One request, on a connection of its own. */
export function ask(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body, ca, socketPath }: Ask = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const where = socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath };
    const options = { ...where, path, method, headers, agent: false } as const;
    const request = ca === undefined ? httpRequest(options) : httpsRequest({ ...options, ca });
    request.once('error', reject);
    request.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('error', reject);
      response.once('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, text, json: <T>() => JSON.parse(text) as T }),
      );
    });
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

export interface AdminRig {
  readonly broker: RunningBroker;
  /** A request with the token. */
  ask(path: string, ask?: Ask): Promise<Answer>;
}

/** Call once, at the top of a test file. */
export function useAdmin(
  set: readonly string[] | (() => readonly string[]) = [],
  options: Parameters<typeof startBroker>[1] = {},
): AdminRig {
  let broker: RunningBroker | null = null;
  beforeAll(async () => {
    const more = typeof set === 'function' ? set() : set;
    broker = await startBroker(['admin.port=0', `admin.token_file=${temporaryFile(TOKEN)}`, ...more], options);
  });
  afterAll(async () => {
    await broker?.stop();
  });
  const rig: AdminRig = {
    get broker() {
      if (broker === null) throw new Error('the broker runs only inside tests');
      return broker;
    },
    ask: (path, { headers, ...rest } = {}) =>
      ask(rig.broker.admin, path, { ...rest, headers: { authorization: `Bearer ${TOKEN}`, ...headers } }),
  };
  return rig;
}
