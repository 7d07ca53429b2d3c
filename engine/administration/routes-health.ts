// Whether the broker lives and takes messages, and its metrics: for those who watch it.
import type { ApiAnswer, Route } from './api.ts';
import { Readiness, readinessOf } from './readiness.ts';
import { takeSnapshot } from './snapshot.ts';

export const healthRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/healthz',
    summary: 'Whether every shard answers: 200, or 503 when one is stuck',
    isPublic: true,
    answerType: 'text/plain',
    handle: async (administration) => plain((await readinessOf(administration)) !== Readiness.STUCK, 'alive', 'stuck'),
  },
  {
    method: 'GET',
    path: '/readyz',
    summary: 'Whether clients are let in and the store takes messages: 200, else 503',
    isPublic: true,
    answerType: 'text/plain',
    handle: async (administration) => plain((await readinessOf(administration)) === Readiness.READY, 'ready', 'not ready'),
  },
  {
    method: 'GET',
    path: '/metrics',
    summary: 'The metrics, in the text format of Prometheus',
    answerType: 'text/plain',
    async handle(administration) {
      // Loaded for those who are asked.
      const { METRICS_TYPE, renderMetrics } = await import('./metrics.ts');
      return { status: 200, type: METRICS_TYPE, body: await renderMetrics(await takeSnapshot(administration)) };
    },
  },
];

function plain(holds: boolean, yes: string, no: string): ApiAnswer {
  return { status: holds ? 200 : 503, type: 'text/plain', body: `${holds ? yes : no}\n` };
}
