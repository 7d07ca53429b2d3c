// Control messages of other shards, each to its handler.

import type { GoneReason } from '../../storage/store.ts';
import { type Control, unpackControl } from '../peers/control.ts';
import { claimAnswered } from './claim.ts';
import { answerFence, fenceAnswered } from './fence.ts';
import { onGone } from './gone.ts';
import { endMove, releaseSession, takeMoved } from './move.ts';
import type { Shard } from './shard.ts';

export function onControlBytes(shard: Shard, bytes: Uint8Array): void {
  onControl(shard, unpackControl(bytes));
}

export function onControl(shard: Shard, control: Control): void {
  switch (control.kind) {
    case 'claim':
      shard.directory!.claim(control.claim);
      return;
    case 'withdraw':
      shard.directory!.withdraw(control.shard, control.request);
      return;
    case 'withdrawn':
      shard.claimants.delete(control.request);
      return;
    case 'fresh':
    case 'yours':
    case 'full':
    case 'denied':
      claimAnswered(shard, control);
      return;
    case 'release':
      releaseSession(shard, control.handle, control.claim);
      return;
    case 'kept':
      shard.directory!.kept(control.handle, control.host);
      return;
    case 'ended':
      shard.directory!.ended(control.handle);
      return;
    case 'moved':
      takeMoved(shard, control.session);
      return;
    case 'moved-end':
      endMove(shard, control.handle, control.request);
      return;
    case 'arrived':
      shard.directory!.arrived(control.handle);
      return;
    case 'gone':
      onGone(shard, control.stored, control.position, control.bytes, control.reason as GoneReason);
      return;
    case 'guessed':
      shard.guard?.hasFailed(control.address);
      return;
    case 'fence':
      answerFence(shard, control.shard, control.fence, control.relayed);
      return;
    case 'fenced':
      fenceAnswered(shard, control.fence, control.to);
      return;
  }
}
