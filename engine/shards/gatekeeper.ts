// Who decides who may come in and what they may do: the files of the configuration, or what a program that embeds the broker gives. With several shards a
// program gives a module instead of objects, because each shard has a thread of its own and loads its own.
import { type Clock, systemClock } from '../clock.ts';
import type { Config } from '../config/load.ts';
import type { Authenticator, ExchangeMethods, LoginGuard, Rights } from '../gate.ts';
import type { Log } from '../log.ts';
import { type Random, systemRandom } from '../random.ts';
import { loadAclFile } from '../security/acl.ts';
import { createAuthenticator } from '../security/authenticator.ts';
import { exposedFiles } from '../security/exposed-files.ts';
import { findMethods } from '../security/find-methods.ts';
import { createLoginGuard } from '../security/login-guard.ts';
import type { KeptKeys } from '../security/remote-keys.ts';
import { createRights } from '../security/rights.ts';
import { createScram } from '../security/scram.ts';

/** What an embedding program may replace. */
export interface Gate {
  /** Replaces the methods and the anonymous policy of the configuration. */
  readonly authenticator?: Authenticator;
  /** Replaces the ACL file and the roles of the configuration. */
  readonly rights?: Rights;
  /** Methods of enhanced authentication (MQTT 5.0 §4.12); those of the broker itself are asked after them. */
  readonly exchanges?: ExchangeMethods;
}

/** What a shard asks. */
export interface Gatekeeper {
  readonly authenticator: Authenticator;
  /** Null: everything is allowed. */
  readonly rights: Rights | null;
  /** Where that is null: what holds clients to roles and grants that they came with under another configuration. */
  readonly givenRights: Rights | null;
  readonly exchanges: ExchangeMethods | null;
  /** Null: nobody is slowed. */
  readonly guard: LoginGuard | null;
  /** Another one is asked from now on; what is under way here comes to its end. */
  close(): void;
  /** Nobody waits for an answer any more. */
  destroy(): void;
}

export interface SecuritySeams {
  readonly clock: Clock;
  readonly random: Random;
  /** The same at each reload: what was fetched from elsewhere is gone on with. */
  readonly kept?: KeptKeys;
}

const SYSTEM: SecuritySeams = { clock: systemClock, random: systemRandom };

/**
 * Builds all of it from the configuration and the files that it names, which are read now, but for the parts that a program gives. A broker that runs can go on with what it has until this one is whole, and then take it.
 * @throws Error in one line with file and line
 */
export async function loadSecurity(
  config: Config,
  log: Log,
  seams: SecuritySeams = SYSTEM,
  gate: Gate = {},
): Promise<Gatekeeper> {
  const { auth, roles } = config;
  for (const warning of exposedFiles(config)) log.warn(warning);
  const { methods, scram: users, close, destroy } = await findMethods(config, log, seams.clock, seams.kept ?? { last: null });
  const listeners = new Map(config.listeners.map((listener) => [listener.name, listener]));
  const acl = auth.aclFile === '' ? null : loadAclFile(auth.aclFile);
  // Roles and grants may come with a client.
  const isGiven = gate.authenticator !== undefined || gate.exchanges !== undefined;
  const givesRights = isGiven || auth.methods.includes('jwt') || auth.methods.includes('http');
  const isJudged = acl !== null || roles.length > 0 || givesRights;
  const { defaultRoles, anonymousRoles } = auth;
  const rights =
    gate.rights !== undefined ? exceptBroker(gate.rights) : createRights({ acl, roles, defaultRoles, anonymousRoles });
  const blockMs = auth.failuresBlockS * 1_000;
  return {
    authenticator: gate.authenticator ?? createAuthenticator({ methods, listeners }),
    rights: isJudged || gate.rights !== undefined ? rights : null,
    givenRights: rights,
    exchanges: inTurn(gate.exchanges ?? null, users === null ? null : createScram({ users, random: seams.random, listeners })),
    guard:
      auth.failuresPerMinute === 0 ? null : createLoginGuard({ ...seams, failuresPerMinute: auth.failuresPerMinute, blockMs }),
    close,
    destroy,
  };
}

/** Rights that a program gives do not know of the broker's own clients. */
function exceptBroker(given: Rights): Rights {
  return {
    mayPublish: (principal, ...asked) => principal.isBroker === true || given.mayPublish(principal, ...asked),
    mayReceive: (principal, ...asked) => principal.isBroker === true || given.mayReceive(principal, ...asked),
    maySubscribe: (principal, ...asked) => principal.isBroker === true || given.maySubscribe(principal, ...asked),
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
