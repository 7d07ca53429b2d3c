// Who could come in by a listener, given everything that stands in a configuration together: judged at the start, and again at a reload, when options that wait for a restart meet options that do not.
import { asksForCredentials, isLoopback } from './auth.ts';
import type { Config, ListenerConfig } from './load.ts';

/** Whether whoever comes by a listener has to show who it is. */
export function isIdentified({ auth }: Config, { certificateUser, clientCertificate }: ListenerConfig): boolean {
  return asksForCredentials(auth) || certificateUser !== 'none' || clientCertificate === 'require';
}

/** @param say takes the path of an option and what is wrong with it */
export function judgeDoors(config: Config, say: (path: readonly string[], message: string) => void): void {
  const { auth, listeners } = config;
  listeners.forEach((own, index) => {
    const sayOf = (key: string, message: string) => say(['listener', String(index), key], `listener '${own.name}': ${message}`);
    const encrypted = own.transport === 'tls' || own.transport === 'wss';
    const open = !isLoopback(own.host);
    if (open && !encrypted && !own.insecure)
      sayOf('host', 'listens beyond loopback without TLS; use transport tls or wss, or say insecure = true');
    if (open && !own.anonymous && !isIdentified(config, own))
      sayOf(
        'host',
        'listens beyond loopback without authentication; set auth.password_file or client_certificate = "require", or say anonymous = true',
      );
    if (encrypted && (own.certFile === '' || own.keyFile === ''))
      sayOf('transport', `${own.transport} needs cert_file and key_file`);
    if (own.clientCertificate !== 'none' && own.caFile === '') sayOf('client_certificate', 'client_certificate needs ca_file');
  });
  if (listeners.some((own) => own.certificateUser !== 'none') && !auth.methods.includes('certificate'))
    say(['auth', 'methods'], 'auth.methods must name certificate, because a listener has certificate_user');
}
