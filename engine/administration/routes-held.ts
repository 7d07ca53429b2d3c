// Routes about what is held, in total.
import type { Route } from './api.ts';
import { ApiError } from './api-error.ts';
import { heldByClient } from './held-by-client.ts';

const CLIENTS_PRESET = 1_000;
const CLIENTS_MAX = 100_000;

export const heldRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/inventory',
    summary: 'What is held: counts, bytes and the oldest, by class',
    handle: async (administration) => ({ status: 200, body: await administration.inventory() }),
  },
  {
    method: 'GET',
    path: '/v1/inventory/clients',
    summary: 'What is held for each client, by pseudonym, the largest first: ?limit=N of them (1000, at most 100000)',
    handle: async (administration, { query }) => {
      const limit = Number(query.get('limit') ?? CLIENTS_PRESET);
      if (!Number.isSafeInteger(limit) || limit < 1 || limit > CLIENTS_MAX)
        throw new ApiError(400, `limit must be a whole number from 1 to ${CLIENTS_MAX}`);
      return { status: 200, body: await heldByClient(administration, limit) };
    },
  },
  {
    method: 'GET',
    path: '/v1/figures',
    summary: 'What the spool tells of itself',
    handle: async ({ figures }) => ({
      status: figures === null ? 404 : 200,
      body: figures?.named() ?? { error: 'there is no data directory' },
    }),
  },
];
