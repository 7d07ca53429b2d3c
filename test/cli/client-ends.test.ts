// How `lethe pub` and `lethe sub` end when something is wrong: exit code 2 for arguments, 3 for a broker that is not there or says no,
// 4 for -W, 130 and 143 for signals; each with a message that names the reason and what to do.
import { createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemRandom } from '../../engine/random.ts';
import { hashPassword } from '../../engine/security/password-hash.ts';
import { startBroker } from '../broker.ts';
import { temporaryFile } from '../security/temporary.ts';
import { freePort, run, start, succeed, unique, until, useLethe } from './command-line.ts';

const lethe = useLethe();

describe('wrong arguments end with 2, before anything is sent', () => {
  const pub = ['pub', '-p', '1', '-t', 'a', '-m', 'x'];
  const sub = ['sub', '-p', '1', '-t', 'a'];
  const cases: readonly (readonly [args: readonly string[], message: string | RegExp])[] = [
    [['pub', '-m', 'x'], 'no topic: give -t'],
    [['pub', '-t', 'a'], 'give one of -m, -f, -s, -l, -n'],
    [[...pub, '-n'], 'give one of -m, -f, -s, -l, -n, not -m and -n'],
    [['pub', '-t', 'a/#', '-m', 'x'], "-t 'a/#' is no topic name"],
    [['pub', '-t', '', '-m', 'x'], "-t '' is no topic name"],
    [['pub', '-t', 'a', '-l', '--repeat', '2'], '--repeat does not go with -l'],
    [[...pub, '--repeat-delay', '2'], '--repeat-delay needs --repeat'],
    [[...pub, '--repeat', '0'], /--repeat.*whole number from 1 to/],
    [['pub', '-L', 'mqtt://localhost/a', '-t', 'b', '-m', 'x'], 'the topic is given twice: by -t and in -L'],
    [['sub'], 'no topic filter: give -t'],
    [['sub', '-t', 'a/b#'], "-t 'a/b#' is no topic filter"],
    [['sub', '-t', '$share//a'], "-t '$share//a' is no topic filter"],
    [[...sub, '-T', 'a+'], "-T 'a+' is no topic filter"],
    [[...sub, '-U', '#/a'], "-U '#/a' is no topic filter"],
    [[...sub, '-R', '--retained-only'], '-R and --retained-only leave nothing to show'],
    [[...sub, '-F', '%k'], "-F: '%k' means nothing; there are: %t %p"],
    [[...sub, '-F', 'a\\q'], "-F: '\\q' means nothing; there are: "],
    [[...sub, '-C', '0'], /--count <count>.*whole number from 1 to/],
    [[...sub, '-W', 'soon'], /--timeout <seconds>.*number of seconds from 0.001 to/],
    [[...sub, '--retain-as-published'], 'need MQTT 5: give -V 5'],
    [[...sub, '-q', '3'], /--qos <qos>.*must be 0, 1 or 2/],
    [[...sub, '-p', '65536'], /--port <port>.*whole number from 1 to 65535/],
    [[...sub, '-V', 'toString'], /must be one of: 31, 311, 5/],
    [[...sub, '-V', '6'], /must be one of: 31, 311, 5/],
    [[...sub, '-k', '-1'], /--keepalive.*whole number from 0 to 65535/],
    [[...sub, '-c'], '-c needs a client id to find the session again: give -i'],
    [[...sub, '-x', '-1'], 'a session that never expires needs a client id: give -i'],
    [[...sub, '-x', '5', '-V', '311'], '-x needs MQTT 5: give -V 5 or leave out -V'],
    [[...pub, '-V', '31', '-D', 'publish', 'content-type', 'x'], '-D needs MQTT 5: give -V 5 or leave out -V'],
    [[...pub, '-D', 'publish', 'topic-alias', '0'], '-D publish topic-alias 0: the value must be a whole number from 1 to 65535'],
    [[...pub, '-D', 'publish', 'nonsense', 'x'], '-D publish nonsense x: the property of publish must be one of: content-type, '],
    [[...pub, '-D', 'connect', 'content-type', 'x'], 'the property of connect must be one of: maximum-packet-size, '],
    [[...pub, '-D', 'subscribe', 'user-property', 'a', 'b'], 'the command must be one of: connect, publish, disconnect, will'],
    [[...pub, '-D', 'publish', 'user-property', 'a'], 'write -D publish user-property NAME VALUE'],
    [[...sub, '-i', 'a', '-I', 'b'], 'give -i or -I, not both'],
    [[...sub, '-P', 'x'], 'a password needs a user name: give -u'],
    [[...sub, '--will-payload', 'x'], '--will-payload needs --will-topic'],
    [[...sub, '--will-topic', '+'], "--will-topic '+' is no topic name"],
    [[...sub, '--cert', 'x'], '--cert and --key go together'],
    [[...sub, '--path', '/x'], '--path is for WebSocket: give --ws'],
    [[...sub, '--ws', '--path', 'x'], '--path must begin with /'],
    [['sub', '-t', 'a', '-L', 'http://u:secret@x/y'], '-L must be written as mqtt[s]://'],
    [['sub', '-t', 'a', '-L', 'mqtt://localhost', '-p', '1'], '-L says where the broker is: leave out --port'],
    [['sub', '-t', 'a', '-L', 'ws://localhost', '--tls'], 'the TLS options need wss:// in -L'],
    [[...sub, 'stray'], /too many arguments/],
    [[...sub, '--nonsense'], "unknown option '--nonsense'"],
    [['sub', '-t', 'a', '-h'], /'-h, --host <host>' argument missing/],
  ];

  test.each(cases)('lethe %j', async (args, message) => {
    const { exit, stdout, stderr } = await run(args);
    expect(exit).toEqual({ code: 2, signal: null });
    expect(stdout).toBe('');
    if (typeof message === 'string') expect(stderr).toContain(message);
    else expect(stderr).toMatch(message);
    expect(stderr).not.toContain('secret');
    expect(stderr.trimEnd().split('\n').length).toBeLessThan(3);
  });
});

