// The TLS options of a listener: reads the files that they name and says in words what is wrong with them, before a socket is
// opened. Holds the private key only on its way to the TLS library.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { CertificateUser } from '../link.ts';
import { certificatesOf } from './trust.ts';

/** Whether a client is asked for a certificate. `request`: one that does not verify counts as none. */
export type ClientCertificate = 'none' | 'request' | 'require';

export interface TlsOptions {
  /** PEM: the server's certificate, then the intermediate ones. */
  readonly certFile: string;
  readonly keyFile: string;
  /** PEM: authorities that client certificates are verified against. */
  readonly caFile?: string;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  readonly clientCertificate: ClientCertificate;
  /** What of it is the user name. */
  readonly certificateUser?: CertificateUser;
  /** Of the key file. */
  readonly passphrase?: string;
}

/** Contents of the files, which fit each other. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer | null;
}

/** @throws Error that names listener and option, as the configuration writes it, and says what to do */
export async function readTlsMaterial(listener: string, options: TlsOptions): Promise<TlsMaterial> {
  const refuse = (option: string, problem: string) => new Error(`listener "${listener}": ${option}: ${problem}`);
  const read = (option: string, file: string) =>
    readFile(file).catch((error: NodeJS.ErrnoException) => {
      throw refuse(
        option,
        `cannot read ${file} (${error.code ?? 'unknown'}); give a file that exists and that the broker may read`,
      );
    });

  const { certFile, keyFile, caFile, passphrase } = options;
  if (options.clientCertificate !== 'none' && caFile === undefined) {
    throw refuse(
      'ca_file',
      `is missing; client_certificate "${options.clientCertificate}" needs the authorities to verify against`,
    );
  }
  const cert = await read('cert_file', certFile);
  const key = await read('key_file', keyFile);
  const ca = caFile === undefined ? null : await read('ca_file', caFile);

  const certificate = parseCertificate(cert);
  if (certificate === null) throw refuse('cert_file', `${certFile} holds no PEM certificate`);
  const privateKey = parseKey(key, passphrase);
  if (typeof privateKey === 'string') throw refuse('key_file', keyProblem(privateKey, keyFile));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw refuse('key_file', `${keyFile} is not the key of the certificate in ${certFile}; give the pair that belongs together`);
  }
  if (ca !== null && parseCertificate(ca) === null) throw refuse('ca_file', `${caFile} holds no PEM certificate`);
  if (ca !== null && !areWhole(ca)) throw refuse('ca_file', `${caFile} holds a certificate that cannot be read; take it out`);
  try {
    createSecureContext({ cert, key, ...(ca === null ? {} : { ca }), ...(passphrase === undefined ? {} : { passphrase }) });
  } catch (error) {
    throw refuse(
      'cert_file',
      `the TLS library refuses ${certFile} (${(error as NodeJS.ErrnoException).code ?? 'unknown'}); make a new certificate`,
    );
  }
  return { cert, key, ca };
}

/** Whether every certificate of a file can be read: the TLS library passes over what is behind a broken one. */
function areWhole(pem: Buffer): boolean {
  try {
    return certificatesOf(pem).length > 0;
  } catch {
    return false;
  }
}

/**
 * Reads the files for a listener that has good ones; null when they are what they were. A certificate that nobody would accept is refused, so that the one in use stays.
 * @throws Error
 */
export async function readNewTlsMaterial(
  listener: string,
  options: TlsOptions,
  before: TlsMaterial,
  wallMs: number,
): Promise<TlsMaterial | null> {
  const material = await readTlsMaterial(listener, options);
  const isSameCertificate = before.cert.equals(material.cert);
  if (isSameCertificate && before.key.equals(material.key) && isSameFile(before.ca, material.ca)) return null;
  const { validTo } = new X509Certificate(material.cert);
  if (isSameCertificate || wallMs <= Date.parse(validTo)) return material;
  const problem = `the certificate in ${options.certFile} has expired (${validTo}); get a new one`;
  throw new Error(`listener "${listener}": cert_file: ${problem}`);
}

export function isSameFile(a: Buffer | null, b: Buffer | null): boolean {
  return a === b || (a !== null && b !== null && a.equals(b));
}

function parseCertificate(pem: Buffer): X509Certificate | null {
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
}

function parseKey(pem: Buffer, passphrase: string | undefined): KeyObject | 'passphrase' | 'format' {
  try {
    return createPrivateKey({ key: pem, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    return pem.includes('ENCRYPTED') ? 'passphrase' : 'format';
  }
}

function keyProblem(kind: 'passphrase' | 'format', keyFile: string): string {
  return kind === 'passphrase'
    ? `${keyFile} is encrypted; give one without a passphrase, made by: openssl pkey -in ${keyFile} -out <new file>`
    : `${keyFile} holds no PEM private key`;
}
