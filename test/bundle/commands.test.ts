// The one-file program is the same program: every command runs in it, threads and native code included, and nothing in the environment makes it another one.
import { chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ONE_SHARD } from '../broker.ts';
import { makeCertificates } from '../certificates.ts';
import { Child } from '../end-to-end/child.ts';
import { BUNDLE, bundled, MAKE_MS_MAX, makeBundle } from './bundle-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'lethe-bundled-'));
const places = join(folder, 'places');
mkdirSync(places);
const env = { LETHE_RUNTIME_DIR: places };
const config = join(folder, 'lethe.toml');
writeFileSync(config, '');

beforeAll(() => makeBundle(), MAKE_MS_MAX);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a command that must end well. Returns what it has printed. */
async function printed(...args: readonly string[]): Promise<string> {
  const child = await bundled(args, { env, cwd: folder });
  expect(child.exit, `lethe ${args.join(' ')}: ${child.stderr}`).toEqual({ code: 0, signal: null });
  return child.stdout;
}

/** The listeners that are there unless a file names others. */
const PLAIN = '[[listener]]\nname = "tcp"\ntransport = "tcp"\n[[listener]]\nname = "ws"\ntransport = "ws"\n';

let folders = 0;
/** A data directory of its own. */
function newData(): string {
  return join(folder, `data-${++folders}`);
}

async function serve(
  data: string,
  ...args: readonly string[]
): Promise<{ readonly broker: Child; readonly at: readonly string[]; readonly admin: number }> {
  const listen = ['--port', '0', '--ws-port', '0', '--set', 'admin.port=0', '--set', 'admin.open=true'];
  const broker = new Child(BUNDLE, ['serve', ...listen, '--ready-json', '--data', data, ...args], { env, cwd: folder });
  await broker.until('it is ready', () => broker.stdout.includes('\n'));
  const { tcp, admin } = JSON.parse(broker.stdout) as { tcp: number; admin: number };
  return { broker, at: ['-h', '127.0.0.1', '-p', String(tcp)], admin };
}

async function stop(broker: Child): Promise<void> {
  broker.kill('SIGTERM');
  expect(await broker.ended(), broker.stderr).toEqual({ code: 0, signal: null });
}

test('it says which version it is, and every command explains itself', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  expect(await printed('--version')).toBe(`lethe ${version}\n`);
  const help = await printed('--help');
  const commands = [...help.slice(help.indexOf('Commands:')).matchAll(/^ {2}([a-z-]+)/gm)].map((match) => match[1]!);
  expect(commands).toContain('serve');
  expect(commands.length).toBeGreaterThan(15);
  for (const command of commands)
    if (command !== 'help') expect(await printed(command, '--help'), command).toContain('Usage: lethe');
}, 60_000);

test.each([1, 3])('%i shards and a spool: a message waits for who is away, also over a restart', async (threads) => {
  const data = newData();
  const first = await serve(data, '--threads', String(threads));
  const session = ['-t', 'kept', '-q', '1', '-c', '-i', `away-${threads}`, '-V', '5', '-x', '3600'];
  await printed('sub', ...first.at, ...session, '-E');
  await printed('pub', ...first.at, '-t', 'kept', '-q', '1', '-m', 'waited');
  await stop(first.broker);
  const second = await serve(data, '--threads', String(threads));
  expect(await printed('sub', ...second.at, ...session, '-C', '1', '-W', '20')).toBe('waited\n');
  await stop(second.broker);
});

test('what an operator asks of a running broker', async () => {
  const data = newData();
  const { broker, at, admin } = await serve(data, '--set', ONE_SHARD);
  await printed('sub', ...at, '-t', 'asked', '-q', '1', '-c', '-i', 'subject', '-V', '5', '-x', '3600', '-E');
  await printed('pub', ...at, '-t', 'asked', '-q', '1', '-m', 'queued');
  expect(await printed('inventory', '--data', data)).toMatch(/messages\s+1/);
  expect(JSON.parse(await printed('report', '--data', data, '--json'))).toBeTypeOf('object');
  expect(await printed('pseudonym', 'subject', '--data', data)).toMatch(/^\S+\n$/);
  await printed('reload', '--data', data);
  await printed('trace', '--data', data, '--client', 'subject', '--reason', 'a test', '--for', '1s');
  await printed('export', '--data', data, '--client', 'subject', '--output', join(folder, 'export.json'));
  expect(readFileSync(join(folder, 'export.json'), 'utf8')).toContain('subject');
  await printed('erase', '--data', data, '--client', 'subject');
  expect(await printed('inventory', '--data', data)).toMatch(/messages\s+0/);
  const page = await (await fetch(`http://127.0.0.1:${admin}/`)).text();
  expect(page, 'the live page, with what it plots with').toContain('uPlot');
  await stop(broker);
  await printed('audit', 'verify', '--data', data);
});