describe('a broker that cannot be reached ends with 3', () => {
  test('nothing listens', async () => {
    const port = `${await freePort()}`;
    for (const command of [
      ['pub', '-m', 'x'],
      ['sub', '-W', '60'],
    ]) {
      const { exit, stderr } = await run([...command, '-h', '127.0.0.1', '-p', port, '-t', 'a']);
      expect(exit?.code).toBe(3);
      expect(stderr).toContain(`mqtt://127.0.0.1:${port}: nothing listens there`);
    }
  });

  test('--quiet says nothing of it', async () => {
    const { exit, stderr } = await run(['pub', '--quiet', '-h', '127.0.0.1', '-p', `${await freePort()}`, '-t', 'a', '-m', 'x']);
    expect([exit?.code, stderr]).toEqual([3, '']);
  });

  test('the name of the host is unknown', async () => {
    const { exit, stderr } = await run(['pub', '-h', 'nowhere.invalid', '-t', 'a', '-m', 'x']);
    expect(exit?.code).toBe(3);
    expect(stderr).toMatch(/nowhere\.invalid:1883: (no such host; check the name|the name of the host cannot be looked up now)/);
  });

  describe('the port speaks something else', () => {
    const web = useServer((socket) => socket.on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')));

    test('to MQTT', async () => {
      const { exit, stderr } = await run(['sub', '-h', '127.0.0.1', '-p', web.port(), '-t', 'a']);
      expect(exit?.code).toBe(3);
      expect(stderr).toMatch(/is this an MQTT broker\?/);
    });

    test('to WebSocket', async () => {
      const { exit, stderr } = await run(['sub', '--ws', '-h', '127.0.0.1', '-p', web.port(), '-t', 'a']);
      expect(exit?.code).toBe(3);
      expect(stderr).toContain('the WebSocket is refused with HTTP status 400; check --path');
    });

    test('to TLS', async () => {
      const { exit, stderr } = await run(['pub', '--tls', '-h', '127.0.0.1', '-p', web.port(), '-t', 'a', '-m', 'x']);
      expect(exit?.code).toBe(3);
      expect(stderr).toContain('does the port speak TLS?');
    });
  });

  test('the path of the WebSocket is wrong', async () => {
    const { exit, stderr } = await run(['pub', '-L', `ws://127.0.0.1:${lethe.broker.ws}/other`, '-t', 'a', '-m', 'x']);
    expect(exit?.code).toBe(3);
    expect(stderr).toContain('HTTP status 404; check --path');
  });

  test('the broker goes away while pub waits for the acknowledgement', async () => {
    // CONNACK, and silence until the PUBLISH comes.
    const deaf = await openServer((socket) => {
      socket.once('data', () => {
        socket.write(Uint8Array.of(0x20, 2, 0, 0));
        socket.once('data', () => socket.destroy());
      });
    });
    try {
      const { exit, stderr } = await run(['pub', '-h', '127.0.0.1', '-p', deaf.port(), '-t', 'a', '-m', 'x', '-q', '1']);
      expect(exit?.code).toBe(3);
      expect(stderr).toContain('closed the connection without a reason; MQTT 5 gives reasons: try -V 5');
    } finally {
      deaf.close();
    }
  });
});

describe('a broker that says no ends with 3, and the code and its meaning are told', () => {
  const guarded = useLethe(['listener.tcp.anonymous=false']);

  test.each([
    ['31', '5 Not authorized; give -u and -P'],
    ['311', '5 Not authorized; give -u and -P'],
    ['5', '0x87 Not authorized'],
  ])('-V %s: the connection', async (version, message) => {
    for (const command of [
      ['pub', '-m', 'x'],
      ['sub', '-W', '60'],
    ]) {
      const { exit, stderr } = await run([...command, ...guarded.at, '-V', version, '-t', 'a']);
      expect(exit?.code).toBe(3);
      expect(stderr).toContain(`the broker at mqtt://127.0.0.1:${guarded.port} refused the connection: ${message}`);
    }
  });

  test('a message', async () => {
    const args = ['pub', ...lethe.at, '-V', '5', '-t', '$SYS/broker/uptime', '-q', '1'];
    const one = await run([...args, '-m', 'x']);
    expect(one.exit?.code).toBe(3);
    expect(one.stderr).toContain('the broker did not take the message: 0x87 Not authorized');
    const many = await run([...args, '-l'], { input: '1\n2\n3\n' });
    expect(many.exit?.code).toBe(3);
    expect(many.stderr).toContain('the broker did not take 3 messages; the first: 0x87 Not authorized');
  });

  test('a message that the broker throws the client out for, also at QoS 0', async () => {
    for (const qos of ['0', '1']) {
      const args = ['-V', '5', '-q', qos, '-t', 'a', '-s'];
      const { exit, stderr } = await run(['pub', ...small.at, ...args], { input: Buffer.alloc(70_000) });
      expect(exit?.code).toBe(3);
      expect(stderr).toContain('closed the connection: 0x95 Packet too large');
    }
  });

  test('every subscription ends the run; one of several is only told', async () => {
    const plain = unique('plain');
    const all = await run(['sub', ...simple.at, '-V', '5', '-t', 'a/#', '-t', '$share/g/b']);
    expect(all.exit?.code).toBe(3);
    expect(all.stderr).toMatch(
      /refused to subscribe to 'a\/#': 0xa2 Wildcard subscriptions not supported.*'\$share\/g\/b': 0x9e Shared/,
    );
    await succeed(['pub', ...simple.at, '-t', plain, '-m', 'here', '-r']);
    const one = await run(['sub', ...simple.at, '-V', '5', '-t', 'a/#', '-t', plain, '-C', '1']);
    expect([one.exit?.code, one.stdout]).toEqual([0, 'here\n']);
    expect(one.stderr).toContain("refused to subscribe to 'a/#': 0xa2");
  });

  const small = useLethe(['limits.packet_bytes_max=65536', 'limits.connect_bytes_max=65536']);
  const simple = useLethe(['session.wildcard_subscriptions=false', 'session.shared_subscriptions=false']);

  test('another client with the same client id', async () => {
    const id = unique('same');
    const before = lethe.broker.counts().subscriptions;
    const first = start(['sub', ...lethe.at, '-V', '5', '-i', id, '-t', 'a']);
    await lethe.subscribed(before + 1);
    await succeed(['pub', ...lethe.at, '-V', '5', '-i', id, '-t', 'b', '-m', 'x']);
    expect((await first.exited).code).toBe(3);
    expect(first.stderr).toContain('closed the connection: 0x8e Session taken over');
    expect(first.stderr).toContain('give another one with -i');
  });
});

test('user name and password are sent, the password also from LETHE_PASSWORD', async () => {
  const pub = ['pub', ...locked.at, '-V', '5', '-t', 'a', '-m', 'x', '-q', '1'];
  await succeed([...pub, '-u', 'ada', '-P', 'geheim ü']);
  await succeed([...pub, '-u', 'ada'], { env: { LETHE_PASSWORD: 'geheim ü' } });
  await succeed(['pub', '-L', `mqtt://ada:geheim%20%C3%BC@127.0.0.1:${locked.port}/a`, '-m', 'x']);
  for (const [args, env] of [
    [['-u', 'ada', '-P', 'wrong'], { LETHE_PASSWORD: 'geheim ü' }],
    [['-u', 'ada'], { LETHE_PASSWORD: 'wrong' }],
  ] as const) {
    const { exit, stderr } = await run([...pub, ...args], { env });
    expect(exit?.code).toBe(3);
    expect(stderr).toContain('0x86 Bad user name or password; check -u, and -P or LETHE_PASSWORD');
    expect(stderr).not.toMatch(/geheim|wrong/);
  }
});

const locked = useLethe(async () => {
  const file = temporaryFile(`ada:${await hashPassword('geheim ü', systemRandom, { format: 'mosquitto', iterations: 10 })}\n`);
  return [`auth.password_file=${file}`];
});

describe('-W ends with 4', () => {
  test('when nothing comes, when too little comes, and when the broker does not even answer', async () => {
    const topic = unique('little');
    await succeed(['pub', ...lethe.at, '-t', topic, '-m', 'one', '-r']);
    const [nothing, little, silent] = await Promise.all([
      run(['sub', ...lethe.at, '-t', unique('nothing'), '-W', '0.5']),
      run(['sub', ...lethe.at, '-t', topic, '-W', '5', '-C', '2']),
      run(['sub', '-h', '127.0.0.1', '-p', mute.port(), '-t', topic, '-W', '0.5']),
    ]);
    expect([nothing, little, silent].map(({ exit }) => exit?.code)).toEqual([4, 4, 4]);
    expect([nothing, little, silent].map(({ stdout }) => stdout)).toEqual(['', 'one\n', '']);
    expect(nothing.stderr).toBe('lethe sub: timed out after 0.5 s (-W)\n');
  });

  const mute = useServer(() => {});
});

describe('signals', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends sub in order: 0 when there was no other end to wait for, else %i', async (signal, code) => {
    const before = lethe.broker.counts().subscriptions;
    const { connections } = lethe.broker.counts();
    const endless = start(['sub', ...lethe.at, '-t', 'a']);
    const counting = start(['sub', ...lethe.at, '-t', 'a', '-C', '1']);
    await lethe.subscribed(before + 2);
    endless.kill(signal);
    counting.kill(signal);
    expect(await endless.exited).toEqual({ code: 0, signal: null });
    expect(endless.stderr).toBe('');
    expect(await counting.exited).toEqual({ code, signal: null });
    expect(counting.stderr).toBe('lethe sub: interrupted after 0 messages\n');
    await until('the connections are gone', () => lethe.broker.counts().connections === connections);
  });

  test('SIGINT ends pub with 130 while it has something to send', async () => {
    const topic = unique('slow');
    const pub = start(['pub', ...lethe.at, '-t', topic, '-m', 'x', '-r', '--repeat', '2', '--repeat-delay', '600']);
    await succeed(['sub', ...lethe.at, '-t', topic, '-C', '1']);
    pub.kill('SIGINT');
    expect(await pub.exited).toEqual({ code: 130, signal: null });
    expect(pub.stderr).toBe('lethe pub: interrupted before everything was published\n');
  });
});

