// Control messages of shards, on their way out and in. Those for the shard itself wait for the end of the turn, so that nothing comes back inside a call.
import { type Control, packControl } from '../peers/control.ts';
import { LETTER_FIXED_BYTES, Letter, Word } from '../peers/letter.ts';
import type { Duty } from '../sessions/turn.ts';
import type { Shard } from './shard.ts';

/** Sends a control message to a shard, which may be this one. */
export function sendControl(shard: Shard, to: number, control: Control): void {
  const sender = shard.peers!.senders[to]!;
  if (sender === null) {
    shard.ownControl.add(control);
    return;
  }
  const bytes = packControl(control);
  const at = sender.reserve(Letter.CONTROL, bytes.length);
  sender.words[(at >> 2) + Word.PAYLOAD] = bytes.length;
  sender.bytes.set(bytes, at + LETTER_FIXED_BYTES);
  sender.sent();
  shard.turn.ask();
}

/** Sends a control message to each of the other shards; there are several. */
export function tellOthers(shard: Shard, control: Control): void {
  const { index, count } = shard.peers!;
  for (let to = 0; to < count; to++) if (to !== index) sendControl(shard, to, control);
}

/** What the shard has to say to itself. */
export class OwnControl implements Duty {
  due = false;
  /** Set by the one who handles control messages. */
  handle: (control: Control) => void = () => {};
  readonly #shard: Shard;
  #waiting: Control[] = [];

  constructor(shard: Shard) {
    this.#shard = shard;
  }

  add(control: Control): void {
    this.#waiting.push(control);
    this.#shard.turn.add(this);
  }

  endTurn(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const control of waiting) this.handle(control);
  }
}
