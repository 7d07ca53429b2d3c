// Micro-benchmark of engine/topics: a match with a million subscriptions, cold and cached, and what changing them costs.
// Run: npm run build && node dist/bench/micro/topics.bench.js
import { Bench } from 'tinybench';
import { IntList } from '../../engine/memory/int-list.ts';
import { TopicCache } from '../../engine/topics/cache.ts';
import { RetainedIndex } from '../../engine/topics/retained.ts';
import { MatchList, SubscriptionTrie } from '../../engine/topics/trie.ts';
import { defaultLimits } from '../../protocol/limits.ts';

const SUBSCRIPTIONS = 1_000_000;
const TOPICS = 65_536;
const BATCH = 1_024;

// A step of a full-period generator: visits are random enough to defeat the processor's caches, and the same in every run.
let state = 1;
function below(bound: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
  return (state >>> 8) % bound;
}

/** Of ten filters seven name one sensor, the others have wildcards at the start, in the middle or at the end. */
function filterOf(kind: number, site: number, device: number, sensor: number): string {
  if (kind === 0) return `site/${site}/device/${device}/#`;
  if (kind === 1) return `site/+/device/${device}/sensor-${sensor}`;
  if (kind === 2) return `+/${site}/device/+/sensor-${sensor}`;
  return `site/${site}/device/${device}/sensor-${sensor}`;
}

const trie = new SubscriptionTrie({ nodesMax: defaultLimits.trieNodesMax, subscriptionsMax: defaultLimits.trieSubscriptionsMax });
const filling = performance.now();
for (let at = 0; at < SUBSCRIPTIONS; at++) {
  const filter = Buffer.from(filterOf(at % 10, below(1_000), below(1_000), below(50)));
  trie.subscribe(filter, 0, filter.length, at, 1, 0);
}
console.log(`${trie.subscriptions} subscriptions, ${trie.nodes} nodes, filled in ${(performance.now() - filling).toFixed(0)} ms`);

/** Topics as the broker meets them: one after the other in a read buffer. */
class TopicTape {
  readonly bytes: Uint8Array;
  readonly starts: Int32Array;

  constructor(count: number, topicOf: (at: number) => string) {
    const topics = Array.from({ length: count }, (_, at) => topicOf(at));
    this.bytes = new Uint8Array(Buffer.from(topics.join('')));
    this.starts = new Int32Array(count + 1);
    for (const [at, topic] of topics.entries()) this.starts[at + 1] = this.starts[at]! + topic.length;
  }
}

const many = new TopicTape(TOPICS, () => filterOf(9, below(1_000), below(1_000), below(50)));
const few = new TopicTape(BATCH, (at) => `sensor/${10_000 + at}/value/t`);
const matches = new MatchList();
const manyCache = new TopicCache<number>(TOPICS * 4);
const fewCache = new TopicCache<number>(TOPICS);
const retained = new RetainedIndex(defaultLimits.retainedMessagesMax);
for (let at = 0; at < TOPICS; at++) {
  manyCache.put(many.bytes, many.starts[at]!, many.starts[at + 1]!, 1, at);
  retained.set(many.bytes, many.starts[at]!, many.starts[at + 1]!, at);
}
for (let at = 0; at < BATCH; at++) fewCache.put(few.bytes, few.starts[at]!, few.starts[at + 1]!, 1, at);
const retainedFilter = Buffer.from('site/7/device/+/#');
const handles = new IntList();

let next = 0;
let rows = 0;
/** Index of a topic far from the last one. */
function nextTopic(): number {
  next = (next + 40_503) & (TOPICS - 1);
  return next;
}

const bench = new Bench({ time: 1_000, warmupTime: 300 });
bench
  .add('match, cold, 1 M subscriptions', () => {
    for (let i = 0; i < BATCH; i++) {
      const at = nextTopic();
      rows += trie.match(many.bytes, many.starts[at]!, many.starts[at + 1]!, matches);
    }
  })
  .add('cache hit, 65,536 topics of 34 bytes at random', () => {
    for (let i = 0; i < BATCH; i++) {
      const at = nextTopic();
      rows += manyCache.find(many.bytes, many.starts[at]!, many.starts[at + 1]!, 1);
    }
  })
  .add('cache hit, 1,024 topics of 20 bytes in turn', () => {
    for (let at = 0; at < BATCH; at++) rows += fewCache.find(few.bytes, few.starts[at]!, few.starts[at + 1]!, 1);
  })
  .add('subscribe and unsubscribe again', () => {
    for (let i = 0; i < BATCH; i++) {
      const at = nextTopic();
      trie.subscribe(many.bytes, many.starts[at]!, many.starts[at + 1]!, SUBSCRIPTIONS, 1, 0);
      trie.unsubscribe(many.bytes, many.starts[at]!, many.starts[at + 1]!, SUBSCRIPTIONS);
    }
  })
  .add('retained: set again', () => {
    for (let i = 0; i < BATCH; i++) {
      const at = nextTopic();
      rows += retained.set(many.bytes, many.starts[at]!, many.starts[at + 1]!, i);
    }
  })
  .add('retained: match site/7/device/+/#', () => {
    for (let i = 0; i < BATCH; i++) {
      handles.clear();
      rows += retained.match(retainedFilter, 0, retainedFilter.length, handles);
    }
  });
await bench.run();

let matched = 0;
for (let at = 0; at < TOPICS; at++) matched += trie.match(many.bytes, many.starts[at]!, many.starts[at + 1]!, matches);
console.log(
  `${(matched / TOPICS).toFixed(1)} rows a match, ${handles.count} handles for the retained filter, checksum ${rows & 1}`,
);
console.table(
  bench.tasks.map((task) => {
    const { result } = task;
    if (result.state !== 'completed') return { task: task.name, state: result.state };
    return {
      task: task.name,
      'ns each (mean)': Math.round((result.latency.mean * 1e6) / BATCH),
      'ns each (p99 of batches)': Math.round((result.latency.p99 * 1e6) / BATCH),
    };
  }),
);
