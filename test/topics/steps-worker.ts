// One of the threads that trie-steps.test.ts runs in lock-step, from the build.
import { workerData } from 'node:worker_threads';
import { MatchList, type SubscriptionTrie } from '../../engine/topics/trie.ts';
import { enter } from './clients.ts';
import {
  attachAgain,
  awaitTurn,
  CLOCK,
  DONE,
  ENDED,
  giveTurn,
  nextThread,
  OPERATIONS_MAX,
  type Operation,
  OUTCOME,
  OUTCOME_WORDS,
  SLOT,
  Stepper,
  type StepsJob,
} from './steps.ts';

function run(job: StepsJob, threads: number): void {
  const control = new Int32Array(job.control);
  const list = new MatchList();
  const stepper = new Stepper(job);
  stepper.install();
  while (awaitTurn(control, job.thread) !== ENDED) {
    const trie = attachAgain(job);
    for (const [at, operation] of job.operations.entries()) {
      const outcome = OUTCOME + (job.thread * OPERATIONS_MAX + at) * OUTCOME_WORDS;
      control[outcome] = tick(control);
      stepper.isOn = true;
      const value = perform(trie, operation, control, list);
      stepper.isOn = false;
      control[outcome + 2] = value;
      control[outcome + 1] = tick(control);
    }
    control[DONE] = control[DONE]! | (1 << job.thread);
    giveTurn(control, nextThread(control, threads));
  }
}

function tick(control: Int32Array): number {
  control[CLOCK] = control[CLOCK]! + 1;
  return control[CLOCK]!;
}

/** What came of it: of a match the bits of the slots that were found. */
function perform(trie: SubscriptionTrie, operation: Operation, control: Int32Array, list: MatchList): number {
  if (operation.kind === 'quiesce') {
    trie.quiesce();
    return 0;
  }
  if (operation.kind === 'unsubscribe') {
    trie.unsubscribe(control[SLOT + operation.slot]!);
    return 0;
  }
  if (operation.kind === 'subscribe') {
    const entry = enter(trie, operation.filter, operation.slot, 0, operation.slot);
    control[SLOT + operation.slot] = entry;
    return entry;
  }
  const topic = Buffer.from(operation.topic);
  trie.match(topic, 0, topic.length, list);
  let found = 0;
  for (let row = 0; row < list.count; row++) {
    if (list.subscriber[row] !== list.subscriptionId[row]) return -1;
    if ((found & (1 << list.subscriber[row]!)) !== 0) return -2;
    found |= 1 << list.subscriber[row]!;
  }
  // Of a group, all its members: they come in a round, and the one whose turn it is once.
  for (let at = 0; at < list.groupCount; at++) {
    const turn = trie.groupNext(list.group[at]!);
    let entry = turn;
    for (let members = trie.groupMembers(list.group[at]!); members >= 0 && entry > 0; members--) {
      found |= 1 << trie.entrySubscriber(entry);
      entry = trie.groupMemberAfter(list.group[at]!, entry);
    }
  }
  return found;
}

const job = workerData as { steps: StepsJob; threads: number } | undefined;
if (job?.steps !== undefined) run(job.steps, job.threads);
