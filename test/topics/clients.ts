// Subscriptions by name, for the tests: remembers each subscriber's entry, as its session would.
import { MatchList, type SubscriptionTrie } from '../../engine/topics/trie.ts';

const SHARE = '$share/';

export class Clients {
  readonly trie: SubscriptionTrie;
  readonly list = new MatchList();
  readonly #entries = new Map<string, number>();

  constructor(trie: SubscriptionTrie) {
    this.trie = trie;
  }

  /** 1 for a new subscription, 0 when it replaced the options and identifier of one, or a fault. The filter may begin with `$share/`. */
  subscribe(filter: string, subscriber: number, options = 0, identifier = 0): number {
    const key = `${subscriber} ${filter}`;
    const known = this.#entries.get(key);
    if (known !== undefined) {
      this.trie.change(known, options, identifier);
      return 0;
    }
    const entry = enter(this.trie, filter, subscriber, options, identifier);
    if (entry < 0) {
      this.trie.quiesce(); // what was made for it is free again
      return entry;
    }
    if (entry === 0) throw new Error('entry 0');
    this.#entries.set(key, entry);
    return 1;
  }

  /** 1 when the subscription was there and is gone, 0 when there was none. */
  unsubscribe(filter: string, subscriber: number): number {
    const key = `${subscriber} ${filter}`;
    const entry = this.#entries.get(key);
    if (entry === undefined) return 0;
    this.#entries.delete(key);
    this.trie.unsubscribe(entry);
    this.trie.quiesce();
    return 1;
  }

  entry(filter: string, subscriber: number): number {
    return this.#entries.get(`${subscriber} ${filter}`) ?? 0;
  }

  /** Subscribers that match, one for each filter, in ascending order; the rest stands in `list`. */
  match(topic: string): number[] {
    const { list } = this;
    const bytes = Buffer.from(`??${topic}?`);
    const found = this.trie.match(bytes, 2, bytes.length - 1, list);
    if (found !== list.count + list.groupCount) throw new Error('match: another count than its rows');
    return Array.from(list.subscriber.subarray(0, list.count)).sort((a, b) => a - b);
  }

  groups(topic: string): number[] {
    this.match(topic);
    return Array.from(this.list.group.subarray(0, this.list.groupCount));
  }
}

/** Enters a filter, `$share/group/filter` or plain: the entry, or a fault. */
export function enter(trie: SubscriptionTrie, filter: string, subscriber: number, options: number, identifier: number): number {
  const bytes = Buffer.from(filter);
  if (!filter.startsWith(SHARE)) return trie.subscribe(bytes, 0, bytes.length, subscriber, options, identifier);
  const groupTo = bytes.indexOf('/', SHARE.length);
  return trie.subscribeShared(bytes, SHARE.length, groupTo, bytes, groupTo + 1, bytes.length, subscriber, options, identifier);
}
