// A configuration with one listener of each transport on a free port, with certificates made for the test file.
import { afterAll } from 'vitest';
import { temporaryCertificates } from '../network/temporary.ts';

const { files, remove } = temporaryCertificates();
afterAll(remove);

export const certificates = files;

/** All four listeners, and the sections in `rest` before them. */
export function everyTransport(rest = ''): string {
  const tls = `cert_file = '${files.serverCert}'\nkey_file = '${files.serverKey}'`;
  return `${rest}
[[listener]]
name = 'tcp'
transport = 'tcp'
[[listener]]
name = 'tls'
transport = 'tls'
${tls}
[[listener]]
name = 'ws'
transport = 'ws'
[[listener]]
name = 'wss'
transport = 'wss'
${tls}
`;
}