test('sub comes back when the broker does, and subscribes again', async () => {
  const topic = unique('back');
  const port = await freePort();
  const at = ['-h', '127.0.0.1', '-p', `${port}`];
  const first = await startBroker([`listener.tcp.port=${port}`]);
  const sub = start(['sub', ...at, '-V', '5', '-t', topic, '-C', '2', '-q', '1']);
  await until('sub has subscribed', () => first.counts().subscriptions === 1);
  await succeed(['pub', ...at, '-t', topic, '-m', 'before', '-q', '1']);
  await sub.until('the first message is there', () => sub.stdout === 'before\n');
  await first.stop();
  await sub.until('sub tells of it', () => sub.stderr.includes('0x8b Server shutting down'));
  const second = await startBroker([`listener.tcp.port=${port}`]);
  try {
    await until('sub has subscribed again', () => second.counts().subscriptions === 1);
    await succeed(['pub', ...at, '-t', topic, '-m', 'after', '-q', '1']);
    expect(await sub.exited).toEqual({ code: 0, signal: null });
    expect(sub.stdout).toBe('before\nafter\n');
    expect(sub.stderr).toContain(`connected to mqtt://127.0.0.1:${port} again`);
  } finally {
    await second.stop();
  }
});

test('a file that cannot be read ends with 1', async () => {
  const payload = await run(['pub', ...lethe.at, '-t', 'a', '-f', '/nowhere/x']);
  const authority = await run(['pub', ...lethe.at, '-t', 'a', '-m', 'x', '--cafile', '/nowhere/ca.pem']);
  const broken = await run(['pub', ...lethe.at, '-t', 'a', '-m', 'x', '--cert', temporaryFile('x'), '--key', temporaryFile('x')]);
  const empty = await run(['pub', ...lethe.at, '-t', 'a', '-s']);
  expect([payload, authority, broken, empty].map(({ exit }) => exit?.code)).toEqual([1, 1, 1, 1]);
  expect(payload.stderr).toContain('-f /nowhere/x cannot be read: ENOENT');
  expect(authority.stderr).toContain('--cafile /nowhere/ca.pem cannot be read: ENOENT');
  expect(broken.stderr).toContain('the certificate or key cannot be used: ');
  expect(empty.stderr).toContain('standard input is empty; -n publishes an empty message');
});

interface TestServer {
  port(): string;
  close(): void;
}

function useServer(serve: (socket: Socket) => void): TestServer {
  let server: TestServer | null = null;
  beforeAll(async () => {
    server = await openServer(serve);
  });
  afterAll(() => server?.close());
  return { port: () => server!.port(), close: () => server!.close() };
}

async function openServer(serve: (socket: Socket) => void): Promise<TestServer> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port() {
      const address = server.address();
      return typeof address === 'object' && address !== null ? `${address.port}` : '';
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
