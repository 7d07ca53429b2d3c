// The configuration as a file that would make it: every option, with its range and one line of help.
import { stringify } from 'smol-toml';
import { parse } from 'valibot';
import { limitRanges } from '../../protocol/limits.ts';
import { type BridgeConfig, resolveBridge } from './bridges.ts';
import { type Config, type ListenerConfig, OVERFLOWS, type RetentionConfig } from './load.ts';
import { optionHelp, schema, snakeCase } from './schema.ts';

/** A complete TOML file; loading it gives the same configuration. */
export function printConfig(config: Config): string {
  const table = (name: 'server' | 'session' | 'retained' | 'spool' | 'auth' | 'admin' | 'audit') =>
    printTable(name, { ...config[name] });
  const before = (['server', 'session', 'retained', 'spool', 'auth'] as const).map(table);
  const after = (['admin', 'audit'] as const).map(table);
  const limits = printTable('limits', { ...config.limits, bannedNetworks: config.bannedNetworks });
  const retention = config.retention.length === 0 ? [emptyRetention()] : config.retention.map((table) => printRetention(table));
  const listeners = config.listeners.map((listener) => printListener(listener));
  const bridges = config.bridges.length === 0 ? [exampleBridge()] : config.bridges.map(printBridge);
  return `# Lethe: every option. Files, then LETHE_SECTION__KEY variables, then flags; the last one wins.\n\n${[...before, printRoles(config), ...after, limits, ...retention, ...bridges, ...listeners].join('\n')}`;
}

function printTable(section: string, values: Readonly<Record<string, unknown>>): string {
  return `[${section}]\n${printOptions(section, values)}`;
}

/** Without a role, what one would look like. */
function printRoles({ roles }: Config): string {
  if (roles.length > 0) return roles.map((role) => `[[role]]\n${printOptions('role', { ...role })}`).join('\n');
  const example = printOptions('role', { name: 'reader', publish: [], subscribe: [], deny: [], users: [] });
  return `# [[role]]\n${example.replace(/^(?!#)(?=.)/gm, '# ')}`;
}

function printOptions(section: string, values: Readonly<Record<string, unknown>>): string {
  return Object.entries(values)
    .map(([name, value]) => printOption(section, name, value))
    .join('');
}

function printRetention(table: RetentionConfig): string {
  return printTable('retention', { ...table }).replace('[retention]', '[[retention]]');
}

/** Where there is no such table: what one would look like, as comments. */
function emptyRetention(): string {
  const none = printRetention({ users: [], sessionExpiryMaxS: null, messageExpiryMaxS: null });
  return none.replace(/^(?!#)(?=.)/gm, '# ');
}

/** Where there is no bridge: what one would look like, as comments. */
function exampleBridge(): string {
  const example = { name: 'cloud', addresses: ['mqtt.example.org:8883'], topics: ['sensors/# out 1'] };
  const [bridge] = parse(schema, { bridge: [example] }).bridge.map(resolveBridge);
  return printBridge(bridge!).replace(/^(?!#)(?=.)/gm, '# ');
}

function printBridge(bridge: BridgeConfig): string {
  return `[[bridge]]\n${printOptions('bridge', { ...bridge })}`;
}

function printListener(listener: ListenerConfig): string {
  const { tlsMinVersion, queueOverflow, origins, ...rest } = listener;
  const values = {
    ...rest,
    tlsMinVersion: tlsMinVersion.slice('TLSv'.length),
    queueOverflow: Object.entries(OVERFLOWS).find(([, overflow]) => overflow === queueOverflow)![0],
    ...(origins === null ? {} : { origins }),
  };
  const any = origins === null ? `# ${optionHelp['listener.origins']}\n# origins = []\n` : '';
  return `[[listener]]\n${printOptions('listener', values)}${any}`;
}

function printOption(section: string, name: string, value: unknown): string {
  const key = snakeCase(name);
  const range = section === 'limits' ? limitRanges[name as keyof typeof limitRanges] : undefined;
  if (value === null) return `# ${optionHelp[`${section}.${key}`]}\n# ${key} = unset\n`;
  const bounds = range === undefined ? '' : ` (${range[0]} to ${range[1]})`;
  return `# ${optionHelp[`${section}.${key}`]}${bounds}\n${stringify({ [key]: value }).trim()}\n`;
}
