// `lethe check-config`, `lethe print-config`, `lethe version`, and the help of every command.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LETHE_MAIN } from '../../bench/contestants/lethe.ts';
import { type Config, ConfigError, loadConfig } from '../../engine/config/load.ts';
import { printConfig } from '../../engine/config/print.ts';
import { optionHelp, optionNames } from '../../engine/config/schema.ts';
import { limitRanges } from '../../protocol/limits.ts';
import { check } from '../check.ts';
import { temporaryFile } from '../security/temporary.ts';
import { root, run, shell, start, succeed } from './command-line.ts';

/** Something else than the default for every option that goes together. */
const unusual = `
[server]
data_dir = '/var/lib/lethe "x"'
sys_interval_s = 0
stop_timeout_ms = '2s'
log_level = 'debug'
[session]
v3_expiry_s = '1d'
maximum_qos = 1
retain_available = false
wildcard_subscriptions = false
shared_subscriptions = false
response_information = "é\\n"
server_reference = 'other:1883'
[spool]
durability = 'relaxed'
erase_within_ms = '5s'
key_command = ['cat', '/run/key "1"']
[auth]
password_file = '/etc/lethe/pass words'
acl_file = '/etc/lethe/acl'
[admin]
port = 9083
host = '0.0.0.0'
cert_file = 'admin.pem'
key_file = 'admin.key'
token_file = '/etc/lethe/admin.token'
[limits]
packet_bytes_max = '1MiB'
keep_alive_max_s = '1h'
queued_bytes_max = 9007199254740991
[[listener]]
name = 'one'
transport = 'tls'
host = '0.0.0.0'
port = 8883
cert_file = 'c.pem'
key_file = 'k.pem'
ca_file = 'ca.pem'
client_certificate = 'require'
tls_min_version = 1.3
certificate_user = 'common_name'
proxy_protocol = true
proxy_trusted = ['10.0.0.0/8', '::1']
queue_overflow = 'drop_oldest'
anonymous = false
[[listener]]
name = 'two'
transport = 'ws'
host = '192.0.2.1'
port = 0
path = '/x'
real_address_header = 'X-Forwarded-For'
proxy_trusted = ['192.0.2.7']
insecure = true
anonymous = true
origins = ['https://a.example', 'null']
compression = true
queue_overflow = 'drop_newest'
[[listener]]
name = 'three'
transport = 'ws'
origins = []
proxy_protocol = true
proxy_trusted = ['127.0.0.1']
`;

describe('print-config', () => {
  test('prints every option of every section, with a line of help', async () => {
    const { stdout } = await succeed(['print-config']);
    for (const section of optionNames('')) {
      for (const name of optionNames(section)) {
        expect(stdout, `${section}.${name}`).toMatch(new RegExp(`^(# )?${name} = `, 'm'));
        expect(stdout).toContain(`# ${optionHelp[`${section}.${name}`]}`);
      }
    }
    expect(stdout).not.toContain('undefined');
  });

  test.each([
    ['the defaults', ''],
    ['unusual values', unusual],
  ])('what it prints loads again as the same configuration: %s', async (_name, toml) => {
    const printed = await succeed(['print-config', '--config', temporaryFile(toml)]);
    const again = temporaryFile(printed.stdout);
    expect(loadConfig({ file: again })).toEqual(loadConfig({ file: temporaryFile(toml) }));
    expect((await succeed(['print-config', '--config', again])).stdout).toBe(printed.stdout);
  });

  test('variables are seen, and win over the file', async () => {
    const file = temporaryFile('[limits]\ninflight_max = 3\nreceive_maximum = 4\n');
    const env = { LETHE_LIMITS__INFLIGHT_MAX: '16', LETHE_LISTENER__TCP__PORT: '1999', LETHE_PASSWORD: 'canary' };
    const { stdout } = await succeed(['print-config', '--config', file], { env });
    expect(stdout).toMatch(/^inflight_max = 16$/m);
    expect(stdout).toMatch(/^receive_maximum = 4$/m);
    expect(stdout).toMatch(/^port = 1999$/m);
    expect(stdout).not.toContain('canary');
  });

  test('any configuration that loads is printed so that it loads again', () => {
    const limits = Object.entries(limitRanges).map(([name, [min, max]]) => {
      const key = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      return fc.maxSafeInteger().map((value) => `limits.${key}=${min + (Math.abs(value) % (max - min + 1))}`);
    });
    const text = fc.string({ unit: 'binary', maxLength: 10 });
    const others = [
      text.map((value) => `session.response_information=${JSON.stringify(value)}`),
      text.map((value) => `auth.acl_file=${value}`),
      fc.constantFrom('refuse', 'drop_oldest', 'drop_newest').map((value) => `listener.tcp.queue_overflow=${value}`),
      fc.array(text, { maxLength: 3 }).map((value) => `listener.ws.origins=${JSON.stringify(value)}`),
      fc.boolean().map((value) => `listener.ws.anonymous=${value}`),
      fc.integer({ min: 0, max: 2 }).map((value) => `session.maximum_qos=${value}`),
    ];
    let loaded = 0;
    check(
      fc.property(
        fc.subarray([...limits, ...others], { maxLength: 5 }).chain((chosen) => fc.tuple(...chosen)),
        (set) => {
          let config: Config;
          try {
            config = loadConfig({ set });
          } catch (error) {
            expect(error).toBeInstanceOf(ConfigError);
            return;
          }
          loaded++;
          expect(loadConfig({ file: temporaryFile(printConfig(config)) })).toEqual(config);
        },
      ),
      200,
    );
    expect(loaded).toBeGreaterThan(20);
  });
});

