// Traces in one shard: by client identifier, from the connection that the client has now and for those that it makes.
import type { Shard } from '../routing/shard.ts';
import { type TracedMessage, Tracer } from '../sessions/tracer.ts';

export interface TracedByShard {
  readonly messages: readonly TracedMessage[];
  readonly lost: number;
  /** Seen since the trace began. */
  readonly seen: number;
}

export async function beginTrace(shard: Shard, clientId: string): Promise<null> {
  const tracer = new Tracer(() => shard.clock.wallMs());
  shard.tracers.set(clientId, tracer);
  const connection = shard.sessions.find(clientId)?.connection ?? null;
  if (connection === null) return null;
  connection.tracer = tracer;
  connection.judgePlain();
  return null;
}

export async function takeTraced(shard: Shard, clientId: string): Promise<TracedByShard> {
  const tracer = shard.tracers.get(clientId);
  return tracer === undefined ? { messages: [], lost: 0, seen: 0 } : { ...tracer.take(), seen: tracer.seen };
}

/** Gives what was not taken. */
export async function endTrace(shard: Shard, clientId: string): Promise<TracedByShard> {
  const rest = await takeTraced(shard, clientId);
  const connection = shard.sessions.find(clientId)?.connection ?? null;
  shard.tracers.delete(clientId);
  if (connection === null) return rest;
  connection.tracer = null;
  connection.judgePlain();
  return rest;
}
