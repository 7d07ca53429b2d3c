// Routes of traces: topics and sizes of one client's messages, for a reason and for a time.
import type { Route } from './api.ts';
import { ApiError } from './api-error.ts';

export const traceRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/traces',
    summary: 'Begins to trace {"client"} for a {"reason"}, until {"forS"} seconds have passed; recorded in the audit log',
    handle: async ({ traces }, { body }) => {
      const { client, reason, forS } = (body ?? {}) as Readonly<Record<string, unknown>>;
      if (typeof client !== 'string' || client === '') throw new ApiError(400, 'the body must name a client');
      const begun = await traces.begin(client, typeof reason === 'string' ? reason : '', typeof forS === 'number' ? forS : 0);
      return { status: 200, body: begun };
    },
  },
  {
    method: 'GET',
    path: '/v1/traces/{trace}',
    summary: 'Topics and sizes of the messages that were seen since the last call',
    handle: async ({ traces }, { parameters }) => ({ status: 200, body: await traces.take(parameters['trace']!) }),
  },
  {
    method: 'DELETE',
    path: '/v1/traces/{trace}',
    summary: 'Ends a trace before its time',
    handle: async ({ traces }, { parameters }) => ({ status: 200, body: await traces.end(parameters['trace']!) }),
  },
];
