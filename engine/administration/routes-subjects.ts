// Routes that answer a data subject's request. None of them gives a payload.

import type { ApiRequest, Route } from './api.ts';
import { ApiError } from './api-error.ts';
import type { EraseTarget } from './erase-shard.ts';
import { eraseHeld } from './erasure.ts';
import { exportHeld } from './export.ts';

export const subjectRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/erase',
    summary:
      'Erases what is held of {"client"}, of a {"user"}, under a {"topic"} filter, or {"retained"} under one; gives a receipt',
    handle: async (administration, { body }) => ({ status: 200, body: await eraseHeld(administration, targetOf(body)) }),
  },
  {
    method: 'POST',
    path: '/v1/export',
    summary:
      'Writes what is held for {"client"} into the file at {"path"}, which must be there, empty and of mode 0600; gives a receipt',
    handle: async (administration, { body }) => {
      const { client, path } = (body ?? {}) as { readonly client?: unknown; readonly path?: unknown };
      if (typeof client !== 'string' || client === '' || typeof path !== 'string')
        throw new ApiError(400, 'the body must name a client and a path');
      return { status: 200, body: await exportHeld(administration, client, path) };
    },
  },
];

const KINDS: readonly EraseTarget['kind'][] = ['client', 'user', 'topic', 'retained'];

function targetOf(body: ApiRequest['body']): EraseTarget {
  const given = typeof body === 'object' && body !== null ? Object.entries(body) : [];
  const [kind, name] = given[0] ?? [];
  const known = KINDS.find((one) => one === kind);
  if (given.length !== 1 || known === undefined || typeof name !== 'string' || name === '')
    throw new ApiError(400, `the body must name one of ${KINDS.join(', ')}, with a text`);
  return { kind: known, name };
}
