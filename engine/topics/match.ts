// HOT: no allocation, closures, strings, try or async per message.
// Finds the filters that a topic name matches (MQTT 5.0 §4.7): a walk of the trie with a stack of its own, at most one open
// branch for each level, so depth is bounded by LEVELS_MAX and not by the publisher.
import type { IntList } from '../memory/int-list.ts';
import { type Levels, NodeKind, OWNER, ROOT, ROW_SHIFT } from './levels.ts';
import { DOLLAR_SIGN, LEVELS_MAX, LevelScan } from './scan.ts';

/** Columns of a filter's node: its `+` child, its `#` child. */
export const PLUS_CHILD = OWNER;
export const HASH_CHILD = OWNER + 1;

export class TopicMatcher {
  readonly #scan = new LevelScan();
  // A branch is left open only where a `+` child waits for the literal child's subtree: at most one for each level.
  readonly #openNode = new Int32Array(LEVELS_MAX + 1);
  readonly #openDepth = new Int32Array(LEVELS_MAX + 1);

  /** Appends the nodes of all filters that match the topic name [from, to). */
  match(levels: Levels, topic: Uint8Array, from: number, to: number, out: IntList): void {
    const scan = this.#scan;
    scan.read(topic, from, to, levels.seed);
    const { rows } = levels;
    const { count } = scan;
    // [MQTT-4.7.2-1] A leading wildcard does not match a topic name that begins with `$`.
    const wildcardsFrom = from < to && topic[from] === DOLLAR_SIGN ? 1 : 0;
    let node = ROOT;
    let depth = 0;
    let open = 0;
    for (;;) {
      const row = node << ROW_SHIFT;
      const hash = depth >= wildcardsFrom ? rows[row + HASH_CHILD]! : 0;
      if (hash !== 0) out.push(hash);
      let next = 0;
      if (depth < count) {
        next = levels.find(node, NodeKind.LEVEL, scan.hash[depth]!, topic, scan.from[depth]!, scan.to[depth]!);
        const plus = depth >= wildcardsFrom ? rows[row + PLUS_CHILD]! : 0;
        if (next === 0) next = plus;
        else if (plus !== 0) {
          this.#openNode[open] = plus;
          this.#openDepth[open++] = depth + 1;
        }
      } else if (!scan.deeper) {
        out.push(node);
      }
      if (next !== 0) {
        node = next;
        depth++;
      } else if (open > 0) {
        node = this.#openNode[--open]!;
        depth = this.#openDepth[open]!;
      } else {
        return;
      }
    }
  }
}
