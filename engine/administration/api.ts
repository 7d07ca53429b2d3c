// The admin API: HTTP and JSON, on the socket in the data directory. A route is a line of data with a handler; each file named `routes-…` has those of one subject, and `routes`
// joins them. No route can read a payload.
//
// A path names its parameters in braces (`/v1/clients/{client}`), as OpenAPI does.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import type { Administration } from './administration.ts';
import { ApiError } from './api-error.ts';
import { heldRoutes } from './routes-held.ts';
import { reloadRoutes } from './routes-reload.ts';
import { subjectRoutes } from './routes-subjects.ts';
import { traceRoutes } from './routes-trace.ts';

export interface ApiRequest {
  /** Values of the path's parameters, decoded. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The JSON body; null without one. */
  readonly body: unknown;
}

export interface ApiAnswer {
  readonly status: number;
  /** Sent as JSON, unless `type` says what it is. */
  readonly body: unknown;
  readonly type?: string;
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  /** One line for the description of the API. */
  readonly summary: string;
  handle(administration: Administration, request: ApiRequest): Promise<ApiAnswer>;
}

export const routes: readonly Route[] = [...heldRoutes, ...subjectRoutes, ...traceRoutes, ...reloadRoutes];

const BODY_BYTES_MAX = 65_536;

/** Answers requests of those who are allowed to ask. */
export function apiListener(administration: Administration): RequestListener {
  return (request, response) => {
    answer(administration, request).then(
      (found) => send(response, found),
      (error: unknown) => {
        if (!(error instanceof ApiError)) administration.log.error('an admin request failed unexpectedly');
        const status = error instanceof ApiError ? error.status : 500;
        send(response, { status, body: { error: error instanceof ApiError ? error.message : 'failed' } });
      },
    );
  };
}

function answer(administration: Administration, request: IncomingMessage): Promise<ApiAnswer> {
  return serve(administration, request.method ?? '', request.url ?? '/', () => bodyOf(request));
}

/** Serves a request of the program itself, as one that came over the socket. @throws ApiError when it cannot be served */
export function callApi(administration: Administration, method: string, path: string, body: unknown): Promise<ApiAnswer> {
  return serve(administration, method, path, async () => body ?? null);
}

async function serve(
  administration: Administration,
  method: string,
  url: string,
  readBody: () => Promise<unknown>,
): Promise<ApiAnswer> {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  let isKnown = false;
  for (const route of routes) {
    const parameters = match(route.path, pathname);
    if (parameters === null) continue;
    isKnown = true;
    if (route.method !== method) continue;
    return route.handle(administration, { parameters, query: searchParams, body: await readBody() });
  }
  throw isKnown ? new ApiError(405, 'this path has no such method') : new ApiError(404, 'there is no such path');
}

/** The parameters of a path that fits; null when it does not. */
function match(path: string, pathname: string): Record<string, string> | null {
  const wanted = path.split('/');
  const given = pathname.split('/');
  if (wanted.length !== given.length) return null;
  const parameters: Record<string, string> = {};
  for (const [at, part] of wanted.entries()) {
    if (part.startsWith('{')) parameters[part.slice(1, -1)] = decode(given[at]!);
    else if (part !== given[at]) return null;
  }
  return parameters;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ApiError(400, 'the path is not encoded as a URL should be');
  }
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  if (Number(request.headers['content-length'] ?? 0) > BODY_BYTES_MAX || request.headers['transfer-encoding'] !== undefined)
    throw new ApiError(413, `the body must have a length of at most ${BODY_BYTES_MAX} bytes`);
  const bytes = await buffer(request);
  if (bytes.length === 0) return null;
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw new ApiError(400, 'the body is not JSON');
  }
}

function send(response: ServerResponse, { status, body, type }: ApiAnswer): void {
  const text = type === undefined ? `${JSON.stringify(body)}\n` : String(body);
  response.writeHead(status, { 'content-type': type ?? 'application/json', 'cache-control': 'no-store' }).end(text);
}