test('what needs no broker', async () => {
  const users = join(folder, 'users');
  await printed('passwd', '-b', '-c', users, 'ada', 'a long enough secret');
  expect(readFileSync(users, 'utf8')).toMatch(/^ada:/);
  expect(await printed('key', 'new')).toMatch(/^[0-9a-f]{64}\n$/);
  await printed('check-config', config);
  expect(await printed('print-config', '--config', config)).toContain('[server]');
});

test('a load from threads of its own, with a report', async () => {
  const { broker, at } = await serve(newData(), '--set', ONE_SHARD);
  const report = join(folder, 'report.html');
  const load = ['-L', '2000', '-q', '1', '-c', '2', '-w', '50', '--threads', '2', '--quiet', '--report', report, '--json'];
  const result = JSON.parse(await printed('bench', 'pub', ...at, ...load)) as { accounts?: unknown };
  expect(JSON.stringify(result)).toContain('2000');
  expect(readFileSync(report, 'utf8')).toContain('uPlot');
  await stop(broker);
});

test('TLS and wss, in three shards', async () => {
  const { ca, serverCert, serverKey } = makeCertificates(folder);
  const file = join(folder, 'tls.toml');
  const listener = (transport: string) =>
    `[[listener]]\nname = "${transport}"\ntransport = "${transport}"\nport = 0\ncert_file = "${serverCert}"\nkey_file = "${serverKey}"\n`;
  writeFileSync(file, `${PLAIN}${listener('tls')}${listener('wss')}`);
  const admin = [`admin.cert_file=${serverCert}`, `admin.key_file=${serverKey}`].flatMap((option) => ['--set', option]);
  const { broker } = await serve(newData(), '--threads', '3', '--config', file, ...admin);
  const ports = JSON.parse(broker.stdout) as { tls: number; wss: number };
  for (const way of [
    ['-p', String(ports.tls)],
    ['-p', String(ports.wss), '--ws'],
  ]) {
    await printed('pub', '-h', 'localhost', ...way, '--cafile', ca, '-t', 'secret', '-m', 'x', '-q', '1');
  }
  await stop(broker);
});

test.skipIf(process.getuid?.() !== 0)(
  'a folder of somebody else under the name of its own does not keep it from starting',
  async () => {
    const place = join(folder, 'contested');
    mkdirSync(place);
    const runtime = { ...env, LETHE_RUNTIME_DIR: place };
    const start = async () => {
      const broker = new Child(BUNDLE, ['serve', '--port', '0', '--ws-port', '0', '--ready-json'], { env: runtime, cwd: folder });
      await broker.until('it is ready', () => broker.stdout.includes('\n'));
      return broker;
    };
    await stop(await start());
    const [own] = readdirSync(place);
    chownSync(join(place, own!), 12_345, 12_345);
    const broker = await start();
    expect(broker.stderr).toContain('lethe: not used for native code: ');
    expect(readdirSync(place)).toHaveLength(2);
    await stop(broker);
    expect(readdirSync(place)).toEqual([own]);
  },
);

test('nothing in the environment or among the arguments makes it another program', async () => {
  writeFileSync(join(folder, 'intruder.cjs'), 'process.stdout.write("intruder\\n")');
  const intruder = join(folder, 'intruder.cjs');
  const environment = {
    ...env,
    NODE_OPTIONS: `--require=${intruder} --inspect=0`,
    NODE_PATH: folder,
  };
  const child = await bundled(['version'], { env: environment, cwd: folder });
  expect(child.stdout).toMatch(/^lethe \S+\n$/);
  expect(child.stderr).toBe('');
  for (const flag of ['--inspect', `--require=${intruder}`, '-e']) {
    const refused = await bundled([flag], { env, cwd: folder });
    expect(refused.exit, flag).toEqual({ code: 2, signal: null });
    expect(refused.stderr).toContain('unknown option');
  }
});
