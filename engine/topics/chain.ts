// HOT: no allocation, closures, strings, try or async per message.
// Singly linked chains in shared memory that many threads change at once (after Harris, "A pragmatic implementation of non-blocking
// linked-lists", 2001, and Michael, "High performance dynamic lock-free hash tables and list-based sets", 2002). Three things are
// chains: the nodes of a bucket, the entries of a list, the groups of a filter.
//
//   link  Int32: bits 0-29 the next item, 0 for none; bit 30 MARK: the item that holds this link has been removed
//
// An item enters at the head only. To remove it is to mark its own link, which fixes the link for good; unlinking it is tidying, done by
// whoever passes. So a reader may stand on an item that is removed, unlinked, or both: its link leads on to every older item that is
// still there. That holds while the item's memory is not used for something else, which epochs.ts sees to.
import type { IntList } from '../memory/int-list.ts';

export const MARK = 1 << 30;
/** What a link names, whether marked or not. */
export const INDEX = MARK - 1;

/** Removes the item whose link stands at `at`. Only one caller ever removes an item. */
export function markLink(words: Int32Array, at: number): void {
  for (;;) {
    const link = Atomics.load(words, at);
    if (Atomics.compareExchange(words, at, link, link | MARK) === link) return;
  }
}

/** Makes `item`, whose link stands at `linkAt`, the head. */
export function pushItem(words: Int32Array, linkAt: number, item: number, heads: Int32Array, headAt: number): void {
  for (;;) {
    const head = Atomics.load(heads, headAt);
    words[linkAt] = head; // nobody follows the link yet
    if (Atomics.compareExchange(heads, headAt, head, item) === head) return;
  }
}

/**
 * Unlinks the removed items of a chain, in one pass that begins anew when another thread interferes. Appends to `gone` those that
 * this call has unlinked, in the order of the chain: each is given to one caller only. Returns how many items are left.
 * Whatever was marked before the call is out of the chain after it, whoever unlinked it.
 */
export function sweepChain(
  heads: Int32Array,
  headAt: number,
  words: Int32Array,
  rowShift: number,
  column: number,
  gone: IntList,
): number {
  let left = 0;
  let before = heads;
  let beforeAt = headAt;
  let item = Atomics.load(heads, headAt);
  while (item !== 0) {
    const at = (item << rowShift) + column;
    const link = Atomics.load(words, at);
    if ((link & MARK) === 0) {
      left++;
      before = words;
      beforeAt = at;
      item = link;
    } else if (Atomics.compareExchange(before, beforeAt, item, link & INDEX) === item) {
      gone.push(item);
      item = link & INDEX;
    } else {
      left = 0;
      before = heads;
      beforeAt = headAt;
      item = Atomics.load(heads, headAt);
    }
  }
  return left;
}
