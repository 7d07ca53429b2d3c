// The route of the record of processing.

import type { Route } from './api.ts';
import { processingRecord } from './report.ts';

export const reportRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/report',
    summary: 'The record of processing: what is stored, where, how long, and which measures are in force',
    handle: async ({ config, version, clock, inventory }) => ({
      status: 200,
      body: processingRecord(config, version, clock.wallMs(), await inventory()),
    }),
  },
];
