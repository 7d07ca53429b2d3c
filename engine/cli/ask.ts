// A request to the admin API of a data directory, and its answer or the reason why there is none.
import type { Config } from '../lethe.ts';
import { administer } from '../shards/stopped-directory.ts';
import { callOwner, type OwnerAnswer } from '../spool/folder-lock.ts';
import { ExitCode } from './exit-code.ts';
import { Failure } from './failure.ts';

/** The body of a good answer. @throws Failure with what the broker says */
export async function ask(config: Config, method: string, path: string, body?: unknown): Promise<unknown> {
  const answer = await administer(config, method, path, body);
  return bodyOf(answer);
}

/** The same of a broker that runs. @throws Failure also when none does */
export async function askRunning(config: Config, method: string, path: string, body?: unknown): Promise<unknown> {
  const { dataDir } = config.server;
  const answer = await callOwner(dataDir, method, path, body);
  if (answer === null) throw new Failure(`${dataDir}: no broker runs on this data directory`);
  return bodyOf(answer);
}

function bodyOf(answer: OwnerAnswer): unknown {
  if (answer.status === 200) return answer.body;
  const { error } = answer.body as { readonly error?: string };
  throw new Failure(
    error ?? `the broker answers with status ${answer.status}`,
    answer.status === 400 ? ExitCode.USAGE : ExitCode.FAILURE,
  );
}
