// Who decides who may come in and what they may do: the files of the configuration, or what a program that embeds the broker gives. With several shards a
// program gives a module instead of objects, because each shard has a thread of its own and loads its own.
import type { Config } from '../config/load.ts';
import type { Authenticator, ExchangeMethods, Rights } from '../gate.ts';
import type { Log } from '../log.ts';
import { systemRandom } from '../random.ts';
import { loadAclFile } from '../security/acl.ts';
import { createAuthenticator } from '../security/authenticator.ts';
import { exposedFiles } from '../security/exposed-files.ts';
import { loadPasswordFile } from '../security/password-file.ts';
import { createScram } from '../security/scram.ts';

/** What an embedding program may replace. */
export interface Gate {
  /** Replaces the password file and the anonymous policy of the configuration. */
  readonly authenticator?: Authenticator;
  /** Replaces the ACL file of the configuration. */
  readonly rights?: Rights;
  /** Methods of enhanced authentication (MQTT 5.0 §4.12); those of the broker itself are asked after them. */
  readonly exchanges?: ExchangeMethods;
}

/** What a shard asks. */
export interface Gatekeeper {
  readonly authenticator: Authenticator;
  readonly rights: Rights | null;
  readonly exchanges: ExchangeMethods | null;
}

/** Reads the files that decide who may do what. @throws Error in one line with file and line */
export function loadSecurity(config: Config, log: Log): Gatekeeper {
  const passwordFile = config.auth.passwordFile === '' ? null : loadPasswordFile(config.auth.passwordFile);
  for (const warning of [...(passwordFile?.warnings ?? []), ...exposedFiles(config)]) log.warn(warning);
  const listeners = new Map(config.listeners.map((listener) => [listener.name, listener]));
  const users = passwordFile?.scram ?? null;
  return {
    authenticator: createAuthenticator({ passwordFile, listeners }),
    rights: config.auth.aclFile === '' ? null : loadAclFile(config.auth.aclFile),
    exchanges: users === null ? null : createScram({ users, random: systemRandom, listeners }),
  };
}

/** Puts the two together. @throws Error in one line with file and line */
export function gatekeeperOf(config: Config, log: Log, gate: Gate): Gatekeeper {
  const { authenticator, rights, exchanges } = loadSecurity(config, log);
  return {
    authenticator: gate.authenticator ?? authenticator,
    rights: gate.rights ?? rights,
    exchanges: inTurn(gate.exchanges ?? null, exchanges),
  };
}

/** The methods of both; the first is asked first. */
function inTurn(first: ExchangeMethods | null, second: ExchangeMethods | null): ExchangeMethods | null {
  if (first === null || second === null) return first ?? second;
  return { begin: (method, credentials) => first.begin(method, credentials) ?? second.begin(method, credentials) };
}

/** Loads a module that exports a Gate's parts by their names. @throws Error in one line when it cannot be loaded */
export async function loadGate(module: string): Promise<Gate> {
  try {
    return (await import(module)) as Gate;
  } catch (error) {
    throw new Error(`gate module ${module}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
