// The admin API: HTTP and JSON, on the socket in the data directory and on the admin port (admin-port.ts). A route is a line of data with a handler; each file named `routes-…` has
// those of one subject, and `routes` joins them. No route can read a payload or a topic.
//
// A path names its parameters in braces (`/v1/clients/{client}`), as OpenAPI does; openapi.ts describes the API from the routes.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import type { Administration } from './administration.ts';
import { ApiError } from './api-error.ts';
import { describeApi } from './openapi.ts';
import { healthRoutes } from './routes-health.ts';
import { heldRoutes } from './routes-held.ts';
import { liveRoutes } from './routes-live.ts';
import { logRoutes } from './routes-log.ts';
import { reloadRoutes } from './routes-reload.ts';
import { reportRoutes } from './routes-report.ts';
import { sessionRoutes } from './routes-sessions.ts';
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
  /** Headers besides those that every answer has. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** JSON Schema of the dialect of OpenAPI 3.1, as far as it is needed here. */
export type Schema = Readonly<Record<string, unknown>>;

/** A parameter behind the question mark; every one may be left out. */
export interface QueryParameter {
  readonly name: string;
  readonly description: string;
  readonly schema: Schema;
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  /** One line for the description of the API. */
  readonly summary: string;
  /** Whether it is answered without a token: it tells nothing but that the broker is there. */
  readonly isPublic?: true;
  readonly query?: readonly QueryParameter[];
  /** Of the JSON body that it takes. */
  readonly body?: Schema;
  /** Of the answer with status 200. */
  readonly answer?: Schema;
  /** What it answers with, where that is not JSON. */
  readonly answerType?: string;
  handle(administration: Administration, request: ApiRequest): Promise<ApiAnswer>;
}

/** Lets a request pass. @throws ApiError when it may not */
export type Admit = (request: IncomingMessage, route: Route) => void;

const description: Route = {
  method: 'GET',
  path: '/v1/openapi.json',
  summary: 'This description, as OpenAPI 3.1',
  handle: async ({ version }) => ({ status: 200, body: describeApi(routes, version) }),
};

export const routes: readonly Route[] = [
  ...healthRoutes,
  ...heldRoutes,
  ...liveRoutes,
  ...logRoutes,
  ...sessionRoutes,
  ...subjectRoutes,
  ...traceRoutes,
  ...reloadRoutes,
  ...reportRoutes,
  description,
];

const BODY_BYTES_MAX = 65_536;

/**
 * @param admit who may ask; absent: whoever can reach it
 * @param more routes that are served here beside those of everywhere
 */
export function apiListener(
  administration: Administration,
  admit: Admit = () => {},
  more: readonly Route[] = [],
): RequestListener {
  const served = [...routes, ...more];
  return (request, response) => {
    answer(administration, served, request, admit)
      .then(
        (found) => send(response, found),
        (error: unknown) => {
          if (!(error instanceof ApiError)) administration.log.error('an admin request failed unexpectedly');
          const status = error instanceof ApiError ? error.status : 500;
          const headers: Record<string, string> = status === 401 ? { 'www-authenticate': 'Bearer' } : {};
          send(response, { status, body: { error: error instanceof ApiError ? error.message : 'failed' }, headers });
        },
      )
      .catch(() => {
        administration.log.error('an answer to an admin request could not be sent');
        response.destroy();
      });
  };
}

function answer(
  administration: Administration,
  served: readonly Route[],
  request: IncomingMessage,
  admit: Admit,
): Promise<ApiAnswer> {
  // A HEAD is answered by Node as a GET without its body.
  const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
  return serve(
    administration,
    served,
    method,
    request.url ?? '/',
    () => bodyOf(request),
    (route) => admit(request, route),
  );
}

/** Serves a request of the program itself, as one that came over the socket. @throws ApiError when it cannot be served */
export function callApi(administration: Administration, method: string, path: string, body: unknown): Promise<ApiAnswer> {
  return serve(
    administration,
    routes,
    method,
    path,
    async () => body ?? null,
    () => {},
  );
}

async function serve(
  administration: Administration,
  served: readonly Route[],
  method: string,
  url: string,
  readBody: () => Promise<unknown>,
  admit: (route: Route) => void,
): Promise<ApiAnswer> {
  const { pathname, searchParams } = parseUrl(url);
  let isKnown = false;
  for (const route of served) {
    const parameters = match(route.path, pathname);
    if (parameters === null) continue;
    admit(route);
    isKnown = true;
    if (route.method !== method) continue;
    // What it would need is being closed, and nobody would record it.
    if (administration.isStopping() && !healthRoutes.includes(route)) throw new ApiError(503, 'the broker is stopping');
    return route.handle(administration, { parameters, query: searchParams, body: await readBody() });
  }
  throw isKnown ? new ApiError(405, 'this path has no such method') : new ApiError(404, 'there is no such path');
}

function parseUrl(url: string): URL {
  try {
    return new URL(url, 'http://localhost');
  } catch {
    throw new ApiError(400, 'the request has no valid path');
  }
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

function send(response: ServerResponse, { status, body, type, headers }: ApiAnswer): void {
  const text = type === undefined ? `${JSON.stringify(body)}\n` : String(body);
  response.writeHead(status, { 'content-type': type ?? 'application/json', ...SAFE_HEADERS, ...headers }).end(text);
}

const SAFE_HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const;
