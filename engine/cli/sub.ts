// `lethe sub`: from flags to a subscriber.
import type { Command } from 'commander';
import { Level } from '../../protocol/packet.ts';
import {
  addClientOptions,
  type ClientFlags,
  type ClientSettings,
  clientCommand,
  clientSettings,
  collect,
  isTopicFilter,
  NOT_A_FILTER,
  refuse,
  seconds,
  whole,
} from './client-options.ts';
import { exitCodesHelp } from './exit-code.ts';
import { endWith, Failure, messageOf } from './failure.ts';
import { formatHelp, formatPayload, formatVerbose, type MessageFormat, parseFormat } from './message-format.ts';
import { Subscriber, type Subscription } from './subscriber.ts';

interface SubFlags extends ClientFlags {
  readonly topic?: readonly string[];
  readonly unsubscribe?: readonly string[];
  readonly filterOut?: readonly string[];
  readonly count?: number;
  readonly timeout?: number;
  readonly exitOnSubscribe?: true;
  readonly skipRetained?: true;
  readonly retainedOnly?: true;
  readonly removeRetained?: true;
  readonly retainAsPublished?: true;
  readonly retainHandling?: number;
  readonly verbose?: true;
  readonly format?: string;
  readonly N?: true;
}

const examples = `
Examples:
  lethe sub -t 'sensors/#' -v                         topics and payloads
  lethe sub -t sensors/door -C 1 -W 10                wait for one message, at most ten seconds
  lethe sub -t '#' -F '%I %t %l'                      time, topic and length
  lethe sub -t jobs -q 1 -c -i worker -V 5 -x 3600    a session that outlives its connection by an hour
  lethe sub -t '$share/workers/jobs' -q 1             one of a group that shares the messages
  lethe sub -L mqtts://ada:secret@host/sensors/# --cafile ca.pem

A connection that is lost is made again. Ctrl-C ends in order.`;

const PROPERTY_COMMANDS = ['connect', 'subscribe', 'unsubscribe', 'disconnect', 'will'] as const;
const COUNT_MAX = 1_000_000_000;

export function subCommand(): Command {
  const command = clientCommand('sub')
    .description('subscribe, and write the messages that arrive to standard output')
    .option('-t, --topic <filter>', 'topic filter to subscribe to; may be repeated', collect)
    .option('-U, --unsubscribe <filter>', 'topic filter to unsubscribe from; may be repeated', collect)
    .option('-T, --filter-out <filter>', 'do not show topics that match this; may be repeated', collect)
    .option('-v, --verbose', 'show the topic before the payload')
    .option('-F, --format <format>', 'show messages in this format, see below')
    .option('-N', 'no end of line behind a message')
    .option('-C, --count <count>', 'end after this many messages', whole(1, COUNT_MAX))
    .option('-W, --timeout <seconds>', 'end after this time, with exit code 4', seconds(0.001))
    .option('-E, --exit-on-subscribe', 'end when the subscriptions are acknowledged')
    .option('-R, --skip-retained', 'do not show messages that were retained')
    .option('--retained-only', 'show messages that were retained, and end with the first that was not')
    .option('--remove-retained', 'have the broker forget each retained message that arrives, but for those of -T')
    .option('--retain-as-published', 'have the retained flag come as the publisher set it (MQTT 5)')
    .option(
      '--retain-handling <handling>',
      'retained messages: 0 send, 1 send for a new subscription, 2 none (MQTT 5)',
      whole(0, 2),
    )
    .addHelpText('after', examples)
    .addHelpText('after', formatHelp)
    .addHelpText('after', exitCodesHelp);
  addClientOptions(command, PROPERTY_COMMANDS);
  return command.action(async (flags: SubFlags) => {
    try {
      const settings = clientSettings(command, flags, PROPERTY_COMMANDS);
      await new Subscriber(settings, subscriptionOf(command, flags, settings)).run();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      endWith('sub', error, flags.quiet);
    }
  });
}

function subscriptionOf(command: Command, flags: SubFlags, { address, level }: ClientSettings): Subscription {
  const filters = [...(flags.topic ?? []), ...(address.topic === undefined ? [] : [address.topic])];
  const { unsubscribe = [], filterOut = [], retainAsPublished = false, retainHandling = 0 } = flags;
  if (filters.length === 0 && unsubscribe.length === 0) refuse(command, 'no topic filter: give -t');
  for (const [option, given] of Object.entries({ '-t': filters, '-U': unsubscribe, '-T': filterOut }))
    for (const filter of given) if (!isTopicFilter(filter)) refuse(command, `${option} '${filter}' ${NOT_A_FILTER}`);
  if (flags.skipRetained && flags.retainedOnly) refuse(command, '-R and --retained-only leave nothing to show: give one of them');
  if ((retainAsPublished || flags.retainHandling !== undefined) && level !== Level.V5)
    refuse(command, '--retain-as-published and --retain-handling need MQTT 5: give -V 5');
  return {
    filters,
    unsubscribe,
    hidden: filterOut.map((filter) => Buffer.from(filter)),
    qos: flags.qos,
    retained: flags.skipRetained ? 'skip' : flags.retainedOnly ? 'only' : 'show',
    removeRetained: flags.removeRetained ?? false,
    retainAsPublished,
    retainHandling,
    format: formatOf(command, flags),
    endOfMessage: Buffer.from(flags.N ? '' : '\n'),
    count: flags.count ?? Number.POSITIVE_INFINITY,
    timeoutS: flags.timeout ?? null,
    endsWhenSubscribed: flags.exitOnSubscribe ?? false,
    tell: flags.quiet ? () => {} : (message) => process.stderr.write(`lethe sub: ${message}\n`),
  };
}

function formatOf(command: Command, flags: SubFlags): MessageFormat {
  if (flags.format === undefined) return flags.verbose ? formatVerbose : formatPayload;
  try {
    return parseFormat(flags.format);
  } catch (error) {
    return refuse(command, `-F: ${messageOf(error)}`);
  }
}
