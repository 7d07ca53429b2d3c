// The live page, and what it asks for every second.
import type { Route } from './api.ts';
import { reasonName } from './metric-table.ts';
import type { ByReason } from './shard-figures.ts';
import { takeSnapshot } from './snapshot.ts';

export const liveRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/',
    summary: 'The live page; it asks for the token itself',
    isPublic: true,
    answerType: 'text/html',
    async handle() {
      const { livePage } = await import('./live-page.ts');
      const { html, policy } = livePage();
      const headers = { 'content-security-policy': policy, 'referrer-policy': 'no-referrer', 'x-frame-options': 'DENY' };
      return { status: 200, type: 'text/html; charset=utf-8', body: html, headers };
    },
  },
  {
    method: 'GET',
    path: '/v1/live',
    summary: 'Everything that is counted, at this moment: what the live page is made of',
    async handle(administration) {
      const snapshot = await takeSnapshot(administration);
      const { refusedBy, endedBy, ...rest } = snapshot;
      return { status: 200, body: { ...rest, refusedBy: named(refusedBy), endedBy: named(endedBy) } };
    },
  },
];

function named(counts: ByReason): Record<string, number> {
  return Object.fromEntries([...counts].map(([code, value]) => [reasonName(code), value]));
}
