// All routes of the admin API: each file named `routes-…` has those of one subject, and this one joins them.
import type { Route } from './api.ts';
import { describeApi } from './openapi.ts';
import { healthRoutes } from './routes-health.ts';
import { heldRoutes } from './routes-held.ts';
import { liveRoutes } from './routes-live.ts';
import { logRoutes } from './routes-log.ts';
import { sessionRoutes } from './routes-sessions.ts';

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
  description,
];