describe('check-config', () => {
  test('tells a configuration that is fine by its listeners, and reads the files that it names', async () => {
    const passwords = temporaryFile(`ada:$6$c2FsdA==$${Buffer.alloc(64).toString('base64')}\n`);
    const file = temporaryFile(
      `[auth]\npassword_file = '${passwords}'\n[[listener]]\nname = 'here'\ntransport = 'tcp'\nport = 1\n`,
    );
    const { stdout } = await succeed(['check-config', file]);
    expect(stdout).toBe(`${file}: fine\n  here: tcp 127.0.0.1:1\n`);
  });

  const listener = "[[listener]]\nname = 'a'\ntransport = 'tcp'\n";
  const web = "[[listener]]\nname = 'w'\ntransport = 'ws'\n";
  const mistakes: readonly (readonly [toml: string, line: number, message: string])[] = [
    ['[server]\nlog_level = "loud"\n', 2, 'server.log_level must be one of: error, warn, info, debug'],
    ['\n\n[server]\n\nsys_interval = 3\n', 5, "unknown option 'server.sys_interval'; allowed here: data_dir, sys_interval_s, "],
    ['[sever]\n', 1, "unknown option 'sever'; allowed here: server, session, spool, "],
    ['[limits]\npacket_bytes_max = "16XB"\n', 2, 'limits.packet_bytes_max must be a whole number from 64 to 268435460'],
    ['[limits]\n# no message\ninflight_max = 0\n', 3, 'limits.inflight_max must be a whole number from 1 to 65535'],
    ['[limits]\ninflight_max = 1.5\n', 2, 'limits.inflight_max must be a whole number from 1 to 65535'],
    ['[limits]\nconnect_bytes_max = "32MiB"\n', 1, 'connect_bytes_max must not exceed packet_bytes_max'],
    ['[session]\nretain_available = "yes"\n', 2, 'session.retain_available must be true or false'],
    ['[session]\nmaximum_qos = 3\n', 2, 'session.maximum_qos must be a whole number from 0 to 2'],
    ['[auth]\nacl_file = 7\n', 2, 'auth.acl_file must be a string'],
    ['[spool]\nkey_command = "cat"\n', 2, 'spool.key_command must be a list of strings'],
    [`${listener}port = 70000\n`, 4, 'listener.port must be a whole number from 0 to 65535'],
    ["[[listener]]\nname = 'A b'\ntransport = 'tcp'\n", 2, 'listener.name must be lower-case letters, digits and dashes'],
    ["[[listener]]\nname = 'a'\ntransport = 'quic'\n", 3, 'listener.transport must be one of: tcp, tls, ws, wss'],
    ["[[listener]]\ntransport = 'tcp'\n", 1, 'listener.name is missing; it must be a string'],
    ["[[listener]]\nname = 'a'\n", 1, 'listener.transport is missing; it must be one of: tcp, tls, ws, wss'],
    [`${listener}path = 'x'\n`, 4, 'listener.path must begin with /'],
    [`${listener}ca_file = 'x'\n`, 4, "listener 'a': ca_file is for tls and wss only"],
    [
      `${listener}host = '0.0.0.0'\n`,
      4,
      "listener 'a': listens beyond loopback without TLS; use transport tls or wss, or say insecure = true",
    ],
    [`${listener}${listener}`, 5, "listener 'a': has the name of another listener"],
    [`${listener}origins = ['x']\n`, 4, "listener 'a': origins is for ws and wss only"],
    [`${listener}proxy_protocol = true\n`, 4, "listener 'a': proxy_protocol needs proxy_trusted: the addresses of the proxies"],
    [
      `${listener}proxy_trusted = ['::1']\nreal_address_header = 'x-real-ip'\n`,
      5,
      "listener 'a': real_address_header is for ws and wss only",
    ],
    [`${web}proxy_protocol = true\n`, 4, "listener 'w': proxy_protocol needs proxy_trusted: the addresses of the proxies"],
    [
      `${web}real_address_header = 'forwarded'\n`,
      4,
      "listener 'w': real_address_header needs proxy_trusted: the addresses of the proxies",
    ],
    [
      `${web}real_address_header = 'x: y'\n`,
      4,
      'listener.real_address_header must be the name of a header, like x-forwarded-for',
    ],
    [
      `${web}proxy_protocol = true\nproxy_trusted = ['::1']\nreal_address_header = 'forwarded'\n`,
      6,
      "listener 'w': real_address_header and proxy_protocol both name the client; keep one",
    ],
    [
      "[[listener]]\nname = 'w'\ntransport = 'wss'\nproxy_protocol = true\nproxy_trusted = ['::1']\n",
      4,
      "listener 'w': proxy_protocol is not for wss; let the proxy end TLS and use ws, or use real_address_header",
    ],
    ["[[listener]]\nname = 'a'\ntransport = 'tls'\n", 3, "listener 'a': tls needs cert_file and key_file"],
    ['\n[[server]]\n', 2, 'server must be a table: a section in brackets'],
    ['limits = 3\n', 1, 'limits must be a table: a section in brackets'],
    ["[listener]\nname = 'a'\n", 1, 'listener must be written as [[listener]] tables'],
    ['[server]\nlog_level = \n', 2, 'is not TOML: '],
    ['[server]\nthreads = 1\nthreads = 1\n', 3, 'is not TOML: '],
  ];

  test.each(mistakes)('%j', async (toml, line, message) => {
    const file = temporaryFile(toml);
    const { exit, stdout, stderr } = await run(['check-config', file]);
    expect(stderr).toContain(`${file}:${line}: ${message}`);
    expect([exit?.code, stdout]).toEqual([2, '']);
  });

  test('all mistakes at once, one a line', async () => {
    const file = temporaryFile('[server]\nlog_level = 1\n[limits]\nnonsense = 2\nsessions_max = 0\n');
    const { exit, stderr } = await run(['check-config', file]);
    expect(exit?.code).toBe(2);
    expect(
      stderr
        .trim()
        .split('\n')
        .map((line) => line.slice(file.length, file.length + 3))
        .sort(),
    ).toEqual([':2:', ':4:', ':5:']);
  });

  test('files that cannot be read, or that it names and that are broken', async () => {
    const broken = temporaryFile('ada:plain\n');
    const acl = temporaryFile('topic sometimes a/b\n');
    for (const [file, message] of [
      ['/nowhere/lethe.toml', '/nowhere/lethe.toml: cannot be read (ENOENT); give the path of a TOML file'],
      [root, 'cannot be read (EISDIR)'],
      [temporaryFile(`[auth]\npassword_file = '${broken}'\n`), `${broken}:1: a password in plain text; run \`lethe passwd -U\``],
      [temporaryFile("[auth]\npassword_file = '/nowhere/p'\n"), '/nowhere/p'],
      [temporaryFile(`[auth]\nacl_file = '${acl}'\n`), `${acl}:1: `],
    ] as const) {
      const { exit, stdout, stderr } = await run(['check-config', file]);
      expect(stderr).toContain(message);
      expect([exit?.code, stdout]).toEqual([2, '']);
    }
  });

  test('print-config refuses what check-config refuses', async () => {
    const { exit, stdout, stderr } = await run(['print-config', '--config', temporaryFile('[server]\nlog_level = "loud"\n')]);
    expect([exit?.code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(':2: server.log_level must be one of: error, warn, info, debug');
    const variable = await run(['print-config'], { env: { LETHE_SERVER__THREADS: 'many' } });
    expect(variable.exit?.code).toBe(2);
    expect(variable.stderr).toContain('LETHE_SERVER__THREADS: server.threads must be a whole number from 1 to 64');
  });
});

describe('the program', () => {
  const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { version: string };

  test('version, also as --version, and by npx from the project', async () => {
    for (const arg of ['version', '--version']) expect((await succeed([arg])).stdout).toBe(`lethe ${version}\n`);
    const npx = spawnSync('npx', ['--offline', '--no', 'lethe', 'version'], { cwd: root, encoding: 'utf8' });
    expect([npx.status, npx.stdout]).toEqual([0, `lethe ${version}\n`]);
  });

  const commands = ['serve', 'pub', 'sub', 'inventory', 'passwd', 'check-config', 'print-config', 'version'];

  test.each(commands)('%s --help', async (command) => {
    const { stdout } = await succeed([command, '--help']);
    expect(stdout).toContain(`Usage: lethe ${command}`);
    expect(stdout).toContain('Exit codes:\n  0  fine\n');
    if (['pub', 'sub', 'passwd'].includes(command)) expect(stdout).toContain(`Examples:\n  lethe ${command} `);
    expect((await succeed(['help', command])).stdout).toBe(stdout);
  });

  test('--help names every command', async () => {
    const { stdout } = await succeed(['--help']);
    for (const command of [...commands, 'key']) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
  });

  test('an unknown command ends with 2, and the nearest is named', async () => {
    const { exit, stderr } = await run(['subb']);
    expect(exit?.code).toBe(2);
    expect(stderr).toMatch(/unknown command 'subb'\n.*Did you mean (one of )?(sub|pub)/);
    expect((await run(['toString'])).exit?.code).toBe(2);
  });

  test('help into a pipe that is closed is no failure', async () => {
    const head = shell('{ "$@" --help; echo "ended with $?" >&2; } | true', ['sub']);
    await head.exited;
    expect(head.stderr).toBe('ended with 0\n');
  });

  describe('what is loaded', () => {
    // Tells at its end which packages of CommonJS, or with a native part, the main thread has loaded.
    const probe = `import { createRequire } from 'node:module';
      process.on('exit', () => {
        const paths = Object.keys(createRequire(process.cwd() + '/x').cache);
        const names = paths.map((path) => /.*\\/node_modules\\/((@[^/]+\\/)?[^/]+)/.exec(path)?.[1] ?? '');
        process.stderr.write('loaded: ' + [...new Set(names)].join(' '));
      });`;
    const env = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(probe)}` };
    const loaded = (stderr: string) => (stderr.split('loaded: ')[1] ?? '').split(' ');
    const loads = async (args: readonly string[]) => loaded((await run(args, { env })).stderr);

    async function loadsToServe(args: readonly string[]): Promise<string[]> {
      const serve = start(['serve', '--port', '0', '--ws-port', '0', '--ready-json', ...args], { env });
      await serve.until('it serves', () => serve.stdout.includes('\n'));
      serve.kill('SIGTERM');
      await serve.exited;
      return loaded(serve.stderr);
    }

    test('MQTT.js is a part of its own, which no command has before it connects', async () => {
      const parts = readdirSync(dirname(LETHE_MAIN)).filter((name) => name.endsWith('.js') && bundledWith(name).has('mqtt'));
      expect(parts).toHaveLength(1);
      for (const name of ['main', 'chunk-pub', 'chunk-sub', 'chunk-serve', 'chunk-client-connection'])
        expect([name, bundledWith(`${name}.js`).has('mqtt')]).toEqual([name, false]);
    });

    /** Packages bundled into a file of dist/cli and into what it imports at once. */
    function bundledWith(file: string, seen = new Set<string>()): Set<string> {
      if (seen.has(file)) return new Set();
      seen.add(file);
      const path = join(dirname(LETHE_MAIN), file);
      const { sources } = JSON.parse(existsSync(`${path}.map`) ? readFileSync(`${path}.map`, 'utf8') : '{"sources":[]}') as {
        sources: string[];
      };
      const own = sources.flatMap((source) => /.*\/node_modules\/((@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? []);
      const imports = readFileSync(path, 'utf8').matchAll(/^import (?:.* from )?"\.\/(.*)";$/gm);
      return new Set([...own, ...[...imports].flatMap(([, name]) => [...bundledWith(name!, seen)])]);
    }

    test('serve starts with what it needs: nothing of LMDB, and no stream library of parsers that it does not use', async () => {
      const lmdb = 'node-gyp-build-optional-packages'; // by which lmdb finds its native part
      expect(await loads(['key', 'rotate', '--data', '/nowhere', '--no-key'])).toContain(lmdb);
      const toServe = [...(await loadsToServe([])), ...bundledWith('chunk-serve.js')];
      expect(toServe).toEqual(expect.arrayContaining(['uWebSockets.js', 'mqtt-packet', 'commander']));
      const streams = ['bl', 'readable-stream'];
      expect([...bundledWith('chunk-bench.js')]).toEqual(expect.arrayContaining(streams));
      for (const name of [lmdb, 'msgpackr-extract', 'mqtt', ...streams]) expect(toServe).not.toContain(name);
    });
  });
});
