// Certificates for tests, made with the openssl command: one authority, a server and a client that it signed, and a client
// that signed itself. EC P-256, valid for two days, so that nothing secret or expiring stands in the repository.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Paths of PEM files. */
export interface Certificates {
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  /** Common name `client-1`. */
  readonly clientCert: string;
  readonly clientKey: string;
  /** Signed by nobody that the server trusts. */
  readonly strangerCert: string;
  readonly strangerKey: string;
  /** The server's key again, encrypted with the passphrase `secret`. */
  readonly lockedServerKey: string;
}

export function makeCertificates(dir: string): Certificates {
  const file = (name: string) => join(dir, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];

  function selfSigned(name: string, commonName: string): void {
    openssl('req', '-x509', ...newKey, '-subj', `/CN=${commonName}`, '-keyout', file(`${name}.key`), '-out', file(`${name}.pem`));
  }
  function signed(name: string, commonName: string, extensions: string): void {
    writeFileSync(file(`${name}.ext`), extensions);
    openssl('req', ...newKey, '-subj', `/CN=${commonName}`, '-keyout', file(`${name}.key`), '-out', file(`${name}.csr`));
    const authority = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '2'];
    openssl(
      'x509',
      '-req',
      '-in',
      file(`${name}.csr`),
      ...authority,
      '-extfile',
      file(`${name}.ext`),
      '-out',
      file(`${name}.pem`),
    );
  }

  selfSigned('ca', 'Lethe test authority');
  signed('server', 'localhost', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1');
  signed('client', 'client-1', 'extendedKeyUsage=clientAuth');
  selfSigned('stranger', 'client-1');
  openssl('pkcs8', '-topk8', '-in', file('server.key'), '-passout', 'pass:secret', '-out', file('locked.key'));
  return {
    ca: file('ca.pem'),
    serverCert: file('server.pem'),
    serverKey: file('server.key'),
    clientCert: file('client.pem'),
    clientKey: file('client.key'),
    strangerCert: file('stranger.pem'),
    strangerKey: file('stranger.key'),
    lockedServerKey: file('locked.key'),
  };
}
