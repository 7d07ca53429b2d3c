// Micro-benchmarks of engine/topics: a match with a million subscriptions, cold and cached, and what changing them costs.
import { IntList } from '../../engine/memory/int-list.ts';
import { TopicCache } from '../../engine/topics/cache.ts';
import { RetainedIndex } from '../../engine/topics/retained.ts';
import { MatchList } from '../../engine/topics/trie.ts';
import { defaultLimits } from '../../protocol/limits.ts';
import { Nature, type Suite, Tasks } from './suite.ts';
import { buildWildcards, findNext, matchNext, routesOver, SUBSCRIPTIONS, TopicTape } from './wildcards.ts';

const FEW = 1_024;

export const topicsSuite: Suite = { key: 'topics', build };

function build(): Tasks {
  const tasks = new Tasks('topics');
  const { trie, known, strange } = buildWildcards();
  const cold = routesOver(trie);
  const cached = routesOver(trie);
  const matches = new MatchList();
  const few = new TopicTape(FEW, (at) => `sensor/${10_000 + at}/value/t`);
  const cache = new TopicCache<number>(defaultLimits.topicCacheEntries);
  const retained = new RetainedIndex(defaultLimits.retainedMessagesMax);
  for (let at = 0; at < known.count; at++) {
    known.next();
    retained.set(known.bytes, known.from, known.to, at);
  }
  for (let at = 0; at < known.count; at++) findNext(cached, known);
  for (let at = 0; at < few.count; at++) {
    few.next();
    cache.put(few.bytes, few.from, few.to, 1, at);
  }
  const filter = Buffer.from('site/7/device/+/#');
  const handles = new IntList();
  let found = 0;

  tasks.each(
    'match',
    'trie: match, 1 M subscriptions',
    () => {
      found += matchNext(trie, strange, matches);
    },
    Nature.MEMORY,
  );
  tasks.each('route-cold', 'route of an unknown topic, 1 M subscriptions', () => findNext(cold, strange), Nature.MEMORY);
  tasks.each('route-cached', 'route of one of 16,384 known topics, at random', () => findNext(cached, known), Nature.MEMORY);
  tasks.each('cache', 'cache: one of 1,024 topics of 20 bytes', () => {
    few.next();
    found += cache.find(few.bytes, few.from, few.to, 1);
  });
  tasks.each(
    'subscribe',
    'trie: subscribe and unsubscribe again',
    () => {
      known.next();
      trie.unsubscribe(trie.subscribe(known.bytes, known.from, known.to, SUBSCRIPTIONS, 1, 0));
    },
    Nature.MEMORY,
  );
  tasks.each(
    'retained-set',
    'retained: set again',
    (at) => {
      known.next();
      found += retained.set(known.bytes, known.from, known.to, at);
    },
    Nature.MEMORY,
  );
  tasks.each('retained-match', 'retained: match site/7/device/+/#', () => {
    handles.clear();
    found += retained.match(filter, 0, filter.length, handles);
  });
  tasks.end = () => {
    if (found === 0) throw new Error('bench: nothing was found');
  };
  return tasks;
}
