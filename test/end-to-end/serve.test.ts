// `lethe serve` as a person meets it: what it prints, which source of an option wins, and how it says no.
import { createServer, type Server } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { directory, mosquittoPasswd, temporaryFile } from '../security/temporary.ts';
import { certificates, everyTransport } from './listeners.ts';
import { type MqttJs, mqttJs } from './mqttjs.ts';
import { lethe, lethed, type Served, serve } from './served.ts';

const { serverCert, serverKey, clientKey, lockedServerKey, ca } = certificates;
const encryption = `cert_file = '${serverCert}'\nkey_file = '${serverKey}'\n`;
const FREE = ['--port', '0', '--ws-port', '0'];

const holders: Server[] = [];
afterEach(() => {
  for (const holder of holders.splice(0)) holder.close();
});

/** The section of a password file with a user in it. */
function passwords(): string {
  const path = temporaryFile('');
  mosquittoPasswd('-b', path, 'user', 'secret');
  return `[auth]\npassword_file = '${path}'\n`;
}

/** A port that is taken while the test runs. */
function takenPort(host = '127.0.0.1'): Promise<number> {
  return new Promise((resolve) => {
    const holder = createServer();
    holders.push(holder);
    holder.listen(0, host, () => resolve((holder.address() as { port: number }).port));
  });
}

function connect(served: Served, transport: 'tcp' | 'ws' = 'tcp'): Promise<MqttJs> {
  return mqttJs({ transport, level: 5, port: served.port(transport) });
}

/** The Receive Maximum that the broker announces: an option that a client can see. */
async function receiveMaximum(served: Served): Promise<number | undefined> {
  return (await connect(served)).connack!.properties!.receiveMaximum;
}

describe('what it prints', () => {
  test('--ready-json prints one line with process and ports, and nothing else', async () => {
    const served = await serve();
    const { tcp, ws } = served.ready;
    expect(served.ready).toEqual({ ready: true, pid: served.child.pid, tcp, ws });
    expect(tcp).toBeGreaterThan(0);
    expect(ws).toBeGreaterThan(0);
    await (await connect(served, 'tcp')).end();
    await (await connect(served, 'ws')).end();
    expect(await served.stop()).toEqual({ code: 0, signal: null });
    expect(served.child.stdout.split('\n')).toHaveLength(2);
    expect(served.child.stderr).toBe('');
  });

  test('--ready-json names the ports of the transports that are configured, and only those', async () => {
    const all = await serve(everyTransport());
    expect(Object.keys(all.ready)).toEqual(['ready', 'pid', 'tcp', 'ws', 'tls', 'wss']);
    const one = await serve("[[listener]]\nname = 'only'\ntransport = 'ws'");
    expect(Object.keys(one.ready)).toEqual(['ready', 'pid', 'ws']);
    await connect(one, 'ws');
    await Promise.all([all.stop(), one.stop()]);
  });

  test.each([
    ['with the command', ['serve', ...FREE]],
    ['without a command', FREE],
  ])('tells a person where it listens, %s', async (_how, args) => {
    const child = lethe(args);
    await child.until('it says how to stop it', () => child.stdout.includes('Ctrl-C'));
    const port = Number(/^lethe \d+\.\d+\.\d+ listens: tcp:\/\/127\.0\.0\.1:(\d+)$/m.exec(child.stdout)?.[1]);
    expect(child.stdout).toMatch(/^lethe \d+\.\d+\.\d+ listens: ws:\/\/127\.0\.0\.1:\d+\/mqtt$/m);
    await mqttJs({ port, level: 4 });
    child.kill('SIGINT');
    expect(await child.ended()).toEqual({ code: 0, signal: null });
  });

  test('--help names every option, the environment and the exit codes', async () => {
    const { stdout, exit } = await lethed(['serve', '--help']);
    expect(exit).toEqual({ code: 0, signal: null });
    for (const word of [
      '--host',
      '--port',
      '--ws-port',
      '--config',
      '--set',
      '--log-level',
      '--ready-json',
      'LETHE_',
      'Exit codes',
    ])
      expect(stdout).toContain(word);
  });
});

