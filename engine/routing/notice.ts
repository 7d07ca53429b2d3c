// Letters of a few words between shards: something is refused, settled, held or let go.
import { type Letter, Word } from '../peers/letter.ts';
import type { Shard } from './shard.ts';

/** A letter of few words: something is refused, settled, held or let go. */
export function sendNotice(shard: Shard, to: number, kind: Letter, publisher: number, bits: number, number: number): void {
  const sender = shard.peers!.senders[to]!;
  const at = sender.reserve(kind, 0);
  const word = at >> 2;
  sender.words[word + Word.PUBLISHER] = publisher;
  sender.words[word + Word.BITS] = bits;
  sender.words[word + Word.NUMBER] = number;
  sender.sent();
  shard.turn.ask();
}
