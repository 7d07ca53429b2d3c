// Files that decide who may do what, or hold keys, and that others on this machine can read or change. They are warned of and not refused: containers mount secrets with such modes.
import { statSync } from 'node:fs';
import type { Config } from '../config/load.ts';

const OTHERS_MAY = 0o007;
const OTHERS_MAY_WRITE = 0o002;

/** One line for each file that is exposed. The password file says so itself (password-file.ts). */
export function exposedFiles(config: Config): string[] {
  const secrets: (readonly [path: string, what: string])[] = [
    [config.spool.keyFile, 'the master key'],
    [config.admin.pseudonymKeyFile, 'the key of pseudonyms'],
    [config.auth.jwtSecretFile, 'the secret of tokens'],
    [config.auth.httpHeaderFile, 'the header of auth.http_url'],
    ...config.listeners.map(({ keyFile }) => [keyFile, 'the private key of a listener'] as const),
    ...config.bridges.map(({ keyFile }) => [keyFile, 'the private key of a bridge'] as const),
    ...config.bridges.map(({ remotePasswordFile }) => [remotePasswordFile, 'the password of a bridge'] as const),
  ];
  const { aclFile, jwtKeyFile, jwksFile, httpCaFile } = config.auth;
  const decisive: (readonly [path: string, what: string])[] = [
    [aclFile, 'the ACL file'],
    [jwtKeyFile, 'the key of tokens'],
    [jwksFile, 'the keys of tokens'],
    [httpCaFile, 'the authorities of auth.http_url and auth.jwks_url'],
    ...config.bridges.map(({ caFile }) => [caFile, 'the authorities of a bridge'] as const),
  ];
  return [
    ...secrets.flatMap(([path, what]) =>
      isOpen(path, OTHERS_MAY) ? [`${path}: everybody on this machine can read or change ${what}; run chmod 600 on it`] : [],
    ),
    ...decisive.flatMap(([path, what]) =>
      isOpen(path, OTHERS_MAY_WRITE) ? [`${path}: everybody on this machine can change ${what}; run chmod o-w on it`] : [],
    ),
  ];
}

/** Whether the mode of a file has one of these bits. One that cannot be looked at is the business of whoever reads it, and says so better. */
function isOpen(path: string, bits: number): boolean {
  if (path === '') return false;
  try {
    return (statSync(path).mode & bits) !== 0;
  } catch {
    return false;
  }
}
