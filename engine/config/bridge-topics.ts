// A topic line of a bridge, in Mosquitto's words: pattern [direction [qos [local-prefix [remote-prefix]]]]. Read here and nowhere else; what it does to a topic name is the business of bridge/topic-map.ts.
import { shareFilterFrom, validateTopicFilter, validateTopicName } from '../../protocol/topic.ts';

export type BridgeDirection = 'out' | 'in' | 'both';

/** One line. The filter at either side is the prefix of that side and the pattern behind it. */
export interface BridgeTopic {
  /** Empty: the two prefixes are whole topic names. */
  readonly pattern: string;
  readonly direction: BridgeDirection;
  readonly qos: 0 | 1 | 2;
  readonly localPrefix: string;
  readonly remotePrefix: string;
}

/** Bounds of the broker that has the bridge. */
export interface TopicBounds {
  readonly topicBytesMax: number;
  readonly topicLevelsMax: number;
}

const WORDS_MAX = 5;
const DIRECTIONS: readonly string[] = ['out', 'in', 'both'] satisfies readonly BridgeDirection[];

/** The line as it is meant, or what is wrong with it in words. */
export function parseTopicLine(line: string, bounds: TopicBounds): BridgeTopic | string {
  const words = wordsOf(line);
  if (words === null) return 'a quote is not closed, or something follows it without a space';
  if (words.length === 0) return 'is empty; write pattern [direction [qos [local-prefix [remote-prefix]]]]';
  if (words.length > WORDS_MAX) return 'has more than pattern, direction, qos, local-prefix and remote-prefix';
  const [pattern, direction = 'out', qos = '0', localPrefix = '', remotePrefix = ''] = words as [string, ...string[]];
  if (!DIRECTIONS.includes(direction)) return 'must have out, in or both behind the pattern';
  if (!/^[012]$/.test(qos)) return 'must have 0, 1 or 2 behind the direction';
  const topic = { pattern, direction: direction as BridgeDirection, qos: Number(qos) as 0 | 1 | 2, localPrefix, remotePrefix };
  return problemOf(topic, bounds) ?? topic;
}

/** The filter of the messages that a line means in this broker. */
export function localFilterOf({ localPrefix, pattern }: BridgeTopic): string {
  return localPrefix + pattern;
}

/** Likewise in the remote one. */
export function remoteFilterOf({ remotePrefix, pattern }: BridgeTopic): string {
  return remotePrefix + pattern;
}

function problemOf(topic: BridgeTopic, bounds: TopicBounds): string | null {
  const { pattern, direction, localPrefix, remotePrefix } = topic;
  if (pattern === '' && (localPrefix === '' || remotePrefix === ''))
    return 'an empty pattern needs both prefixes: the topic here and the topic there';
  if (/[+#]/.test(localPrefix + remotePrefix)) return 'a prefix must not have wildcards';
  for (const filter of [localFilterOf(topic), remoteFilterOf(topic)]) {
    const bytes = Buffer.from(filter);
    if (shareFilterFrom(bytes, 0, bytes.length) !== 0) return 'a shared subscription cannot be bridged';
    const { topicBytesMax, topicLevelsMax } = bounds;
    if (validateTopicFilter(bytes, 0, bytes.length, topicBytesMax, topicLevelsMax) < 0)
      return 'prefix and pattern do not make a valid topic filter within limits.topic_bytes_max and limits.topic_levels_max';
  }
  if (direction !== 'out' && /^\$SYS(\/|$)/.test(localFilterOf(topic)))
    return "nothing can come in below $SYS: it is this broker's own; give it another local-prefix";
  return null;
}

/** Whether a text can be a topic name. */
export function isTopicName(name: string, { topicBytesMax, topicLevelsMax }: TopicBounds): boolean {
  const bytes = Buffer.from(name);
  return validateTopicName(bytes, 0, bytes.length, topicBytesMax, topicLevelsMax) > 0;
}

/** Words between spaces; one in double quotes may have spaces in it, or be empty. Null: a quote has no end. */
function wordsOf(line: string): string[] | null {
  const words: string[] = [];
  let rest = line.trim();
  while (rest !== '') {
    const word = /^(?:"([^"]*)"|([^\s"]+))(?=\s|$)/.exec(rest);
    if (word === null) return null;
    words.push(word[1] ?? word[2]!);
    rest = rest.slice(word[0].length).trimStart();
  }
  return words;
}
