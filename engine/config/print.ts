// The configuration as a file that would make it: every option, with its range and one line of help.
import { stringify } from 'smol-toml';
import { limitRanges } from '../../protocol/limits.ts';
import { type AdminConfig, type Config, type ListenerConfig, OVERFLOWS } from './load.ts';
import { optionHelp, snakeCase } from './schema.ts';

/** A complete TOML file; loading it gives the same configuration. */
export function printConfig(config: Config): string {
  const sections = (['server', 'session', 'spool', 'auth', 'admin', 'audit', 'limits'] as const).map((name) =>
    name === 'admin' ? printAdmin(config.admin) : printTable(name, { ...config[name] }),
  );
  const listeners = config.listeners.map((listener) => printListener(listener));
  return `# Lethe: every option. Files, then LETHE_SECTION__KEY variables, then flags; the last one wins.\n\n${[...sections, ...listeners].join('\n')}`;
}

function printTable(section: string, values: Readonly<Record<string, unknown>>): string {
  const lines = Object.entries(values).map(([name, value]) => printOption(section, name, value));
  return `[${section}]\n${lines.join('')}`;
}

function printAdmin({ port, ...rest }: AdminConfig): string {
  if (port !== null) return printTable('admin', { port, ...rest });
  return printTable('admin', rest).replace('[admin]\n', `[admin]\n# ${optionHelp['admin.port']}\n# port = 9083\n`);
}

function printListener(listener: ListenerConfig): string {
  const { tlsMinVersion, queueOverflow, origins, ...rest } = listener;
  const values = {
    ...rest,
    tlsMinVersion: tlsMinVersion.slice('TLSv'.length),
    queueOverflow: Object.entries(OVERFLOWS).find(([, overflow]) => overflow === queueOverflow)![0],
    ...(origins === null ? {} : { origins }),
  };
  const lines = Object.entries(values).map(([name, value]) => printOption('listener', name, value));
  const any = origins === null ? `# ${optionHelp['listener.origins']}\n# origins = []\n` : '';
  return `[[listener]]\n${lines.join('')}${any}`;
}

function printOption(section: string, name: string, value: unknown): string {
  const key = snakeCase(name);
  const range = section === 'limits' ? limitRanges[name as keyof typeof limitRanges] : undefined;
  const bounds = range === undefined ? '' : ` (${range[0]} to ${range[1]})`;
  return `# ${optionHelp[`${section}.${key}`]}${bounds}\n${stringify({ [key]: value }).trim()}\n`;
}
