// The route that reads configuration and files anew.
import { ApiError, type Route } from './api.ts';

export const reloadRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/reload',
    summary:
      'Reads the configuration, passwords, rights, certificates and authorities anew; tells what has changed and what needs a restart',
    async handle({ reload }) {
      try {
        return { status: 200, body: await reload() };
      } catch (error) {
        throw new ApiError(409, error instanceof Error ? error.message : String(error));
      }
    },
  },
];
