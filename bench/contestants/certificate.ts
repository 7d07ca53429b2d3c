// A certificate for brokers under test, made with the openssl command when it is wanted: self-signed, EC P-256, for 127.0.0.1, two days.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, messageOf } from '../../engine/cli/failure.ts';
import { scratchFolder } from './scratch.ts';

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  /** What a client trusts: the certificate itself. */
  readonly pem: string;
}

export function makeCertificate(): Certificate {
  const folder = scratchFolder();
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  try {
    execFileSync('openssl', ['req', '-x509', ...key, '-days', '2', ...name, '-keyout', keyFile, '-out', certFile], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  } catch (error) {
    throw new Failure(`the certificate for TLS cannot be made with openssl: ${messageOf(error)}`);
  }
  return { certFile, keyFile, pem: readFileSync(certFile, 'utf8') };
}