describe('where an option comes from', () => {
  const variable = { LETHE_LIMITS__RECEIVE_MAXIMUM: '22' };
  const flag = ['--set', 'limits.receive_maximum=33'];
  const file = '[limits]\nreceive_maximum = 11';

  test.each([
    ['the file', 11, file, {}, []],
    ['the environment before the file', 22, file, variable, []],
    ['a flag before the file', 33, file, {}, flag],
    ['a flag before the environment', 33, file, variable, flag],
    ['a flag without a file', 33, '', variable, flag],
    ['the last of two flags', 44, file, variable, [...flag, '--set', 'limits.receive_maximum=44']],
  ])('%s', async (_what, expected, toml, env, args) => {
    const served = await serve(toml, args, env);
    expect(await receiveMaximum(served)).toBe(expected);
    await served.stop();
  });

  test('--port and --ws-port win over --set, that over the environment, that over the file', async () => {
    const taken = await takenPort();
    const toml = `[[listener]]\nname = 'tcp'\ntransport = 'tcp'\nport = ${taken}\n[[listener]]\nname = 'ws'\ntransport = 'ws'\nport = ${taken}`;
    const env = { LETHE_LISTENER__TCP__PORT: '0', LETHE_LISTENER__WS__PORT: '0' };
    const set = ['--set', `listener.tcp.port=${taken}`, '--set', `listener.ws.port=${taken}`];
    const refusal = new RegExp(`listener '\\w+': has the address of listener|port ${taken} of 127\\.0\\.0\\.1 is in use`);
    const refused = async (args: string[], own = {}) => {
      const { stderr, exit } = await lethed(['serve', '--config', temporaryFile(toml), ...args], own);
      expect(stderr).toMatch(refusal);
      expect(exit!.code).toBeGreaterThan(0);
    };
    await refused([]);
    await (await serve(toml, [], env)).stop();
    await refused(set, env);
    await (await serve(toml, [...set, ...FREE], env)).stop();
  });

  test('--host moves both listeners', async () => {
    const served = await serve('', ['--host', '127.0.0.2']);
    for (const transport of ['tcp', 'ws'] as const) {
      const port = served.port(transport);
      await expect(connect(served, transport)).rejects.toThrow(/ECONNREFUSED/);
      await mqttJs({ transport, port, level: 5, host: '127.0.0.2' });
    }
    await served.stop();
  });

  test('a second start on the same ports takes them at once', async () => {
    const first = await serve();
    await connect(first);
    await connect(first, 'ws');
    const ports = ['--port', String(first.port('tcp')), '--ws-port', String(first.port('ws'))];
    await first.stop();
    const second = await serve('', ports);
    expect([second.port('tcp'), second.port('ws')]).toEqual([first.port('tcp'), first.port('ws')]);
    await second.stop();
  });
});

describe('what the machine refuses ends with 1', () => {
  test.each(['--port', '--ws-port'])('%s in use', async (option) => {
    const taken = await takenPort();
    const { stdout, stderr, exit } = await lethed(['serve', '--ready-json', ...FREE, option, String(taken)]);
    const listener = option === '--port' ? 'tcp' : 'ws';
    expect(stderr).toBe(
      `lethe: listener "${listener}": port ${taken} of 127.0.0.1 is in use; stop the program that has it, or set another port\n`,
    );
    expect(exit).toEqual({ code: 1, signal: null });
    expect(stdout).toBe('');
  });

  test('a port in use, with a data directory: the process ends, and the directory is free again', async () => {
    const taken = await takenPort();
    const data = ['--data', join(directory, 'data')];
    const { stderr, exit } = await lethed(['serve', ...FREE, '--ws-port', String(taken), ...data]);
    expect(stderr).toMatch(/^lethe: listener "ws": port \d+ of 127\.0\.0\.1 is in use/);
    expect(exit).toEqual({ code: 1, signal: null });
    const served = await serve('', data);
    // Two processes never share one.
    const second = await lethed(['serve', ...FREE, ...data]);
    expect(second.stderr).toMatch(/: another lethe uses this data directory; stop it first, or give each its own --data\n$/);
    expect(second.exit!.code).toBeGreaterThan(0);
    expect(await served.stop()).toEqual({ code: 0, signal: null });
  });

  test('an address of another machine', async () => {
    const open = ['tcp', 'ws'].flatMap((name) => [
      ...['--set', `listener.${name}.insecure=true`],
      ...['--set', `listener.${name}.anonymous=true`],
    ]);
    // TEST-NET-1 (RFC 5737): no machine has it.
    const { stderr, exit } = await lethed(['serve', ...FREE, '--host', '192.0.2.1', ...open]);
    expect(stderr).toMatch(
      /^lethe: listener "tcp": host 192\.0\.2\.1 is not an address of this machine; set host to one that is/,
    );
    expect(exit).toEqual({ code: 1, signal: null });
  });
});

