// What a client may do: the ACL file, the roles of the configuration, and what a token or a callout has given, put together for one principal. Deny wins, otherwise any of them that allows.
// Where any ACL rule or role is configured, what none of them allows is refused, whoever asks. Where none is, everything is allowed, but for a principal that came with roles or grants of
// its own: it is held to these.
//
// The rules of a principal are worked out once and remembered as long as it lives, which is as long as its session; principals of one user share them where no rule names the client. Nothing here is
// asked per message.
import type { Rights } from '../gate.ts';
import type { Principal } from '../principal.ts';
import type { AclRules } from './acl.ts';
import { Access, allows, fillInto, letsThrough, type Pattern, patternOf, type Rule } from './rules.ts';

/** A role as the configuration has it. */
export interface RoleConfig {
  readonly name: string;
  /** Topic filters, with %c and %u in them as in an ACL pattern. */
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  readonly deny: readonly string[];
  readonly users: readonly string[];
}

export interface RightsOptions {
  readonly acl: AclRules | null;
  readonly roles: readonly RoleConfig[];
  /** Names of roles of everybody with a verified user name, and of everybody without. */
  readonly defaultRoles: readonly string[];
  readonly anonymousRoles: readonly string[];
}

/** Users whose rules are shared; of others each principal has its own. */
const SHARED_MAX = 16_384;

/** The rules of one principal; null: everything is allowed. */
interface Remembered {
  readonly clientId: string;
  readonly rules: readonly Rule[] | null;
}

export function createRights(options: RightsOptions): Rights {
  const { acl, defaultRoles, anonymousRoles } = options;
  const roles = new Map(options.roles.map((role) => [role.name, patternsOf(role)]));
  const rolesOfUser = new Map<string, string[]>();
  for (const { name, users } of options.roles)
    for (const user of users) rolesOfUser.set(user, [...(rolesOfUser.get(user) ?? []), name]);
  const isRestricted = acl !== null || roles.size > 0;
  const namesClients = [acl?.patterns ?? [], ...roles.values()].flat().some(({ namesClient }) => namesClient);
  const remembered = new WeakMap<Principal, Remembered>();
  const shared = new Map<string | null, readonly Rule[] | null>();

  function rulesOf(principal: Principal, clientId: string): readonly Rule[] | null {
    if (principal.isBroker === true) return null;
    const known = remembered.get(principal);
    if (known !== undefined && known.clientId === clientId) return known.rules;
    const rules = sharedOrOwn(principal, clientId);
    remembered.set(principal, { clientId, rules });
    return rules;
  }

  function sharedOrOwn(principal: Principal, clientId: string): readonly Rule[] | null {
    const { username } = principal;
    if (namesClients || principal.roles.length > 0 || principal.grants !== null) return workOut(principal, clientId);
    const known = shared.get(username);
    if (known !== undefined) return known;
    const rules = workOut(principal, clientId);
    if (shared.size < SHARED_MAX) shared.set(username, rules);
    return rules;
  }

  function workOut(principal: Principal, clientId: string): readonly Rule[] | null {
    const { username, grants } = principal;
    if (!isRestricted && principal.roles.length === 0 && grants === null) return null;
    const own = acl === null ? [] : username === null ? acl.anonymous : (acl.byUser.get(username) ?? []);
    const rules = [...own];
    if (acl !== null && !fillInto(rules, acl.patterns, username, clientId)) return NOTHING;
    for (const role of rolesFor(principal)) {
      // A role that a token names and the configuration does not know gives nothing.
      if (!fillInto(rules, roles.get(role) ?? [], username, clientId)) return NOTHING;
    }
    if (grants !== null) {
      const patterns = [...toPatterns(Access.WRITE, grants.publish), ...toPatterns(Access.READ, grants.subscribe)];
      fillInto(rules, patterns, username, clientId);
    }
    return rules;
  }

  function rolesFor({ username, roles: given }: Principal): ReadonlySet<string> {
    if (username === null) return new Set([...given, ...anonymousRoles]);
    return new Set([...given, ...(rolesOfUser.get(username) ?? []), ...defaultRoles]);
  }

  return {
    mayPublish(principal, clientId, topic, from, to) {
      const rules = rulesOf(principal, clientId);
      return rules === null || allows(rules, Access.WRITE, topic, from, to);
    },
    mayReceive(principal, clientId, topic, from, to) {
      const rules = rulesOf(principal, clientId);
      return rules === null || allows(rules, Access.READ, topic, from, to);
    },
    maySubscribe(principal, clientId, filter, from, to) {
      const rules = rulesOf(principal, clientId);
      return rules === null || letsThrough(rules, filter, from, to);
    },
  };
}

const NOTHING: readonly Rule[] = [];

function patternsOf({ publish, subscribe, deny }: RoleConfig): readonly Pattern[] {
  return [...toPatterns(Access.DENY, deny), ...toPatterns(Access.WRITE, publish), ...toPatterns(Access.READ, subscribe)];
}

function toPatterns(access: Access, filters: readonly string[]): readonly Pattern[] {
  return filters.map((filter) => patternOf(access, filter));
}
