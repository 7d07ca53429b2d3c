// A fence: every other shard has said that what it had sent before is sent. Since rings keep their order, whatever a shard had for this one when it saw the fence is here when
// its answer is; and what it does afterwards, it does knowing what this shard had done before the fence.
//
// A relayed fence is answered straight, and by way of the first shard too: what the others had sent to the first shard before the fence has gone through it then.
import { sendControl, tellOthers } from './control.ts';
import type { Shard } from './shard.ts';

export const FenceWay = { DIRECT: 0, RELAYED: 1 } as const;
export type FenceWay = (typeof FenceWay)[keyof typeof FenceWay];

/** Fences that are not answered by all yet. */
export class Fences {
  next = 1;
  readonly open = new Map<number, { waiting: number; readonly done: () => void }>();
}

/** Calls `done` once all other shards have answered. */
export function raiseFence(shard: Shard, way: FenceWay, done: () => void): void {
  const { fences } = shard;
  const { index, count } = shard.peers!;
  const fence = fences.next++;
  const relayed = way === FenceWay.RELAYED;
  const waiting = relayed && index !== 0 ? 1 + 2 * (count - 2) : count - 1;
  fences.open.set(fence, { waiting, done });
  tellOthers(shard, { kind: 'fence', shard: index, fence, relayed });
}

/** Answers another shard's fence. */
export function answerFence(shard: Shard, asking: number, fence: number, relayed: boolean): void {
  const { index } = shard.peers!;
  sendControl(shard, asking, { kind: 'fenced', fence, to: asking });
  if (relayed && index !== 0 && asking !== 0) sendControl(shard, 0, { kind: 'fenced', fence, to: asking });
}

/** An answer has come, or comes through. */
export function fenceAnswered(shard: Shard, fence: number, to: number): void {
  if (to !== shard.peers!.index) {
    sendControl(shard, to, { kind: 'fenced', fence, to });
    return;
  }
  const open = shard.fences.open.get(fence);
  if (open === undefined || --open.waiting > 0) return;
  shard.fences.open.delete(fence);
  open.done();
}
