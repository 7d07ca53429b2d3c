// Keeps docs/OPERATIONS.md true: its tables of routes and metrics are what the code says (`LETHE_WRITE=1` writes them), and its examples run.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LETHE_MAIN } from '../../bench/contestants/lethe.ts';
import { routes } from '../../engine/administration/api.ts';
import { latencyMetric, metricTable } from '../../engine/administration/metric-table.ts';
import { readToken } from '../../engine/administration/token.ts';
import { createLog } from '../../engine/log.ts';
import { TOKEN, useAdmin } from '../administration/admin.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { directory, temporaryFile } from '../security/temporary.ts';

const path = new URL('../../docs/OPERATIONS.md', import.meta.url);
const folder = join(directory, 'operated');
const rig = useAdmin(() => [`server.data_dir=${folder}`], { log: createLog('warn', () => {}, Date.now) });

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

const tables: Readonly<Record<string, string>> = {
  routes: table(
    ['route', 'token', ''],
    routes.map(({ method, path, summary, isPublic }) => [`\`${method} ${path}\``, isPublic === true ? 'no' : 'yes', summary]),
  ),
  metrics: table(
    ['metric', 'type', 'labels', ''],
    [
      ...metricTable.map(({ name, type, labels, help }) => [
        `\`${name}\``,
        type,
        labels.map((label) => `\`${label}\``).join(', '),
        help,
      ]),
      [`\`${latencyMetric.name}\``, 'histogram', '', latencyMetric.help],
    ],
  ),
};

test('its tables are what the code says (npm run docs writes them)', () => {
  const text = readFileSync(path, 'utf8');
  let page = text;
  for (const [name, rows] of Object.entries(tables)) {
    const place = new RegExp(`<!-- ${name} -->\\n[\\s\\S]*?<!-- /${name} -->`);
    expect(page).toMatch(place);
    page = page.replace(place, () => `<!-- ${name} -->\n${rows}\n<!-- /${name} -->`);
  }
  const { LETHE_WRITE } = process.env;
  if (LETHE_WRITE === '1') writeFileSync(path, page);
  expect(readFileSync(path, 'utf8') === page, 'the file differs: run npm run docs').toBe(true);
});

test('its examples run', async () => {
  const client = await mqttJs({ port: rig.broker.tcp, level: 5, clientId: 'sensor-17' });
  const blocks = [...readFileSync(path, 'utf8').matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block]) => block!);
  const script = blocks
    .filter((block) => block.includes('curl'))
    .join('\n')
    .replaceAll('/var/lib/lethe', folder)
    .replaceAll('/etc/lethe/admin.token', temporaryFile(TOKEN))
    .replaceAll(':9083', `:${rig.broker.admin}`)
    .replace(/^curl /gm, "echo; echo '> curl'; curl ");
  const shell = spawn('sh', ['-ec', `lethe() { "${process.execPath}" "${LETHE_MAIN}" "$@"; }\n${script}`]);
  let said = '';
  for (const stream of [shell.stdout, shell.stderr]) stream.on('data', (chunk: Buffer) => (said += String(chunk)));
  const code = await new Promise((resolve) => shell.once('close', resolve));
  expect(code, said).toBe(0);
  const answers = said
    .split('> curl')
    .slice(1)
    .map((answer) => answer.trim());
  expect(answers).toHaveLength(script.match(/; curl /g)!.length);
  expect(answers[0]).toMatch(/^\{"clients":\[\{"client":"[a-z2-7]{26}"/);
  expect(answers[2]).toBe('{"kicked":true}');
  expect(answers.at(-1)).toBe('ready');
  await client.until('the client was told', () => client.disconnectReason === 0x98);
});

test('its first example makes a token that the broker takes', () => {
  const made = join(directory, 'made.token');
  const { status } = spawnSync('sh', ['-ec', `(umask 077 && openssl rand -hex 32 > ${made})`]);
  expect(status).toBe(0);
  expect(readFileSync(path, 'utf8')).toContain('(umask 077 && openssl rand -hex 32 > /etc/lethe/admin.token)');
  expect(readToken(made)).toMatch(/^[0-9a-f]{64}$/);
});
