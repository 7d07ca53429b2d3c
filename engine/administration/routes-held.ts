// Routes about what is held, in total.
import type { Route } from './api.ts';

export const heldRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/inventory',
    summary: 'What is held: counts, bytes and the oldest, by class',
    handle: async (administration) => ({ status: 200, body: await administration.inventory() }),
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
