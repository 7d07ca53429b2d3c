// Whether authorities vouch for a client: chains with more than one way up, and chains of which the client has sent nothing.
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Trust } from '../../engine/network/trust.ts';

const folder = mkdtempSync(join(tmpdir(), 'lethe-trust-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string) => join(folder, name);
const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function root(name: string): void {
  openssl('req', '-x509', ...KEY, '-days', '2', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`);
}

function request(name: string, commonName: string): void {
  openssl('req', ...KEY, '-subj', `/CN=${commonName}`, '-keyout', `${name}.key`, '-out', `${name}.csr`);
}

function sign(csr: string, issuer: string, issuerKey: string, out: string, extensions: string): void {
  writeFileSync(file('extensions'), extensions);
  const by = ['-CA', issuer, '-CAkey', issuerKey, '-CAcreateserial', '-days', '2', '-extfile', 'extensions'];
  openssl('x509', '-req', '-in', csr, ...by, '-out', out);
}

root('root');
root('gone');
request('middle', 'middle');
// One authority with one key, signed by two others.
sign('middle.csr', 'gone.pem', 'gone.key', 'middle-gone.pem', 'basicConstraints=CA:TRUE');
sign('middle.csr', 'root.pem', 'root.key', 'middle-root.pem', 'basicConstraints=CA:TRUE');
request('client', 'client');
sign('client.csr', 'middle-root.pem', 'middle.key', 'client.pem', 'extendedKeyUsage=clientAuth');

const pem = (...names: string[]) => Buffer.concat(names.map((name) => readFileSync(file(`${name}.pem`))));
const now = Date.now();

/** A certificate as a handshake gives it, with what the client has sent above it. */
function leaf(...above: string[]): X509Certificate {
  const chain = ['client', ...above].map((name) => new X509Certificate(pem(name)));
  chain.forEach((certificate, at) => {
    Object.defineProperty(certificate, 'issuerCertificate', { value: chain[at + 1] });
  });
  return chain[0]!;
}

test('every way up is looked along, not the first one alone', () => {
  expect(new Trust(pem('middle-gone', 'middle-root', 'root')).vouchesFor(leaf(), now)).toBe(true);
  expect(new Trust(pem('middle-gone', 'root')).vouchesFor(leaf('middle-root'), now)).toBe(true);
  expect(new Trust(pem('root')).vouchesFor(leaf('middle-gone', 'gone'), now)).toBe(false);
  expect(new Trust(pem('middle-root')).vouchesFor(leaf(), now)).toBe(false);
  expect(new Trust(pem('root')).vouchesFor(leaf('middle-root'), now + 3 * 86_400_000)).toBe(false);
});

test('a client that has sent nothing above its certificate is judged by what others have sent', () => {
  const trust = new Trust(pem('root'));
  expect(trust.vouchesFor(leaf(), now)).toBe(false);
  expect(trust.vouchesFor(leaf('middle-root', 'root'), now)).toBe(true);
  expect(trust.vouchesFor(leaf(), now)).toBe(true);
});

test('chains that go round end', () => {
  const [one, two] = ['client', 'middle-root'].map((name) => new X509Certificate(pem(name)));
  Object.defineProperty(one, 'issuerCertificate', { value: two });
  Object.defineProperty(two, 'issuerCertificate', { value: one });
  expect(new Trust(pem('gone')).vouchesFor(one, now)).toBe(false);
});
