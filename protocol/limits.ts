// Every bound of the broker in one place, with its default and with the assertions that say how
// the bounds relate. A bound that is reached is a result, which becomes a protocol answer.

/** Fixed by the encoding (MQTT 5.0 §1.5). */
export const PACKET_IDENTIFIER_MAX = 65_535;
export const STRING_BYTES_MAX = 65_535;
export const REMAINING_LENGTH_MAX = 268_435_455;
export const FIXED_HEADER_BYTES_MAX = 5;

/** Adjustable bounds. Units stand last in each name; a count has none. */
export interface Limits {
  /** Network connections at one time, all listeners together. */
  connectionsMax: number;
  /** Sessions held at one time, connected or not. */
  sessionsMax: number;
  /** Largest packet accepted from a client (Maximum Packet Size of CONNACK, MQTT 5.0 §3.2.2.3.6). */
  packetBytesMax: number;
  /** Largest first packet: what an unauthenticated peer can make the broker buffer. */
  connectBytesMax: number;
  /** Time from accept to a complete CONNECT. */
  connectTimeoutMs: number;
  topicBytesMax: number;
  topicLevelsMax: number;
  clientIdBytesMax: number;
  userPropertiesMax: number;
  subscriptionsPerClientMax: number;
  /** Topic filters and wills of all sessions together. */
  sessionBytesMax: number;
  /** Outbound messages sent and not yet acknowledged, per client; the client's Receive Maximum can lower it. */
  inflightMax: number;
  /** Inbound QoS 1 and 2 not yet acknowledged: the Receive Maximum of CONNACK. */
  receiveMaximum: number;
  queuedMessagesPerClientMax: number;
  queuedBytesPerClientMax: number;
  queuedMessagesMax: number;
  queuedBytesMax: number;
  retainedMessagesMax: number;
  retainedBytesMax: number;
  /** Topic aliases accepted from a client (Topic Alias Maximum of CONNACK). */
  topicAliasesInMax: number;
  /** Topic aliases used towards a client, at most what it allows. */
  topicAliasesOutMax: number;
  /** Longest keep alive accepted; a longer one, or none, is answered with Server Keep Alive on MQTT 5. 0: no bound. */
  keepAliveMaxS: number;
  sessionExpiryMaxS: number;
  /** Unsent bytes to one connection at which its publishers are paused. */
  outboxHighBytes: number;
  /** Unsent bytes to one connection that are never passed, but for a single packet. */
  outboxMaxBytes: number;
  /** Unsent bytes to all connections of one shard at which little more may wait for any of them. */
  unsentBytesMax: number;
  /** How long a slow receiver may pause its publishers before it is marked slow. */
  backpressureMs: number;
  /** Capacity of the shared topic trie; reserved, and touched only as it is used. */
  trieNodesMax: number;
  trieSubscriptionsMax: number;
  topicCacheEntries: number;
  /** PUBLISH packets, and bytes, that are read from one client in a second; 0: no bound. */
  clientMessagesPerS: number;
  clientBytesPerS: number;
  /** Times that one client may connect in a minute; 0: no bound. */
  clientConnectsPerMinute: number;
  /** Connections of one user; 0: no bound. */
  connectionsPerUser: number;
  /** Delay of the event loop above which new connections are refused; 0: never. */
  overloadDelayMs: number;
}

const MiB = 1_048_576;

export const defaultLimits: Limits = {
  connectionsMax: 100_000,
  sessionsMax: 1_000_000,
  packetBytesMax: 16 * MiB,
  connectBytesMax: 131_072,
  connectTimeoutMs: 10_000,
  topicBytesMax: 4_096,
  topicLevelsMax: 128,
  clientIdBytesMax: 1_024,
  userPropertiesMax: 128,
  subscriptionsPerClientMax: 10_000,
  sessionBytesMax: 256 * MiB,
  inflightMax: 1_024,
  receiveMaximum: 1_024,
  queuedMessagesPerClientMax: 100_000,
  queuedBytesPerClientMax: 64 * MiB,
  queuedMessagesMax: 2_000_000,
  queuedBytesMax: 512 * MiB,
  retainedMessagesMax: 1_000_000,
  retainedBytesMax: 256 * MiB,
  topicAliasesInMax: 64,
  topicAliasesOutMax: 64,
  keepAliveMaxS: 0,
  sessionExpiryMaxS: 31 * 86_400,
  outboxHighBytes: MiB,
  outboxMaxBytes: 8 * MiB,
  unsentBytesMax: 1_024 * MiB,
  backpressureMs: 200,
  trieNodesMax: 4_194_304,
  trieSubscriptionsMax: 4_194_304,
  topicCacheEntries: 65_536,
  clientMessagesPerS: 0,
  clientBytesPerS: 0,
  clientConnectsPerMinute: 0,
  connectionsPerUser: 0,
  overloadDelayMs: 2_000,
};

