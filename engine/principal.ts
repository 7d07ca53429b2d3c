// Who a client is, as authentication has found it: what rights are asked with. Plain data, because it outlives the connection: the session keeps it, its record stores it, and it moves
// between shards, so that queued messages and wills of an absent client are judged by it. What the configuration says of a user (roles by name, default roles) is not in it: that may change.

/** Topic filters that a token or a callout has given, with %c and %u in them as in an ACL pattern. */
export interface TopicGrants {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

export interface Principal {
  /** Name that something has vouched for; null for an anonymous client. */
  readonly username: string | null;
  /** Names of roles given besides those of the configuration. */
  readonly roles: readonly string[];
  /** Null: none were given. With them a client may do what they say even where no other rule exists, and nothing else there. */
  readonly grants: TopicGrants | null;
  /** The broker itself, as the local side of a bridge: it may do everything. No identity that comes from outside leads to it. */
  readonly isBroker?: true;
}

/** What authentication found: a user name is enough. */
export interface Identity {
  readonly username: string | null;
  readonly roles?: readonly string[];
  readonly grants?: TopicGrants | null;
  /** Wall clock in ms after which the connection is ended (0x87); absent: never. */
  readonly expiresAtMs?: number;
}

const NO_ROLES: readonly string[] = [];

/** Client identifiers that begin so are for the broker's own clients alone. */
export const OWN_CLIENT_PREFIX = '$bridge/';

export const NOBODY: Principal = { username: null, roles: NO_ROLES, grants: null };
export const BROKER: Principal = { username: null, roles: NO_ROLES, grants: null, isBroker: true };

/** A principal of its own for one session: what rights work out for it may be remembered by it. */
export function principalOf({ username, roles = NO_ROLES, grants = null }: Identity): Principal {
  return { username, roles, grants };
}

export function samePrincipal(a: Principal, b: Principal): boolean {
  if (a.username !== b.username || a.isBroker !== b.isBroker || !sameTexts(a.roles, b.roles)) return false;
  if (a.grants === null || b.grants === null) return a.grants === b.grants;
  return sameTexts(a.grants.publish, b.grants.publish) && sameTexts(a.grants.subscribe, b.grants.subscribe);
}

/** What a principal counts for besides its name: roles and grants, in characters. */
export function principalBytes({ roles, grants }: Principal): number {
  return textsLength(roles) + (grants === null ? 0 : textsLength(grants.publish) + textsLength(grants.subscribe));
}

function textsLength(texts: readonly string[]): number {
  let length = 0;
  for (const text of texts) length += text.length;
  return length;
}

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, at) => text === b[at]);
}

/** Whether a value that was read from outside is one. */
export function isPrincipal(value: unknown): value is Principal {
  if (typeof value !== 'object' || value === null) return false;
  const { username, roles, grants } = value as Partial<Record<keyof Principal, unknown>>;
  return (username === null || typeof username === 'string') && areTexts(roles) && (grants === null || areGrants(grants));
}

function areGrants(value: unknown): value is TopicGrants {
  if (typeof value !== 'object' || value === null) return false;
  const { publish, subscribe } = value as Partial<Record<keyof TopicGrants, unknown>>;
  return areTexts(publish) && areTexts(subscribe);
}

function areTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === 'string');
}
