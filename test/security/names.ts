// Filters and topic names over so few different levels that they meet often, and all names there are over them.
import fc from 'fast-check';

const level = fc.constantFrom('a', 'b', '', '$x');

export const topics = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/') || 'a');

export const filters = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 3 }), fc.constantFrom('a', '', '+', '#', '#'))
  .map(([head, last]) => [...head, last].join('/') || '+');

/**
 * Every topic name of up to `depth` levels over the levels that the arbitraries use, and one more. The empty one counts too, though no
 * client can use it: `/#` and `+` meet there, and the relations need not know better.
 */
export function everyTopic(depth: number): string[] {
  const names: string[] = [];
  let shorter: string[] = [''];
  for (let i = 0; i < depth; i++) {
    shorter = shorter.flatMap((start) => ['a', 'b', '', '$x', 'z'].map((name) => (i === 0 ? name : `${start}/${name}`)));
    names.push(...shorter);
  }
  return names;
}