/** Smallest and largest value of each bound: the schema of the configuration and the assertions share it. */
export const limitRanges: { readonly [K in keyof Limits]: readonly [min: number, max: number] } = {
  connectionsMax: [1, 10_000_000],
  sessionsMax: [1, 16_000_000],
  packetBytesMax: [64, REMAINING_LENGTH_MAX + FIXED_HEADER_BYTES_MAX],
  connectBytesMax: [64, REMAINING_LENGTH_MAX + FIXED_HEADER_BYTES_MAX],
  connectTimeoutMs: [10, 3_600_000],
  topicBytesMax: [1, STRING_BYTES_MAX],
  topicLevelsMax: [1, 1_024],
  clientIdBytesMax: [23, STRING_BYTES_MAX],
  userPropertiesMax: [0, 65_535],
  subscriptionsPerClientMax: [1, 16_000_000],
  sessionBytesMax: [1_024, Number.MAX_SAFE_INTEGER],
  inflightMax: [1, 65_535],
  receiveMaximum: [1, 65_535],
  queuedMessagesPerClientMax: [0, 2_147_483_647],
  queuedBytesPerClientMax: [0, Number.MAX_SAFE_INTEGER],
  queuedMessagesMax: [0, 2_147_483_647],
  queuedBytesMax: [0, Number.MAX_SAFE_INTEGER],
  retainedMessagesMax: [0, 16_000_000],
  retainedBytesMax: [0, Number.MAX_SAFE_INTEGER],
  topicAliasesInMax: [0, 65_535],
  topicAliasesOutMax: [0, 65_535],
  keepAliveMaxS: [0, 65_535],
  sessionExpiryMaxS: [0, 4_294_967_295],
  outboxHighBytes: [4_096, 1_073_741_824],
  outboxMaxBytes: [65_536, 2_147_483_647],
  unsentBytesMax: [65_536, Number.MAX_SAFE_INTEGER],
  backpressureMs: [0, 60_000],
  trieNodesMax: [1_024, 33_554_432],
  trieSubscriptionsMax: [1_024, 33_554_432],
  topicCacheEntries: [16, 4_194_304],
  clientMessagesPerS: [0, 100_000_000],
  clientBytesPerS: [0, Number.MAX_SAFE_INTEGER],
  clientConnectsPerMinute: [0, 1_000_000],
  connectionsPerUser: [0, 10_000_000],
  overloadDelayMs: [0, 600_000],
};

/** The first relation between two bounds that does not hold, in words that name both; null when all hold. */
export function limitsConflict(limits: Limits): string | null {
  if (limits.connectBytesMax > limits.packetBytesMax) return 'connectBytesMax must not exceed packetBytesMax';
  if (limits.outboxHighBytes > limits.outboxMaxBytes) return 'outboxHighBytes must not exceed outboxMaxBytes';
  if (limits.queuedMessagesPerClientMax > limits.queuedMessagesMax) {
    return 'queuedMessagesPerClientMax must not exceed queuedMessagesMax';
  }
  if (limits.queuedBytesPerClientMax > limits.queuedBytesMax) return 'queuedBytesPerClientMax must not exceed queuedBytesMax';
  if (limits.subscriptionsPerClientMax > limits.trieSubscriptionsMax) {
    return 'subscriptionsPerClientMax must not exceed trieSubscriptionsMax';
  }
  if (limits.overloadDelayMs > 0 && limits.overloadDelayMs < OVERLOAD_DELAY_MS_MIN)
    return `overloadDelayMs must be 0 or at least ${OVERLOAD_DELAY_MS_MIN}`;
  if (limits.topicLevelsMax > limits.topicBytesMax + 1) return 'topicLevelsMax must not exceed topicBytesMax + 1';
  return null;
}

/** Timers alone are late by as much as this. */
const OVERLOAD_DELAY_MS_MIN = 100;
