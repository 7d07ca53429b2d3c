// HOT: no allocation, closures, strings, try or async per message.
// What topic a message has at the other side of a bridge, on bytes. The first line of the configuration that covers a name decides, as in Mosquitto: its prefix at the side where the message comes from is taken away, and
// that of the other side is put in its place.
import { copyBytes, equalBytes } from '../../protocol/bytes.ts';
import { type BridgeTopic, localFilterOf, remoteFilterOf } from '../config/bridge-topics.ts';
import { covers } from '../security/filter.ts';

const SLASH = 0x2f;
const DOLLAR = 0x24;

interface Rule {
  readonly filter: Uint8Array;
  readonly prefix: Uint8Array;
  readonly newPrefix: Uint8Array;
  /** Whether the line says itself that names below $ are meant at the other side. */
  readonly leadsToDollar: boolean;
}

export class TopicMap {
  /** The name that `rename` has found, in its first bytes. Lent until the next call. */
  readonly name: Uint8Array = new Uint8Array(131_072);
  /** Most bytes by which a name can grow. */
  readonly growthBytesMax: number;
  readonly #rules: Rule[] = [];

  constructor(topics: readonly BridgeTopic[], way: 'out' | 'in') {
    let growth = 0;
    for (const topic of topics) {
      if (topic.direction !== way && topic.direction !== 'both') continue;
      const rule = ruleOf(topic, way);
      this.#rules.push(rule);
      growth = Math.max(growth, rule.newPrefix.length - rule.prefix.length);
    }
    this.growthBytesMax = growth;
  }

  /** Writes the name that the topic in [from, to) has at the other side to `name`; returns its length, or -1 where no line means it. */
  rename(topic: Uint8Array, from: number, to: number): number {
    const rules = this.#rules;
    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i]!;
      if (covers(rule.filter, topic, from, to)) return this.#put(rule, topic, from, to);
    }
    return -1;
  }

  #put({ prefix, newPrefix, leadsToDollar }: Rule, topic: Uint8Array, from: number, to: number): number {
    const { name } = this;
    const restFrom = from + prefix.length;
    let length = copyBytes(newPrefix, 0, newPrefix.length, name, 0);
    if (restFrom <= to) {
      length = copyBytes(topic, restFrom, to, name, length);
    } else {
      // `a/#` covers `a` too: it is the level above everything else that the line means, and stays so.
      const isAbove = to + 1 === restFrom && newPrefix[length - 1] === SLASH && equalBytes(topic, from, to, prefix, 0, to - from);
      if (!isAbove) return -1;
      length--;
    }
    if (length === 0 || (name[0] === DOLLAR && !leadsToDollar)) return -1;
    return length;
  }
}

function ruleOf(topic: BridgeTopic, way: 'out' | 'in'): Rule {
  const { localPrefix, remotePrefix } = topic;
  const ends = [localFilterOf(topic), remoteFilterOf(topic)] as const;
  const [source, target] = way === 'out' ? ends : [ends[1], ends[0]];
  const [prefix, newPrefix] = way === 'out' ? [localPrefix, remotePrefix] : [remotePrefix, localPrefix];
  return {
    filter: Buffer.from(source),
    prefix: Buffer.from(prefix),
    newPrefix: Buffer.from(newPrefix),
    leadsToDollar: target.startsWith('$'),
  };
}
