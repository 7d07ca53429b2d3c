// 12. Configuration that fails open, and what happens when descriptors run out. Deeper: ../security-files.test.ts, test/cli/config-commands.test.ts, test/storage/full-disk.test.ts.
// Red when: a file or option that cannot be used means "everything is allowed" or the default, or a broker without a free descriptor forgets who may come in, takes half a reload or does not recover.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { LETHE_MAIN } from '../../../bench/contestants/lethe.ts';
import { systemRandom } from '../../../engine/random.ts';
import { hashPassword } from '../../../engine/security/password-hash.ts';
import { environmentFor, startBroker } from '../../broker.ts';
import { type ConnectFields, connect } from '../../conformance/bytes.ts';
import { readConnack } from '../../conformance/decode.ts';
import { RawClient } from '../../conformance/raw-client.ts';
import { delivered, subscribed } from '../../conformance/rig.ts';
import { Child } from '../../end-to-end/child.ts';
import type { Ready } from '../../end-to-end/served.ts';
import { directory, temporaryFile } from '../../security/temporary.ts';
import { Peer } from '../peer.ts';

const hash = await hashPassword('pw', systemRandom, { format: 'mosquitto', iterations: 10 });

describe('does not start with', () => {
  test.each<[string, string[]]>([
    ['an empty ACL file', [`auth.acl_file=${temporaryFile('')}`]],
    ['an ACL file of comments', [`auth.acl_file=${temporaryFile('# topic readwrite #\n')}`]],
    ['an ACL file that is not there', [`auth.acl_file=${directory}/none`]],
    ['an empty password file', [`auth.password_file=${temporaryFile('')}`]],
    ['a password file with an empty name', [`auth.password_file=${temporaryFile(`:${hash}\n`)}`]],
    ['a password file with an empty hash', [`auth.password_file=${temporaryFile('ada:\n')}`]],
    ['a misspelt option', ['auth.aclfile=x']],
    ['a misspelt section', ['authentication.acl_file=x']],
    ['a switch that is neither', ['listener.tcp.anonymous=no thanks']],
    ['no password file and nobody who may come in anonymously', ['listener.tcp.anonymous=false', 'listener.ws.anonymous=maybe']],
    ['a listener without TLS on every address', ['listener.tcp.host=0.0.0.0', 'listener.tcp.anonymous=true']],
    [
      'a PROXY header from nobody in particular',
      ['listener.tcp.proxy_protocol=true', 'listener.tcp.proxy_trusted=["everybody"]'],
    ],
    ['certificate names on a listener without TLS', ['listener.tcp.certificate_user=common_name']],
  ])('%s', async (_what, set) => {
    const outcome = await startBroker(set).then(
      async (broker) => {
        await broker.stop();
        return 'it started';
      },
      (error: unknown) => (error as Error).message,
    );
    expect(outcome).not.toBe('it started');
    expect(outcome, 'one line that says which').not.toContain('\n');
  });
});

async function login(port: number, fields: ConnectFields): Promise<{ client: RawClient; reason: number }> {
  const client = await RawClient.connect(port, 5);
  client.send(connect(5, fields));
  const { reason } = readConnack(await client.nextPacket(20_000), 5);
  return { client, reason };
}

test('a password file closes every listener to those without a name, unless it says otherwise', async () => {
  const broker = await startBroker([`auth.password_file=${temporaryFile(`ada:${hash}\n`)}`]);
  for (const fields of [{}, { userName: 'ada' }, { userName: '', password: '' }, { password: 'pw' }]) {
    const { client, reason } = await login(broker.tcp, fields);
    expect([0x86, 0x87]).toContain(reason);
    await client.expectClosed();
  }
  await broker.stop();
});

describe.skipIf(process.platform !== 'linux')('at the limit of descriptors', () => {
  test('those who are there are served, rights hold, and it takes new ones when there is room again', async () => {
    const passwords = temporaryFile(`ada:${hash}\n`);
    const acl = temporaryFile('user ada\ntopic readwrite ada/#\ntopic read $SYS/#\n');
    const config = temporaryFile(
      `[auth]\npassword_file = '${passwords}'\nacl_file = '${acl}'\n[server]\nsys_interval_s = 1\n[limits]\nconnect_timeout_ms = 60000\n`,
    );
    const serve = `ulimit -n 120 && exec '${process.execPath}' '${LETHE_MAIN}' serve --ready-json --port 0 --ws-port 0 --config '${config}'`;
    const child = new Child('bash', ['-c', serve], { env: environmentFor('serve') });
    await child.until('the broker is ready', () => child.stdout.includes('\n'));
    const ready = JSON.parse(child.stdout) as Ready;
    const ada = { clientId: 'ada', userName: 'ada', password: 'pw' };
    const { client, reason } = await login(ready.tcp!, ada);
    expect(reason).toBe(0);
    // Over both ports more than it can have: some wait in the kernel, some are closed.
    const crowd = await Promise.all(Array.from({ length: 200 }, (_, at) => Peer.open(at % 2 === 0 ? ready.tcp! : ready.ws!)));
    // The first round of $SYS is among it, and whatever else a broker does every second.
    for (let times = 0; times < 20; times++) await client.expectSilence();
    expect(
      await subscribed(client, {
        filters: [
          ['#', 0],
          ['ada/x', 0],
          ['eve/x', 0],
        ],
      }),
    ).toEqual([0, 0, 0x87]);
    await subscribed(client, { packetId: 2, filters: [['$SYS/broker/uptime', 0]] });
    for (let rounds = 0; rounds < 2; rounds++) await delivered(client, 20_000);
    // A reload that cannot open its files is none: what held before holds. Connections leave some descriptors free for it, so they are taken away.
    const allow = (descriptors: number) => execFileSync('prlimit', [`--pid=${child.pid}`, `--nofile=${descriptors}:120`]);
    allow(16);
    writeFileSync(acl, 'user ada\ntopic readwrite #\n');
    child.kill('SIGHUP');
    await child.until('the reload is refused', () => child.stderr.includes('reload refused, everything is as it was'));
    expect(child.stderr).toContain('EMFILE');
    expect(await subscribed(client, { packetId: 3, filters: [['eve/x', 0]] })).toEqual([0x87]);
    allow(120);
    for (const peer of crowd) peer.drop();
    // Whoever comes now may still find it full for a moment.
    const attempt = async (fields: ConnectFields) => {
      for (;;) {
        const outcome = await login(ready.tcp!, fields).catch(() => null);
        if (outcome !== null) return outcome;
      }
    };
    expect((await attempt({ ...ada, clientId: 'again' })).reason).toBe(0);
    expect((await attempt({ clientId: 'eve', userName: 'ada', password: 'guess' })).reason).toBe(0x86);
    expect((await attempt({ clientId: 'anybody' })).reason).toBe(0x87);
    child.kill('SIGHUP');
    await child.until('the reload is done', () => child.stderr.includes('info reloaded'));
    expect(await subscribed(client, { packetId: 4, filters: [['eve/x', 0]] })).toEqual([0]);
    child.kill('SIGTERM');
    expect(await child.ended()).toEqual({ code: 0, signal: null });
  });
});
