// Erasure in the whole broker, with a receipt. The receipt is given when what it counts is beyond recovery: removed durably, its keys destroyed.
import { validateTopicFilter } from '../../protocol/topic.ts';
import type { Administration } from './administration.ts';
import { ApiError } from './api-error.ts';
import { AuditEvent } from './audit.ts';
import { type ErasedByShard, type ErasedCounts, type EraseTarget, eraseByParts, noneErased } from './erase-shard.ts';
import { base32 } from './pseudonym.ts';

/** What the one who asked can show. No name and no content stand in it. */
export interface EraseReceipt {
  /** Names the entry in the audit log. */
  readonly receipt: string;
  readonly kind: EraseTarget['kind'];
  /** Pseudonym of the client; of the user name or filter with its kind before it (`topic:…`). */
  readonly subject: string;
  /** ISO 8601, UTC: when all was gone. */
  readonly time: string;
  readonly tookMs: number;
  readonly erased: Readonly<ErasedCounts>;
}

/** Pseudonym under which an erasure or an export stands. */
export function subjectOf(
  { pseudonym }: Pick<Administration, 'pseudonym'>,
  { kind, name }: Pick<EraseTarget, 'name' | 'kind'>,
): string {
  return pseudonym(kind === 'client' ? name : `${kind}:${name}`);
}

/** Erases, in the order in which it is asked. @throws ApiError when it could not be completed */
export async function eraseHeld(administration: Administration, target: EraseTarget): Promise<EraseReceipt> {
  const { askAll, audit, clock, random, traces, whileNothingMoves } = administration;
  judgeTarget(administration, target);
  const subject = subjectOf(administration, target);
  const receipt = base32(random.bytes(RECEIPT_BYTES));
  const startedMs = clock.monotonicMs();
  let answers: readonly ErasedByShard[] = [];
  try {
    // What a trace has seen is as much of the subject as what is stored; which of a user's clients it was of, or under which topics, it does not say.
    if (target.kind !== 'retained') await traces.erase(target.kind === 'client' ? target.name : null);
    answers = await whileNothingMoves(
      () => eraseByParts((part) => askAll({ kind: 'erase', target, part }), target),
      target.kind === 'client' ? target.name : undefined,
    );
  } catch (error) {
    audit.record(AuditEvent.ERASE, { receipt, target: target.kind, subject, result: 'failed' });
    throw error;
  }
  const erased = noneErased();
  for (const answer of answers) for (const name of Object.keys(erased) as (keyof ErasedCounts)[]) erased[name] += answer[name];
  const isComplete = answers.every(({ isErased }) => isErased);
  const tookMs = Math.round(clock.monotonicMs() - startedMs);
  const result = isComplete ? 'complete' : 'incomplete';
  audit.record(AuditEvent.ERASE, { receipt, target: target.kind, subject, result, ...erased, tookMs });
  await audit.settle();
  if (!isComplete)
    throw new ApiError(503, 'it was let go, but the disk did not let it be erased yet: see the log, and ask again');
  return { receipt, kind: target.kind, subject, time: new Date(clock.wallMs()).toISOString(), tookMs, erased };
}

function judgeTarget({ config }: Administration, { kind, name }: EraseTarget): void {
  if (kind === 'client' || kind === 'user') return;
  const { topicBytesMax, topicLevelsMax } = config.limits;
  const filter = Buffer.from(name, 'utf8');
  if (validateTopicFilter(filter, 0, filter.length, topicBytesMax, topicLevelsMax) < 0)
    throw new ApiError(400, 'the topic filter is not valid (MQTT 5.0 §4.7)');
  if (name.startsWith('$share/')) throw new ApiError(400, 'give the filter itself, without $share and group');
}

const RECEIPT_BYTES = 10;
