// `lethe bench` as a person or a CI job types it: exit codes, what is printed where, JSON, assertions, reports, brokers that it starts,
// kills and starts again, and signals.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Result } from '../../bench/result/result.ts';
import { commandLine, freePort, run, start, useLethe, useMosquitto } from '../cli/command-line.ts';
import { Child } from '../end-to-end/child.ts';
import { directory, temporaryFile } from '../security/temporary.ts';

const lethe = useLethe();
const mosquitto = useMosquitto();

const bench = (args: readonly string[]) => run(['bench', ...args]);

function resultOf(text: string): Result {
  return JSON.parse(text) as Result;
}

let files = 0;
const fresh = (end: string) => join(directory, `bench-${++files}.${end}`);

describe('the result', () => {
  test('a run without flags for output prints a summary and nothing else', async () => {
    const { exit, stdout, stderr } = await bench(['run', 'fan-in', '-c', '3', '-L', '300', ...lethe.at]);
    expect(exit).toEqual({ code: 0, signal: null });
    expect(stderr).toBe('');
    const lines = stdout.split('\n').map((line) => line.split(/ {2,}/, 1)[0]);
    expect(lines).toEqual(
      expect.arrayContaining(['scenario', 'broker', 'machine', 'connections', 'sent', 'received', 'latency', 'account']),
    );
    expect(stdout).toMatch(/account +300 deliveries owed: 0 lost, 0 duplicated/);
    // No control characters: nothing is rewritten in place where there is no terminal.
    expect(stdout.replaceAll('\n', '')).toMatch(/^[^\p{Cc}]*$/u);
  });

  test('--json prints the whole result instead', async () => {
    const pid = String(process.pid);
    const { exit, stdout } = await bench([
      'run',
      'fan-out',
      '-c',
      '3',
      '--duration',
      '1.2',
      '--warm-up',
      '0',
      '--json',
      '--pid',
      pid,
      ...lethe.at,
    ]);
    expect(exit?.code).toBe(0);
    const result = resultOf(stdout);
    expect(result).toMatchObject({
      format: 'lethe-bench/1',
      scenario: 'fan-out',
      machine: { node: process.versions.node, cores: expect.any(Number), cpu: expect.any(String), kernel: expect.any(String) },
      broker: { address: `mqtt://127.0.0.1:${lethe.port}`, version: expect.stringMatching(/^lethe /), pid: process.pid },
      plan: { publishers: [{ count: 1, qos: 0 }], subscribers: [{ count: 3 }], threads: 1, durationS: 1.2 },
      account: { lost: 0, duplicated: 0, corrupt: 0 },
      interrupted: false,
      ok: true,
    });
    const { figures, account, seconds, stages } = result;
    expect(account.received).toBe(account.owed);
    expect(account.owed).toBe(account.sent * 3);
    expect(account.subscribers.map(({ received }) => received)).toEqual([account.sent, account.sent, account.sent]);
    expect(account.publishers).toMatchObject([{ sent: account.sent }]);
    expect(figures).toMatchObject({ stage: 'measured', perSecondOf: 'deliveries', latencyOf: 'deliveries' });
    const { min, p50, p90, p99, p99_9, max, count } = figures.latencyMs!;
    expect([min, p50, p90, p99, p99_9, max]).toEqual([min, p50, p90, p99, p99_9, max].toSorted((a, b) => a - b));
    expect(count).toBe(account.received);
    expect(figures.latencyCurve.length).toBeGreaterThan(8);
    expect(stages.map(({ name }) => name)).toEqual(['connect', 'measured', 'settle']);
    // By second: everything that was received, and what it cost the broker.
    expect(seconds.reduce((sum, { received }) => sum + received, 0)).toBe(account.received);
    expect(seconds.some(({ cpuCores, residentBytes }) => cpuCores! > 0 && residentBytes! > 0)).toBe(true);
    expect(result.broker.residentBytesMax).toBeGreaterThan(1_000_000);
  });

  test('--json FILE and --report FILE write it, --quiet prints no summary', async () => {
    const [json, report] = [fresh('json'), fresh('html')];
    const { exit, stdout, stderr } = await bench([
      'run',
      'point-to-point',
      '-q',
      '1',
      '-L',
      '500',
      '--json',
      json,
      '--report',
      report,
      '--quiet',
      ...mosquitto.at,
    ]);
    expect([exit?.code, stdout, stderr]).toEqual([0, '', '']);
    const result = resultOf(readFileSync(json, 'utf8'));
    expect(result.broker.version).toMatch(/^mosquitto version/);
    const page = readFileSync(report, 'utf8');
    const embedded = /<script type="application\/json" id="result">([^<]*)<\/script>/.exec(page)![1]!;
    expect(resultOf(embedded)).toEqual(result);
  });

  test('no secret of the command line stands in it', async () => {
    const { stdout } = await bench(['pub', '-L', '10', '-u', 'ada', '-P', 'hunter2', '--json', ...lethe.at]);
    expect(resultOf(stdout).plan.broker).toMatchObject({ userName: 'ada', password: null });
    expect(stdout).not.toContain('hunter2');
  });
});