describe('what the operator got wrong ends with 2, and says where and what is allowed', () => {
  /** The lines on standard error of a start that must be refused with code 2 and print nothing else. */
  async function complaints(args: readonly string[], env: Record<string, string> = {}): Promise<string[]> {
    const { stdout, stderr, exit } = await lethed(args, env);
    expect(exit, stderr).toEqual({ code: 2, signal: null });
    expect(stdout).toBe('');
    return stderr.trimEnd().split('\n');
  }

  /** As patterns, in any order. */
  function expectLines(lines: readonly string[], expected: readonly RegExp[]): void {
    const missing = expected.filter((pattern) => !lines.some((line) => pattern.test(line)));
    expect(missing, lines.join('\n')).toEqual([]);
    expect(lines).toHaveLength(expected.length);
  }

  test('flags and variables, all of them at once', async () => {
    const flags = ['--port', '70000', '--ws-port', 'web', '--log-level', 'loud'];
    const wrong = [
      'limits.inflight_max=0',
      'limits.packet_bytes_max=1 mile',
      'session.maximum_qos=3',
      'limits.nonsense=1',
      'nonsense.here=1',
      'listener.tcp.path=mqtt',
      'listener.ws.compression=maybe',
    ];
    const env = { LETHE_LIMITS__RECEIVE_MAXIMUM: 'many', LETHE_SESSION__NONSENSE: '1' };
    expectLines(await complaints(['serve', '--ready-json', ...flags, ...wrong.flatMap((pair) => ['--set', pair])], env), [
      /^--port: listener\.port must be a whole number from 0 to 65535$/,
      /^--ws-port: listener\.port must be a whole number from 0 to 65535$/,
      /^--log-level: server\.log_level must be one of: error, warn, info, debug$/,
      /^--set limits\.inflight_max: limits\.inflight_max must be a whole number from 1 to 65535$/,
      /^--set limits\.packet_bytes_max: limits\.packet_bytes_max must be a whole number from \d+ to \d+$/,
      /^--set session\.maximum_qos: session\.maximum_qos must be a whole number from 0 to 2$/,
      /^--set limits\.nonsense: unknown option 'limits\.nonsense'; allowed here: connections_max, /,
      /^--set nonsense\.here: unknown option 'nonsense'; allowed here: server, session, .*listener$/,
      /^--set listener\.tcp\.path: listener\.path must begin with \/$/,
      /^--set listener\.ws\.compression: listener\.compression must be true or false$/,
      /^LETHE_LIMITS__RECEIVE_MAXIMUM: limits\.receive_maximum must be a whole number from 1 to 65535$/,
      /^LETHE_SESSION__NONSENSE: unknown option 'session\.nonsense'; allowed here: v3_expiry_s, /,
    ]);
  });

  test.each<{ args: string[]; message: RegExp; env?: Record<string, string> }>([
    { args: ['--set', 'nonsense'], message: /^--set nonsense: must be written as key=value$/ },
    { args: ['--set', 'port=1'], message: /^--set port: names no option; write section\.key or listener\.NAME\.key / },
    {
      args: ['--set', 'listener.web.port=1'],
      message: /^--set listener\.web\.port: there is no listener named 'web'; there are: tcp, ws$/,
    },
    {
      args: [],
      message: /^LETHE_LISTENER__WEB__PORT: there is no listener named 'web'; /,
      env: { LETHE_LISTENER__WEB__PORT: '1' },
    },
    { args: ['--bogus'], message: /unknown option '--bogus'/ },
    { args: ['now'], message: /too many arguments/ },
    { args: ['--port'], message: /'--port <port>' argument missing/ },
    {
      args: ['--config', '/nowhere/lethe.toml'],
      message: /^\/nowhere\/lethe\.toml: cannot be read \(ENOENT\); give the path of a TOML file$/,
    },
  ])('$args $env', async ({ args, message, env }) => {
    expectLines(await complaints(['serve', '--ready-json', ...args], env), [message]);
  });

  test.each<readonly [what: string, toml: string, lines: readonly (readonly [line: number, message: RegExp])[]]>([
    ['no TOML', '[server]\nlog_level = "info\n', [[2, /^is not TOML: /]]],
    [
      'one [listener] for several [[listener]]',
      '# a comment\n[listener]\nname = "a"\n',
      [[2, /^listener must be written as \[\[listener\]\] tables$/]],
    ],
    [
      'options that are wrong by themselves',
      `[server]
log_level = "info"
sys_interval_s = "often"
[serve]
# a comment
[limits]
receive_maximum = 5
packet_max = 5
[[listener]]
name = "a"
transport = "tcp"
[[listener]]
name = "b"
transport = "udp"
[[listener]]
transport = "tcp"
`,
      [
        [3, /^server\.sys_interval_s must be a whole number from 0 to 86400$/],
        [4, /^unknown option 'serve'; allowed here: server, session, .*listener$/],
        [8, /^unknown option 'limits\.packet_max'; allowed here: connections_max, /],
        [14, /^listener\.transport must be one of: tcp, tls, ws, wss$/],
        [15, /^listener\.name is missing; it must be a string$/],
      ],
    ],
    [
      'options that do not go together',
      `[limits]
packet_bytes_max = 1024
[[listener]]
name = "a"
transport = "tcp"
port = 1884
[[listener]]
name = "a"
transport = "ws"
port = 1885
[[listener]]
name = "c"
transport = "ws"
port = 1884
[[listener]]
name = "d"
transport = "wss"
cert_file = "c"
key_file = "k"
ca_file = "a"
client_certificate = "require"
tls_min_version = "1.3"
`,
      [
        [1, /^connect_bytes_max must not exceed packet_bytes_max$/],
        [8, /^listener 'a': has the name of another listener$/],
        [14, /^listener 'c': has the address of listener 'a'$/],
        [21, /^listener 'd': client_certificate is for tls only$/],
        [22, /^listener 'd': wss cannot be limited to TLS 1\.3; use a tls listener$/],
      ],
    ],
  ])('%s in the file', async (_what, toml, lines) => {
    const path = temporaryFile(toml);
    const [served, checked] = await Promise.all([complaints(['serve', '--config', path]), complaints(['check-config', path])]);
    expectLines(
      served,
      lines.map(([line, message]) => new RegExp(`^${path}:${line}: ${message.source.slice(1)}`)),
    );
    expect(checked).toEqual(served);
  });

  test('listeners beyond loopback that do not say that they are open', async () => {
    const listeners: readonly (readonly [host: string, transport: string, options: string])[] = [
      ['0.0.0.0', 'tcp', ''],
      ['::', 'ws', ''],
      [hostname(), 'tcp', 'insecure = true'],
      ['192.0.2.1', 'ws', 'anonymous = true'],
      ['0.0.0.0', 'tls', encryption],
      ['127.0.0.1', 'tcp', ''],
      ['localhost', 'ws', ''],
    ];
    const toml = listeners.map(
      ([host, transport, options], index) =>
        `[[listener]]\nhost = '${host}'\nname = 'l${index}'\ntransport = '${transport}'\n${options}\n`,
    );
    const path = temporaryFile(toml.join(''));
    const insecure = 'listens beyond loopback without TLS; use transport tls or wss, or say insecure = true';
    const anonymous =
      'listens beyond loopback without authentication; set auth.password_file or client_certificate = "require", or say anonymous = true';
    expect(await complaints(['serve', '--config', path])).toEqual([
      `${path}:2: listener 'l0': ${insecure}`,
      `${path}:2: listener 'l0': ${anonymous}`,
      `${path}:7: listener 'l1': ${insecure}`,
      `${path}:7: listener 'l1': ${anonymous}`,
      `${path}:12: listener 'l2': ${anonymous}`,
      `${path}:17: listener 'l3': ${insecure}`,
      `${path}:22: listener 'l4': ${anonymous}`,
    ]);
    expectLines(await complaints(['serve', '--host', '0.0.0.0', '--set', 'listener.ws.insecure=true']), [
      /^--host: listener 'tcp': listens beyond loopback without TLS/,
      /^--host: listener 'tcp': listens beyond loopback without authentication/,
      /^--host: listener 'ws': listens beyond loopback without authentication/,
    ]);
  });
});

