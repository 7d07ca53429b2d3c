// Roles and topic filters that come with a client, in the claims of a token or the answer of a callout: `roles: ["reader"]`, `acl: { publish: ["a/%c"], subscribe: ["a/#"] }`.
// Whatever is not understood, or is more than a session should have to keep, is refused as a whole: a filter that is passed over in silence might have been the one that mattered.
import type { TopicGrants } from '../principal.ts';
import { isTopicFilter } from './rules.ts';

export interface GivenRights {
  readonly roles: readonly string[];
  /** Null: none were given. */
  readonly grants: TopicGrants | null;
}

const ROLES_MAX = 64;
const FILTERS_MAX = 256;
/** Of all roles and filters together: they are kept with the session. */
const CHARACTERS_MAX = 16_384;

/** Null when something in them is not as it should be. Absent and null are the same. */
export function readGivenRights(source: { readonly roles?: unknown; readonly acl?: unknown }): GivenRights | null {
  const roles = readTexts(source.roles, ROLES_MAX);
  const grants = source.acl === undefined || source.acl === null ? null : readGrants(source.acl);
  if (roles === null || grants === 'broken') return null;
  const all = [...roles, ...(grants === null ? [] : [...grants.publish, ...grants.subscribe])];
  return all.reduce((sum, { length }) => sum + length, 0) > CHARACTERS_MAX ? null : { roles, grants };
}

function readGrants(value: unknown): TopicGrants | 'broken' {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'broken';
  const { publish, subscribe, ...rest } = value as Readonly<Record<string, unknown>>;
  const grants = { publish: readTexts(publish, FILTERS_MAX), subscribe: readTexts(subscribe, FILTERS_MAX) };
  if (grants.publish === null || grants.subscribe === null || Object.keys(rest).length > 0) return 'broken';
  if (![...grants.publish, ...grants.subscribe].every(isTopicFilter)) return 'broken';
  return grants as TopicGrants;
}

function readTexts(value: unknown, countMax: number): readonly string[] | null {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > countMax) return null;
  return value.every((text) => typeof text === 'string' && text !== '') ? value : null;
}
