// A request to the admin API of a data directory, and its answer or the reason why there is none.
import { administer, type Config } from '../lethe.ts';
import { ExitCode } from './exit-code.ts';
import { Failure } from './failure.ts';

/** The body of a good answer. @throws Failure with what the broker says */
export async function ask(config: Config, method: string, path: string, body?: unknown): Promise<unknown> {
  const answer = await administer(config, method, path, body);
  if (answer.status === 200) return answer.body;
  const { error } = answer.body as { readonly error?: string };
  throw new Failure(
    error ?? `the broker answers with status ${answer.status}`,
    answer.status === 400 ? ExitCode.USAGE : ExitCode.FAILURE,
  );
}
