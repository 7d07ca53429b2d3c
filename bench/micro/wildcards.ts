// A million subscriptions, three in ten with wildcards, and topics to match with them: what the suites of topics and bench:peers share.
// Topics lie one after the other on a tape, as in a read buffer, and are visited far from each other.
import { RouteTable } from '../../engine/routing/route.ts';
import { SessionTable } from '../../engine/sessions/table.ts';
import { MatchList, SubscriptionTrie } from '../../engine/topics/trie.ts';
import { defaultLimits } from '../../protocol/limits.ts';
import { median } from '../median.ts';
import { Dice } from './stand-ins.ts';

export const SUBSCRIPTIONS = 1_000_000;
/** Topics that a cache of the default size holds, and four times as many as it holds. */
export const KNOWN_TOPICS = 16_384;
/** So many that few of them are still in the cache when they come again. */
export const STRANGE_TOPICS = defaultLimits.topicCacheEntries * 16;

/** Topics as the broker meets them. */
export class TopicTape {
  readonly bytes: Uint8Array;
  readonly starts: Int32Array;
  readonly count: number;
  /** The topic that `next` chose: [from, to) of `bytes`. */
  from = 0;
  to = 0;
  #at = 0;

  /** @param count a power of two */
  constructor(count: number, topicOf: (at: number) => string) {
    const topics = Array.from({ length: count }, (_, at) => topicOf(at));
    this.count = count;
    this.bytes = new Uint8Array(Buffer.from(topics.join('')));
    this.starts = new Int32Array(count + 1);
    for (const [at, topic] of topics.entries()) this.starts[at + 1] = this.starts[at]! + topic.length;
  }

  /** Goes to a topic far from the last one; all are visited before one comes again. */
  next(): void {
    this.#at = (this.#at + STRIDE) & (this.count - 1);
    this.from = this.starts[this.#at]!;
    this.to = this.starts[this.#at + 1]!;
  }
}

/** Odd, so that a power of two is visited whole. */
const STRIDE = 40_503;

/** Of ten filters seven name one sensor, the others have wildcards at the start, in the middle or at the end. */
function filterOf(kind: number, site: number, device: number, sensor: number): string {
  if (kind === 0) return `site/${site}/device/${device}/#`;
  if (kind === 1) return `site/+/device/${device}/sensor-${sensor}`;
  if (kind === 2) return `+/${site}/device/+/sensor-${sensor}`;
  return `site/${site}/device/${device}/sensor-${sensor}`;
}

const NAMED = 9;

export interface Wildcards {
  readonly trie: SubscriptionTrie;
  /** Topics that fit into a cache of routes: all but the first visits hit. */
  readonly known: TopicTape;
  /** Topics that are forgotten before they come again. */
  readonly strange: TopicTape;
}

/** Builds the trie and the tapes: some seconds, and about half a gigabyte. */
export function buildWildcards(): Wildcards {
  const dice = new Dice();
  const trie = new SubscriptionTrie({
    nodesMax: defaultLimits.trieNodesMax,
    subscriptionsMax: defaultLimits.trieSubscriptionsMax,
  });
  for (let at = 0; at < SUBSCRIPTIONS; at++) {
    const filter = Buffer.from(filterOf(at % 10, dice.below(1_000), dice.below(1_000), dice.below(50)));
    if (trie.subscribe(filter, 0, filter.length, at, 1, 0) < 0) throw new Error('bench: the trie is full');
  }
  const topic = () => filterOf(NAMED, dice.below(1_000), dice.below(1_000), dice.below(50));
  const known = new TopicTape(KNOWN_TOPICS, topic);
  const strange = new TopicTape(STRANGE_TOPICS, topic);
  return { trie, known, strange };
}

/** Routes over the trie, with a cache of the default size. */
export function routesOver(trie: SubscriptionTrie): RouteTable {
  return new RouteTable(trie, new SessionTable(defaultLimits.sessionsMax), defaultLimits, null, null);
}

/** Finds the route of the tape's next topic. */
export function findNext(routes: RouteTable, tape: TopicTape): void {
  tape.next();
  if (routes.find(tape.bytes, tape.from, tape.to) < 0) throw new Error('bench: a topic is not valid');
}

/** Matches the tape's next topic in the trie alone; returns the rows. */
export function matchNext(trie: SubscriptionTrie, tape: TopicTape, matches: MatchList): number {
  tape.next();
  return trie.match(tape.bytes, tape.from, tape.to, matches);
}

export interface WildcardFigures {
  readonly subscriptions: number;
  /** Time to find a publish's receivers, for a topic that the cache does not know: validated, matched, merged into a route and kept. */
  readonly coldNs: number;
  /** Of that, the walk of the trie alone. */
  readonly matchNs: number;
  /** The same for a topic that it knows. */
  readonly cachedNs: number;
}

const ROUNDS = 7;
const VISITS_TO_BE_KEPT = 32;

/** Medians of some rounds over all topics of each tape; throws when the cache knew what it should not, or the reverse. */
export function wildcardFigures(): WildcardFigures {
  const { trie, known, strange } = buildWildcards();
  const routes = routesOver(trie);
  const matches = new MatchList();
  const matchNs = roundsOver(strange, () => matchNext(trie, strange, matches));
  const coldNs = roundsOver(strange, () => findNext(routes, strange));
  if (routes.cache.hits > routes.cache.misses / 100) throw new Error('bench: the cache knew what should be strange to it');
  // What fills a set of the cache is not let in at once.
  for (let at = 0; at < known.count * VISITS_TO_BE_KEPT; at++) findNext(routes, known);
  const { misses } = routes.cache;
  const cachedNs = roundsOver(known, () => findNext(routes, known));
  if (routes.cache.misses - misses > known.count / 10) throw new Error('bench: the cache did not keep what it should');
  return { subscriptions: trie.subscriptions, coldNs, matchNs, cachedNs };
}

/** Nanoseconds for one topic; a first round fills the cache and is not counted. Of the strange topics none comes twice in all rounds. */
function roundsOver(tape: TopicTape, once: () => void): number {
  const topics = Math.min(tape.count, STRANGE_TOPICS / (ROUNDS + 1));
  const figures: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const started = performance.now();
    for (let at = 0; at < topics; at++) once();
    if (round > 0) figures.push(((performance.now() - started) * 1e6) / topics);
  }
  return median(figures);
}
