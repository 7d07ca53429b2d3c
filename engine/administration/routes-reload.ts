// The route that reads configuration and files anew.
import type { Route } from './api.ts';

export const reloadRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/reload',
    summary: 'Reads configuration, passwords, rights and certificates anew; tells what changed and what needs a restart',
    handle: async ({ reload }) => {
      try {
        return { status: 200, body: await reload() };
      } catch (error) {
        // For the operator, who sees the files that it names: what is wrong, and where.
        return { status: 409, body: { error: error instanceof Error ? error.message : String(error) } };
      }
    },
  },
];
