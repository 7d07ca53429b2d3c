// `lethe erase`: what is held of a client or a user, or under topics, goes at once; prints the receipt.
import { Command } from 'commander';
import type { EraseReceipt } from '../administration/erasure.ts';
import { ask } from './ask.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { endWith, Failure, messageOf } from './failure.ts';
import { type FolderFlags, folderConfig, withFolderOptions } from './folder-options.ts';

interface EraseFlags extends FolderFlags {
  readonly client?: string;
  readonly user?: string;
  readonly topic?: string;
  readonly retained?: string;
  readonly json?: boolean;
}

const KINDS = ['client', 'user', 'topic', 'retained'] as const;

const HELP = `
Exactly one of --client, --user, --topic and --retained. Works on a running broker and on a stopped data directory. The command ends when
all of it is beyond recovery: removed, and its keys destroyed. A client's connection ends (0x98) and its will is not published.
Messages that a client has published and others wait for stay: nothing stored says who published a message; --topic erases them.
A filter that begins with a wildcard does not match topics that begin with $ (MQTT 5.0 §4.7.2): give those a filter of their own.

Examples:
  lethe erase --client sensor-17 --data /var/lib/lethe
  lethe erase --topic 'people/anna/#' --config /etc/lethe.toml --json`;

export function eraseCommand(): Command {
  return withFolderOptions(new Command('erase'))
    .description('erase what is held of a client or a user, or under a topic filter, and print a receipt')
    .option('--client <id>', 'the session of a client: subscriptions, queued messages, will')
    .option('--user <name>', 'the sessions of all clients that came under a user name')
    .option('--topic <filter>', 'queued and retained messages and wills with such a topic, whoever waits for them')
    .option('--retained <filter>', 'retained messages with such a topic')
    .option('--json', 'print the receipt as JSON')
    .addHelpText('after', HELP)
    .addHelpText('after', exitCodesHelp)
    .action(async (flags: EraseFlags) => {
      try {
        const target = targetOf(flags);
        const receipt = (await ask(folderConfig(flags), 'POST', '/v1/erase', target)) as EraseReceipt;
        process.stdout.write(flags.json === true ? `${JSON.stringify(receipt)}\n` : describe(receipt));
      } catch (error) {
        endWith('erase', error instanceof Failure ? error : new Failure(messageOf(error)));
      }
    });
}

function targetOf(flags: EraseFlags): Readonly<Record<string, string>> {
  const given = KINDS.flatMap((kind) => (flags[kind] === undefined ? [] : [[kind, flags[kind]] as const]));
  if (given.length !== 1) throw new Failure(`give exactly one of ${KINDS.map((kind) => `--${kind}`).join(', ')}`, ExitCode.USAGE);
  return Object.fromEntries(given);
}

function describe({ receipt, kind, subject, time, tookMs, erased }: EraseReceipt): string {
  const { sessions, connections, subscriptions, deliveries, wills, retained, setAside } = erased;
  const isNothing = Object.values(erased).every((count) => count === 0);
  const result = isNothing ? `nothing was held at ${time}` : `erased, and beyond recovery since ${time}`;
  return `${result} (${tookMs} ms)
receipt       ${receipt}
subject       ${kind} ${subject}
sessions      ${sessions}, of which connected ${connections}
subscriptions ${subscriptions}
deliveries    ${deliveries}
wills         ${wills}
retained      ${retained}
set aside     ${setAside} damaged values
`;
}
