// A shard for tests: every seam in the test's hands, no rights, everybody may come in, and small tables.
import type { Clock } from '../../engine/clock.ts';
import { Counters } from '../../engine/counters.ts';
import { type Log, silentLog } from '../../engine/log.ts';
import type { Random } from '../../engine/random.ts';
import { Shard } from '../../engine/routing/shard.ts';
import { storeListener } from '../../engine/routing/stored.ts';
import { SESSION_NEVER_EXPIRES } from '../../engine/sessions/session.ts';
import { defaultLimits, type Limits } from '../../protocol/limits.ts';
import type { Store } from '../../storage/store.ts';

/** Enough for everything that a few clients do. */
export const roomy: Limits = {
  ...defaultLimits,
  connectionsMax: 64,
  sessionsMax: 64,
  connectTimeoutMs: 3_600_000,
  inflightMax: 5,
  receiveMaximum: 4,
  retainedMessagesMax: 16,
  topicAliasesInMax: 2,
  topicAliasesOutMax: 2,
  sessionExpiryMaxS: SESSION_NEVER_EXPIRES,
  subscriptionsPerClientMax: 64,
  trieNodesMax: 1_024,
  trieSubscriptionsMax: 1_024,
  topicCacheEntries: 16,
};
export interface TestParts {
  readonly limits?: Limits;
  readonly clock: Clock;
  readonly random: Random;
  readonly store: Store;
  readonly v3ExpiryS?: number;
  readonly log?: Log;
}

export function shardOver({ limits = roomy, clock, random, store, v3ExpiryS = 0, log = silentLog }: TestParts): Shard {
  const shard = new Shard({
    limits,
    offers: {
      maximumQos: 2,
      retainAvailable: true,
      wildcardSubscriptions: true,
      sharedSubscriptions: true,
      takeover: 'same_user',
      responseInformation: '',
      serverReference: '',
      v3ExpiryS,
    },
    clock,
    random,
    log,
    counters: new Counters(),
    store,
    authenticator: { authenticate: () => ({ ok: true, username: null }) },
    exchanges: null,
    rights: null,
  });
  store.listener = storeListener(shard);
  return shard;
}
