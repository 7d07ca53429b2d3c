// What finding the receivers of a publish takes inside Lethe with a million subscriptions: more than can be made over the wire in the time.
import { wildcardFigures } from '../micro/wildcards.ts';
import type { Cell } from './cell.ts';
import { showNanoseconds } from './show.ts';

export function insideCell(): Cell {
  const of = (key: string, title: string, ...aims: { readonly atMost: number }[]) => {
    return { key, title, better: 'less', show: showNanoseconds, aims } as const;
  };
  return {
    key: 'match',
    group: 'Wildcards',
    title: 'a million filters, in process, per publish',
    figures: [
      of('cold', 'topic not in the cache', { atMost: 5_000 }),
      of('match', 'of that the walk of the trie'),
      of('cached', 'topic in the cache', { atMost: 1_000 }),
    ],
    roundsMax: 1,
    limitS: 60,
    isInside: true,
    async measure() {
      const { coldNs, matchNs, cachedNs } = wildcardFigures();
      const figures = { cold: coldNs, match: matchNs, cached: cachedNs };
      return { figures, cpuPerMillionS: null, residentBytes: null, wrongs: {}, bound: null };
    },
  };
}