describe('listeners beyond loopback that are served', () => {
  const listener = (transport: string, options: string) =>
    `[[listener]]\nname = 'open'\ntransport = '${transport}'\nhost = '0.0.0.0'\n${options}`;

  test.each([
    ['tcp that says both', () => listener('tcp', 'insecure = true\nanonymous = true')],
    ['ws that says insecure, with passwords', () => passwords() + listener('ws', 'insecure = true')],
  ])('with a warning at every start: %s', async (_what, toml) => {
    const served = await serve(toml());
    await served.child.until('it warns', () => served.child.stderr.includes('\n'));
    expect(served.child.stderr).toMatch(/^\S+ warn a listener is insecure by configuration: .* listener=open\n$/);
    expect(await served.stop()).toEqual({ code: 0, signal: null });
  });

  test.each([
    ['tls with passwords', () => passwords() + listener('tls', encryption)],
    ['wss that says anonymous', () => listener('wss', `${encryption}anonymous = true`)],
    [
      'tls that requires client certificates',
      () => listener('tls', `${encryption}ca_file = '${ca}'\nclient_certificate = 'require'`),
    ],
  ])('without a word: %s', async (_what, toml) => {
    const served = await serve(toml());
    expect(await served.stop()).toEqual({ code: 0, signal: null });
    expect(served.child.stderr).toBe('');
  });
});

