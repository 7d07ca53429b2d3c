// TLS to the remote broker: what is accepted, what is not, what is read anew, and that a password and a certificate get through.
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, expect, test, vi } from 'vitest';
import { type Certificates, makeCertificates } from '../certificates.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { directory, mosquittoPasswd, temporaryFile } from '../security/temporary.ts';
import { closeDoubles, obliging, remoteDouble } from './remote-double.ts';
import { bridgedBroker, bridgeSays } from './rig.ts';

let files: Certificates;
beforeAll(() => {
  files = makeCertificates(directory);
});
afterEach(closeDoubles);
afterEach(() => {
  vi.unstubAllEnvs();
});

const lines: string[] = [];

async function remoteBroker() {
  return bridgedBroker({
    set: [
      'listener.ws.transport=tls',
      ...['cert_file', 'key_file', 'ca_file'].map(
        (key, at) => `listener.ws.${key}=${[files.serverCert, files.serverKey, files.ca][at]}`,
      ),
      'listener.ws.client_certificate=require',
    ],
  });
}

async function edgeOf(port: number, ...bridge: readonly string[]) {
  lines.length = 0;
  const all = [`addresses = ["localhost:${port}"]`, 'topics = ["up/# out 1"]', ...bridge];
  return bridgedBroker({ bridge: all, set: ['bridge.cloud.transport=tls'], onLine: (line) => lines.push(line) });
}

const said = (text: string) => () => lines.some((line) => line.includes(text));

test('by a certificate of a private authority and one of its own; files that are put right are read without a restart', async () => {
  const remote = await remoteBroker();
  const [ca, cert] = [join(directory, 'bridge-ca.pem'), join(directory, 'bridge-cert.pem')];
  copyFileSync(files.strangerCert, ca);
  const edge = await edgeOf(remote.tls, `ca_file = "${ca}"`, `cert_file = "${cert}"`, `key_file = "${files.clientKey}"`);
  const near = await mqttJs({ port: edge.tcp, level: 5 });
  await near.publish('up/a', 'kept until it can go', { qos: 1 });
  await expect.poll(said('a file that it names cannot be used'), { timeout: 10_000 }).toBe(true);
  copyFileSync(files.clientCert, cert);
  await expect.poll(said('TLS with the remote broker of a bridge fails'), { timeout: 10_000 }).toBe(true);
  expect(edge.counts().queuedMessages).toBe(1);
  copyFileSync(files.ca, ca);
  await bridgeSays(edge, '1');
  await expect.poll(() => edge.counts().queuedMessages, { timeout: 10_000 }).toBe(0);
  expect(lines.filter((line) => line.includes('TLS with')).length).toBe(1);
});

test('nothing is sent to a broker that speaks no TLS', async () => {
  const remote = await remoteDouble(obliging());
  await edgeOf(remote.port, `ca_file = "${files.ca}"`);
  await expect.poll(said('cannot be reached'), { timeout: 10_000 }).toBe(true);
  expect(remote.packets).toEqual([]);
});

test.each(['1', '0'])(
  "nothing is sent to a broker whose certificate is no server's, with NODE_TLS_REJECT_UNAUTHORIZED=%s",
  async (rejects) => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', rejects);
    const remote = await bridgedBroker({
      set: ['listener.ws.transport=tls', `listener.ws.cert_file=${files.clientCert}`, `listener.ws.key_file=${files.clientKey}`],
    });
    await edgeOf(remote.tls, `ca_file = "${files.ca}"`);
    await expect.poll(said('TLS with the remote broker of a bridge fails'), { timeout: 10_000 }).toBe(true);
    expect(remote.counts().sessions).toBe(0);
  },
);

test('a key that is broken ends no more than the attempt', async () => {
  const remote = await remoteDouble(obliging());
  const broken = temporaryFile('-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n');
  const edge = await edgeOf(remote.port, `ca_file = "${files.ca}"`, `cert_file = "${broken}"`, `key_file = "${files.clientKey}"`);
  await expect.poll(said('TLS with the remote broker of a bridge fails'), { timeout: 10_000 }).toBe(true);
  await edge.stop();
});

test('a password in a file lets the bridge in, and stands in no log', async () => {
  const passwords = temporaryFile('');
  mosquittoPasswd('-b', passwords, 'site-7', 'pass word');
  const remote = await bridgedBroker({ set: [`auth.password_file=${passwords}`] });
  const password = temporaryFile('wrong\n');
  const edge = await bridgedBroker({
    bridge: [
      `addresses = ["127.0.0.1:${remote.tcp}"]`,
      'topics = ["up/# out 1"]',
      'remote_username = "site-7"',
      `remote_password_file = "${password}"`,
    ],
    onLine: (line) => lines.push(line),
  });
  await expect.poll(said('the remote broker refuses a bridge'), { timeout: 10_000 }).toBe(true);
  writeFileSync(password, 'pass word\r\n');
  await bridgeSays(edge, '1');
  expect(lines.filter((line) => /site-7|pass word|wrong/.test(line))).toEqual([]);
});
