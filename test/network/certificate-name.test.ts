// The user name in a client certificate: certificates made with openssl, and the line in which node gives the alternative names.
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { CertificateUser } from '../../engine/link.ts';
import { nameInCertificate, parseAlternatives } from '../../engine/network/certificate-name.ts';

const directory = mkdtempSync(join(tmpdir(), 'lethe-names-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let made = 0;

function certificate(subject: string, alternatives = '', rest: readonly string[] = []): X509Certificate {
  const file = join(directory, `${++made}.pem`);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', join(directory, 'key.pem')];
  const extension = alternatives === '' ? [] : ['-addext', `subjectAltName=${alternatives}`];
  const args = ['req', '-x509', '-utf8', ...key, '-days', '2', '-subj', subject, ...extension, ...rest, '-out', file];
  execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  return new X509Certificate(readFileSync(file));
}

const KINDS = ['common_name', 'subject', 'san_dns', 'san_email', 'san_uri'] as const satisfies readonly CertificateUser[];
const namesOf = (own: X509Certificate) => KINDS.map((kind) => nameInCertificate(own, kind));

describe('certificates', () => {
  test('one name of each kind', () => {
    const own = certificate('/C=DE/O=Acme/CN=sensor-7', 'DNS:sensor-7.example,email:s7@example.org,URI:urn:dev:7,IP:192.0.2.1');
    expect(namesOf(own)).toEqual(['sensor-7', 'CN=sensor-7,O=Acme,C=DE', 'sensor-7.example', 's7@example.org', 'urn:dev:7']);
    expect(nameInCertificate(own, 'none')).toBe('');
  });

  test('several of a kind are none', () => {
    const own = certificate(
      '/CN=one/CN=two',
      'DNS:a.example,DNS:b.example,email:a@x.example,email:b@x.example,URI:urn:a,URI:urn:b',
    );
    expect(namesOf(own)).toEqual(['', 'CN=two,CN=one', '', '', '']);
  });

  test('no name of a kind is none', () => {
    expect(namesOf(certificate('/O=Acme'))).toEqual(['', 'O=Acme', '', '', '']);
  });

  test('a name with the signs of the line in it is one name, not several', () => {
    const config = join(directory, 'openssl.cnf');
    writeFileSync(
      config,
      `[req]
distinguished_name = dn
x509_extensions = extensions
[dn]
[extensions]
subjectAltName = @alternatives
[alternatives]
URI.1 = urn:a, DNS:admin.example
`,
    );
    const own = certificate('/CN=x', '', ['-config', config]);
    expect(nameInCertificate(own, 'san_dns')).toBe('');
    expect(nameInCertificate(own, 'san_uri')).toBe('urn:a, DNS:admin.example');
  });

  test('letters beyond ASCII stay, in the subject as they are in the common name', () => {
    const own = certificate('/CN=Sensör');
    expect(nameInCertificate(own, 'common_name')).toBe('Sensör');
  });
});

describe('the line of alternative names', () => {
  test.each([
    ['', []],
    ['DNS:a.example', [['DNS', 'a.example']]],
    [
      'DNS:a, email:b@c, URI:urn:x:y',
      [
        ['DNS', 'a'],
        ['email', 'b@c'],
        ['URI', 'urn:x:y'],
      ],
    ],
    [
      'URI:"urn:a, DNS:admin", DNS:b',
      [
        ['URI', 'urn:a, DNS:admin'],
        ['DNS', 'b'],
      ],
    ],
    ['DNS:"a\\"b\\u0000, x"', [['DNS', 'a"b\0, x']]],
  ])('%j', (line, entries) => {
    expect(parseAlternatives(line)).toEqual(entries.map(([kind, value]) => ({ kind, value })));
  });

  test.each(['DNS', 'DNS:a, b', 'DNS:"a', 'DNS:"a"b', 'DNS:"\\x"', 'DNS:"a",DNS:b'])('%j is not one that node writes', (line) => {
    expect(parseAlternatives(line)).toBeNull();
  });
});