describe('exit codes', () => {
  test('0 when every assertion holds, and the summary says so', async () => {
    const asserts = ['--assert', 'lost=0, p99<60s', '--assert', 'rate>1'];
    const { exit, stdout } = await bench(['run', 'point-to-point', '-L', '200', ...asserts, ...lethe.at]);
    expect(exit?.code).toBe(0);
    expect(stdout.match(/^holds .*$/gm)).toEqual([
      expect.stringMatching(/lost=0/),
      expect.stringMatching(/p99<60s/),
      expect.stringMatching(/rate>1/),
    ]);
  });

  test('1 when one fails, with its name on standard error', async () => {
    const asserts = ['--assert', 'lost=0,rate>1000M,p50<1us'];
    const { exit, stdout, stderr } = await bench(['run', 'point-to-point', '-L', '200', ...asserts, ...lethe.at]);
    expect(exit?.code).toBe(1);
    expect(stderr).toMatch(
      /^lethe bench: rate>1000M does not hold: it is [\d,.]+\nlethe bench: p50<1us does not hold: it is [\d.]+ (?:µs|ms|s)\n$/,
    );
    expect(stdout).toMatch(/^FAILED +rate>1000M/m);
  });

  test('1 for losses that nobody asserted anything about', async () => {
    const port = await freePort();
    // One message waits for a session that is away: the second is dropped.
    const file = temporaryFile(
      `user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 1\nlog_dest none\n`,
    );
    const args = ['run', 'persistent', '-c', '1', '-L', '50', '--settle', '0.5', '-p', String(port)];
    const { exit, stderr } = await bench([...args, '--start', `mosquitto -c ${file}`]);
    expect(exit?.code).toBe(1);
    expect(stderr).toMatch(/^lethe bench: lost=0 does not hold: it is 4\d\n$/);
    const allowed = await bench([...args, '--start', `mosquitto -c ${file}`, '--assert', 'lost<=50,duplicated=0']);
    expect(allowed.exit?.code).toBe(0);
  });

  test.each([
    ['a flag that is none', ['pub', '--colour'], /unknown option '--colour'/],
    ['a value that is none', ['run', 'fan-in', '-q', '3'], /-q, --qos .*It must be one of: 0, 1, 2/],
    ['a scenario that is none', ['run', 'fan'], /no scenario 'fan'; there are: point-to-point, /],
    ['an assertion that is none', ['pub', '--assert', 'p98<5ms'], /names no metric; metrics are rate, /],
    ['things that do not go together', ['run', 'persistent', '-q', '0'], /persistent needs -q 1 or -q 2/],
    ['a scenario file that is wrong', ['run', temporaryFile('qos = 7').concat('.toml')], /cannot be read/],
  ])('2 for %s', async (_what, args, message) => {
    const { exit, stdout, stderr } = await bench([...args, ...lethe.at]);
    expect([exit?.code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
  });

  test('3 when nobody listens, or the broker refuses', async () => {
    const silent = await bench(['pub', '-p', String(await freePort())]);
    expect(silent.exit?.code).toBe(3);
    expect(silent.stderr).toMatch(/^lethe bench: mqtt:\/\/127\.0\.0\.1:\d+: nothing listens there/);
    // Lethe's MQTT port speaks no WebSocket.
    const wrong = await bench(['pub', '--ws', ...lethe.at]);
    expect(wrong.exit?.code).toBe(3);
    expect(wrong.stderr).toMatch(/^lethe bench: ws:\/\/127\.0\.0\.1:\d+\/mqtt: /);
  });

  test('3 when the broker does not know the user', async () => {
    const port = await freePort();
    const file = temporaryFile(`user root\nlistener ${port} 127.0.0.1\nallow_anonymous false\nlog_dest none\n`);
    const { exit, stderr } = await bench(['conn', '-p', String(port), '--start', `mosquitto -c ${file}`]);
    expect(exit?.code).toBe(3);
    expect(stderr).toMatch(/the broker refused the connection: 5 Not authorized/);
  });

  test('1 when the broker cannot be started, with what it said', async () => {
    const port = String(await freePort());
    const { exit, stderr } = await bench(['pub', '-p', port, '--start', 'mosquitto -c /nowhere.conf']);
    expect(exit?.code).toBe(1);
    expect(stderr).toMatch(/the broker started by 'mosquitto -c \/nowhere.conf' ended with \d+\n.*Unable to open config file/s);
  });

  test('--help tells them, and the examples', async () => {
    for (const args of [['--help'], ['pub', '--help'], ['sub', '--help'], ['conn', '--help'], ['run', '--help']]) {
      const { exit, stdout } = await bench(args);
      expect(exit?.code).toBe(0);
      expect(stdout).toMatch(/Exit codes:\n {2}0 {2}fine\n {2}1 {2}an assertion failed/);
      if (args.length > 1) expect(stdout).toContain('\nExamples:\n');
    }
  });
});

describe('pub and sub from two terminals', () => {
  test.each([
    ['lethe', lethe],
    ['mosquitto', mosquitto],
  ])('%s: sub accounts for what another process publishes', async (_name, broker) => {
    const sub = start(['bench', 'sub', '-c', '2', '-t', 'two/#', '-q', '1', '--json', ...broker.at]);
    // It has no end by itself, and tells nothing while it runs: its messages say when it is there.
    const pub = async (topic: string) => {
      const { exit } = await bench(['pub', '-c', '3', '-t', topic, '-q', '1', '-L', '300', '-w', '10', '--quiet', ...broker.at]);
      expect(exit?.code).toBe(0);
    };
    await waitForSubscribers(broker, 'two/ready');
    await pub('two/%i');
    await pub('two/%c/again');
    sub.kill('SIGINT');
    const { code } = await sub.ended();
    expect(code).toBe(0);
    const { account, figures } = resultOf(sub.stdout);
    expect(account).toMatchObject({ received: 1_200, lost: 0, duplicated: 0, outOfOrder: 0, corrupt: 0, owed: 0 });
    expect(account.foreign).toBeGreaterThan(0);
    expect(figures.latencyMs!.count).toBe(1_200);
  });

  /** Publishes a retained message that is none of ours, until a subscriber of both sees it: they are there then. */
  async function waitForSubscribers(broker: { readonly at: readonly string[] }, topic: string): Promise<void> {
    const deadline = performance.now() + 20_000;
    // The broker tells how many receive a message of MQTT 5: none is reason 16.
    for (;;) {
      const pub = new Child('mosquitto_pub', [...broker.at, '-V', 'mqttv5', '-q', '1', '-d', '-t', topic, '-m', 'x']);
      await pub.ended();
      if (/PUBACK.*RC:0/.test(pub.stdout)) return;
      if (performance.now() > deadline) throw new Error(`nobody subscribes: ${pub.stdout}`);
    }
  }
});

describe('scenario files', () => {
  test('are run; flags win over them, and assertions add up', async () => {
    const file = temporaryFile(`
assert = "lost=0"
[broker]
port = 1
[[publishers]]
count = 4
topic = "file/%i/t"
qos = 1
limit = 400
[[subscribers]]
count = 2
filter = "file/+/t"
qos = 1
shared = "g"
[[subscribers]]
count = 1
filter = "file/2/#"
`);
    const toml = `${file}.toml`;
    const { exit } = await new Promise<{ exit: { code: number | null } }>((resolve) => {
      const child = new Child('cp', [file, toml]);
      void child.exited.then((own) => resolve({ exit: own }));
    });
    expect(exit.code).toBe(0);
    const found = await bench(['run', toml, '--json', '--assert', 'p99<60s', ...lethe.at]);
    expect(found.exit?.code).toBe(0);
    expect(resultOf(found.stdout)).toMatchObject({
      account: { sent: 400, owed: 500, received: 500 },
      assertions: [
        { assertion: 'lost=0', holds: true },
        { assertion: 'p99<60s', holds: true },
      ],
    });
  });
});

describe('brokers that it starts', () => {
  test('are measured, and ended with the run', async () => {
    const port = await freePort();
    const file = temporaryFile(`user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n`);
    const args = ['run', 'point-to-point', '-L', '2000', '-p', String(port), '--start', `mosquitto -c ${file}`, '--json'];
    const { exit, stdout } = await bench(args);
    expect(exit?.code).toBe(0);
    const { broker, stages } = resultOf(stdout);
    expect(broker.residentBytesMax).toBeGreaterThan(100_000);
    expect(stages.every(({ broker: usage }) => usage !== null)).toBe(true);
    expect(existsSync(`/proc/${broker.pid}`)).toBe(false);
  });

  test.each([
    [1, 4],
    [2, 5],
  ] as const)('QoS %i, MQTT %i: a Lethe with a disk is killed in the middle, and nothing is lost', async (qos, version) => {
    const port = await freePort();
    const data = join(directory, `data-${++files}`);
    mkdirSync(data, { mode: 0o700 });
    const serve = commandLine(['serve', '--port', String(port), '--ws-port', '0', '--data', data]).join(' ');
    const { exit, stdout, stderr } = await bench([
      'run',
      'point-to-point',
      '-c',
      '3',
      '-q',
      String(qos),
      '-V',
      String(version),
      '-s',
      '64',
      '-p',
      String(port),
      '--rate',
      '600',
      '-L',
      '1200',
      '--start',
      serve,
      '--kill-after',
      '0.6s',
      '--json',
    ]);
    expect([exit?.code, stderr]).toEqual([0, '']);
    const { account, kill } = resultOf(stdout);
    expect(account).toMatchObject({ sent: 1_200, owed: 1_200, lost: 0, duplicated: 0, outOfOrder: 0, unacknowledged: 0 });
    expect(account).toMatchObject({ corrupt: 0, sessionsLost: 0 });
    expect(account.connectionsLost).toBeGreaterThanOrEqual(6);
    if (qos === 2) expect(account.redelivered).toBe(0);
    expect(kill!.tookS).toBeGreaterThan(0);
  });

  test('a broker of the user is killed by its pid, started again by the command, and left running', async () => {
    const port = await freePort();
    const file = temporaryFile(`user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\n`);
    const theirs = new Child('mosquitto', ['-c', file]);
    await theirs.until('mosquitto serves', () => theirs.stderr.includes(' running'));
    const { exit, stdout } = await bench([
      ...['run', 'point-to-point', '-q', '1', '-p', String(port), '--rate', '300', '-L', '300', '--json'],
      ...['--pid', String(theirs.pid), '--kill-after', '300ms', '--restart-command', `mosquitto -c ${file}`],
      ...['--assert', 'lost<300,sessions_lost<=2,duplicated=0'],
    ]);
    const { broker, kill } = resultOf(stdout);
    try {
      expect(exit?.code).toBe(0);
      expect(await theirs.ended()).toEqual({ code: null, signal: 'SIGKILL' });
      expect(kill).not.toBeNull();
      expect(broker.pid).not.toBe(theirs.pid);
      expect(readFileSync(`/proc/${broker.pid}/comm`, 'utf8')).toBe('mosquitto\n');
    } finally {
      process.kill(broker.pid!, 'SIGKILL');
    }
  });

  test('a command that only runs the broker is found out when it is killed', async () => {
    const port = await freePort();
    const pidFile = fresh('pid');
    const file = temporaryFile(
      `user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\nlog_dest none\npid_file ${pidFile}\n`,
    );
    const { exit, stderr } = await bench([
      ...['run', 'point-to-point', '-q', '1', '-p', String(port), '--rate', '100', '-L', '200'],
      ...['--kill-after', '200ms', '--start', `mosquitto -c ${file} & wait`],
    ]);
    try {
      expect(exit?.code).toBe(1);
      expect(stderr).toMatch(/something still listens on 127\.0\.0\.1:\d+: --start must become the broker/);
    } finally {
      process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
    }
  });

  test('a pid that is none', async () => {
    const { exit, stderr } = await bench(['pub', '--pid', '4194000', ...lethe.at]);
    expect([exit?.code, stderr]).toEqual([1, 'lethe bench: --pid 4194000: there is no such process\n']);
  });

  test('a broker that forgets is found out', async () => {
    const port = await freePort();
    const file = temporaryFile(`user root\nlistener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\nlog_dest none\n`);
    const { exit, stdout, stderr } = await bench([
      'run',
      'persistent',
      '-c',
      '2',
      '-L',
      '400',
      '--rate',
      '400',
      '-p',
      String(port),
      '--start',
      `mosquitto -c ${file}`,
      '--kill-after',
      '0.5',
      '--settle',
      '1',
      '--json',
    ]);
    expect(exit?.code).toBe(1);
    const { account } = resultOf(stdout);
    expect(account.lost).toBeGreaterThan(100);
    expect(account.sessionsLost).toBe(2);
    expect(stderr).toMatch(/lost=0 does not hold/);
    expect(stderr).toMatch(/sessions_lost=0 does not hold/);
  });
});

describe('signals and terminals', () => {
  test('SIGINT ends a run, which is accounted for; the exit code says that it was cut short', async () => {
    const json = fresh('json');
    const child = start([
      'bench',
      'run',
      'point-to-point',
      '-t',
      'cut/%i',
      '--rate',
      '500',
      '--duration',
      '60',
      '--json',
      json,
      ...lethe.at,
    ]);
    await lethe.subscribed(1);
    child.kill('SIGINT');
    expect((await child.ended()).code).toBe(130);
    const result = resultOf(readFileSync(json, 'utf8'));
    expect(result).toMatchObject({ interrupted: true, account: { lost: 0, received: result.account.owed } });
  });

  test('on a terminal one line tells how it goes, written over itself', async () => {
    const command = commandLine([
      'bench',
      'run',
      'fan-in',
      '-c',
      '2',
      '--rate',
      '100',
      '--duration',
      '1.5',
      '--quiet',
      ...lethe.at,
    ]);
    // script gives it a terminal.
    const child = new Child('script', ['-qec', command.join(' '), '/dev/null']);
    expect((await child.ended()).code).toBe(0);
    const parts = child.stdout.split('\r\u001b[K');
    expect(parts.length).toBeGreaterThan(4);
    expect(parts.at(-1)).toBe('');
    expect(parts.every((part) => part.length < 80 && !part.includes('\n'))).toBe(true);
    expect(child.stdout).toMatch(/1 of 3 s {2}measured {2}3 connected {2}\d+\/s sent {2}\d+\/s received {2}p50/);
  });
});
