// `lethe inventory`: what a data directory holds, asked of the broker that runs on it, or read from it when none does.
import { Command } from 'commander';
import type { HeldClass } from '../../storage/store.ts';
import type { ClientsHeld } from '../administration/held-by-client.ts';
import { systemClock } from '../clock.ts';
import type { Inventory } from '../lethe.ts';
import { inventoryOf } from '../shards/stopped-directory.ts';
import { ask } from './ask.ts';
import { ExitCode, exitCodesHelp } from './exit-code.ts';
import { endWith, Failure } from './failure.ts';
import { type FolderFlags, folderConfig, withFolderOptions } from './folder-options.ts';

const EXAMPLES = `
Examples:
  lethe inventory --data /var/lib/lethe
  lethe inventory --config /etc/lethe.toml --json
  lethe inventory --data /var/lib/lethe --by-client --limit 20

Counts are of messages as they are stored: once, however many sessions wait for them. Bytes are those of topic, properties and
payload; of the encrypted record for sessions and wills. No name and no payload is ever shown.`;

export function inventoryCommand(): Command {
  return withFolderOptions(new Command('inventory'))
    .description('show what is held, how much and how old, on a running or a stopped data directory')
    .option('--json', 'print JSON, times in ms since 1970')
    .option('--by-client', 'what is held for each client, by pseudonym (lethe pseudonym), the largest first')
    .option('--limit <n>', 'clients to show with --by-client, at most 100000', '1000')
    .addHelpText('after', EXAMPLES)
    .addHelpText('after', exitCodesHelp)
    .action(async (flags: FolderFlags & { readonly json?: boolean; readonly byClient?: boolean; readonly limit: string }) => {
      try {
        if (flags.byClient === true) {
          const path = `/v1/inventory/clients?limit=${encodeURIComponent(flags.limit)}`;
          const clients = (await ask(folderConfig(flags), 'GET', path)) as ClientsHeld;
          process.stdout.write(flags.json === true ? `${JSON.stringify(clients)}\n` : clientTable(clients));
          return;
        }
        const inventory = await inventoryOf(folderConfig(flags));
        process.stdout.write(flags.json === true ? `${JSON.stringify(inventory)}\n` : table(inventory));
      } catch (error) {
        endWith('inventory', error instanceof Failure ? error : new Failure((error as Error).message, ExitCode.FAILURE));
      }
    });
}

function table(inventory: Inventory): string {
  const rows: readonly (readonly [name: string, held: HeldClass])[] = [
    ['messages', inventory.messages],
    ['retained', inventory.retained],
    ['sessions', inventory.sessions],
    ['wills', inventory.wills],
    ['quarantined', inventory.quarantined],
  ];
  const lines = rows.map(([name, { count, bytes, oldestMs }]) => {
    const age = oldestMs === null ? '-' : ageOf(systemClock.wallMs() - oldestMs);
    return `${name.padEnd(12)} ${String(count).padStart(12)} ${String(bytes).padStart(15)}   ${age}`;
  });
  const owed = `owed to sessions: ${inventory.queued.deliveries} deliveries, ${inventory.inFlight.deliveries} of them in flight`;
  const keys = inventory.hasMasterKey
    ? 'keys: wrapped by a master key'
    : 'keys: no master key; the mode of the files alone protects them (spool.key_file gives one)';
  return `${'held'.padEnd(12)} ${'count'.padStart(12)} ${'bytes'.padStart(15)}   oldest\n${lines.join('\n')}\n${owed}\n${keys}\n`;
}

function clientTable({ sessions, clients }: ClientsHeld): string {
  const head = `${'client'.padEnd(26)} ${'messages'.padStart(10)} ${'bytes'.padStart(13)} ${'in flight'.padStart(9)} ${'filters'.padStart(7)}  ${'oldest'.padEnd(8)} away`;
  const lines = clients.map(({ client, messages, bytes, inFlight, subscriptions, oldestMs, awaySinceMs, hasWill }) => {
    const oldest = oldestMs === null ? '-' : ageOf(systemClock.wallMs() - oldestMs);
    const away = awaySinceMs === null ? '-' : ageOf(systemClock.wallMs() - awaySinceMs);
    const figures = [
      String(messages).padStart(10),
      String(bytes).padStart(13),
      String(inFlight).padStart(9),
      String(subscriptions).padStart(7),
    ];
    return `${client.padEnd(26)} ${figures.join(' ')}  ${oldest.padEnd(8)} ${away}${hasWill ? ', with a will' : ''}`;
  });
  return `${[head, ...lines].join('\n')}\n${clients.length} of ${sessions} sessions\n`;
}

function ageOf(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} d`;
}
