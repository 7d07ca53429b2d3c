// Routes about clients and their sessions: pseudonyms, counts, sizes and times.
import type { Administration } from './administration.ts';
import type { ApiAnswer, ApiRequest, QueryParameter, Route, Schema } from './api.ts';
import { ApiError } from './api-error.ts';
import { AuditEvent } from './audit.ts';
import type { SessionRow, SessionsAsked } from './session-rows.ts';

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1_000;

const count: Schema = { type: 'integer', minimum: 0 };
const time: Schema = { type: 'string', format: 'date-time' };
const row: Schema = object({
  client: { type: 'string', description: 'pseudonym of the client identifier (lethe pseudonym computes it)' },
  shard: count,
  protocol: { type: 'string', enum: ['3.1', '3.1.1', '5.0'] },
  connection: {
    oneOf: [
      { type: 'null' },
      object({
        listener: { type: 'string' },
        transport: { type: 'string' },
        since: time,
        bytesReceived: count,
        bytesSent: count,
        bytesUnsent: count,
        slow: { type: 'boolean' },
        held: { type: 'boolean' },
      }),
    ],
  },
  disconnectedAt: { oneOf: [{ type: 'null' }, time] },
  expiryS: { description: 'null: never', oneOf: [{ type: 'null' }, count] },
  subscriptions: count,
  queuedMessages: count,
  queuedBytes: count,
  inFlight: count,
  inbound: count,
  hasWill: { type: 'boolean' },
});
const page: readonly QueryParameter[] = [
  {
    name: 'limit',
    description: 'rows in a page',
    schema: { type: 'integer', minimum: 1, maximum: LIMIT_MAX, default: LIMIT_DEFAULT },
  },
  { name: 'after', description: '`next` of the page before', schema: { type: 'string', pattern: '^\\d+\\.\\d+$' } },
];

function object(properties: Readonly<Record<string, Schema>>): Schema {
  return { type: 'object', properties, required: Object.keys(properties) };
}

function pageOf(name: string): Schema {
  return object({
    [name]: { type: 'array', items: row },
    next: {
      description: 'give it as `after` for the next page; null: there is none',
      oneOf: [{ type: 'null' }, { type: 'string' }],
    },
  });
}

export const sessionRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/clients',
    summary: 'Clients that are connected, in pages',
    query: page,
    answer: pageOf('clients'),
    handle: (administration, request) => list(administration, request, 'clients', 'connected'),
  },
  {
    method: 'GET',
    path: '/v1/clients/{client}',
    summary: 'One client by its pseudonym, connected or not',
    answer: row,
    async handle({ askAll, pseudonymKey: key }, { parameters }) {
      const found = (await askAll({ kind: 'session', key, client: parameters['client']! })).find((own) => own !== null);
      if (found === undefined) throw new ApiError(404, 'there is no session of that pseudonym');
      return { status: 200, body: found };
    },
  },
  {
    method: 'POST',
    path: '/v1/clients/{client}/kick',
    summary: 'Ends the connection of a client (DISCONNECT 0x98); a session that outlives it stays',
    answer: object({ kicked: { const: true } }),
    async handle({ askAll, audit, pseudonymKey: key }, { parameters }) {
      const client = parameters['client']!;
      const found = (await askAll({ kind: 'kick', key, client })).find((own) => own !== null);
      if (found === undefined) throw new ApiError(404, 'there is no session of that pseudonym');
      if (!found) throw new ApiError(409, 'the client is not connected');
      audit.record(AuditEvent.KICK, { client });
      return { status: 200, body: { kicked: true } };
    },
  },
  {
    method: 'GET',
    path: '/v1/sessions',
    summary: 'Sessions, connected or not, in pages',
    query: page,
    answer: pageOf('sessions'),
    handle: (administration, request) => list(administration, request, 'sessions', 'all'),
  },
];

/** Shard by shard. A session that moves meanwhile may stand in two pages, or in none. */
async function list(
  { askAll, pseudonymKey: key, config }: Administration,
  { query }: ApiRequest,
  name: string,
  which: SessionsAsked['which'],
): Promise<ApiAnswer> {
  const limit = numberOf(query.get('limit') ?? String(LIMIT_DEFAULT));
  if (!(limit >= 1 && limit <= LIMIT_MAX)) throw new ApiError(400, `limit must be from 1 to ${LIMIT_MAX}`);
  const [shardText = '', fromText = '', ...rest] = (query.get('after') ?? '0.0').split('.');
  let shard = numberOf(shardText);
  let from = numberOf(fromText);
  const { threads } = config.server;
  if (Number.isNaN(shard + from) || rest.length > 0 || shard >= threads)
    throw new ApiError(400, 'after must be the `next` of a page');
  const rows: SessionRow[] = [];
  while (shard < threads && rows.length < limit) {
    const answers = await askAll({ kind: 'sessions', which, key, shard, from, limit: limit - rows.length });
    const found = answers.find((own) => own !== null)!;
    rows.push(...found.rows);
    from = found.next ?? 0;
    if (found.next === null) shard++;
  }
  return { status: 200, body: { [name]: rows, next: shard < threads ? `${shard}.${from}` : null } };
}

function numberOf(text: string): number {
  return /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
}
