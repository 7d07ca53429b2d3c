// The level of the log while the broker runs. Every shard's lines go through the log of the first, so that what is set there holds for all.
import { LogLevel } from '../log.ts';
import type { Administration } from './administration.ts';
import type { Route, Schema } from './api.ts';
import { ApiError } from './api-error.ts';
import { AuditEvent } from './audit.ts';

const LEVELS = Object.keys(LogLevel) as LogLevel[];
const schema: Schema = {
  type: 'object',
  properties: { level: { type: 'string', enum: LEVELS } },
  required: ['level'],
  additionalProperties: false,
};

export const logRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/log-level',
    summary: 'What the log holds: lines of this level and those that weigh more',
    answer: schema,
    handle: async (administration) => ({ status: 200, body: { level: levelOf(administration) } }),
  },
  {
    method: 'PUT',
    path: '/v1/log-level',
    summary: 'Sets the level of the log, in all shards and until the broker ends',
    body: schema,
    answer: schema,
    async handle(administration, { body }) {
      levelOf(administration);
      const level = LEVELS.find((name) => name === (body as { level?: unknown } | null)?.level);
      if (level === undefined) throw new ApiError(400, `give {"level": …} with one of ${LEVELS.join(', ')}`);
      administration.log.level = level;
      administration.audit.record(AuditEvent.LOG_LEVEL, { level });
      return { status: 200, body: { level } };
    },
  },
];

function levelOf({ log }: Administration): LogLevel {
  if (log.level === undefined) throw new ApiError(409, 'the log belongs to the program that the broker is part of');
  return log.level;
}