describe('files that the configuration names', () => {
  const broken = temporaryFile('this is no certificate\n');
  const tls = (transport: string, cert: string, key: string, rest = '') =>
    `[[listener]]\nname = 'secure'\ntransport = '${transport}'\ncert_file = '${cert}'\nkey_file = '${key}'\n${rest}`;

  test.each([
    [
      'a certificate that is not there',
      tls('tls', '/nowhere.pem', serverKey),
      /cert_file: cannot read \/nowhere\.pem \(ENOENT\)/,
    ],
    ['a certificate that is none', tls('tls', broken, serverKey), /cert_file: .* holds no PEM certificate/],
    ['a key that is none', tls('wss', serverCert, broken), /key_file: .* holds no PEM private key/],
    ['the key of another certificate', tls('wss', serverCert, clientKey), /key_file: .* is not the key of the certificate in /],
    ['an encrypted key', tls('tls', serverCert, lockedServerKey), /key_file: .* is encrypted; give one without a passphrase/],
    [
      'an authority that is none',
      tls('tls', serverCert, serverKey, `ca_file = '${broken}'\nclient_certificate = 'require'`),
      /ca_file: .* holds no PEM certificate/,
    ],
  ])('%s', async (_what, toml, message) => {
    const { stdout, stderr, exit } = await lethed(['serve', '--ready-json', '--config', temporaryFile(toml)]);
    expect(stderr).toMatch(new RegExp(`^lethe: listener "secure": ${message.source}.*\n$`));
    expect(exit).toEqual({ code: 2, signal: null });
    expect(stdout).toBe('');
  });

  test.each(['password_file', 'acl_file'])('%s: missing, or broken, it never means that all is allowed', async (option) => {
    for (const path of ['/nowhere', temporaryFile('what is this\n')]) {
      const { stdout, stderr, exit } = await lethed(['serve', '--ready-json', ...FREE, '--set', `auth.${option}=${path}`]);
      expect(stderr).toMatch(new RegExp(`^lethe: ${path}:`));
      expect(exit).toEqual({ code: 2, signal: null });
      expect(stdout).toBe('');
    }
  });
});
