// What the broker counts: plain numbers, raised where things happen and read cold by $SYS. One instance a shard.

/** Why a message did not reach a receiver that it matched. */
export const DropReason = {
  SLOW_RECEIVER: 'slow receiver',
  QUEUE_FULL: 'queue full',
  TOO_LARGE: 'too large',
  EXPIRED: 'expired',
  NOT_AUTHORIZED: 'not authorized',
  NO_GROUP_MEMBER: 'no group member',
  DAMAGED: 'damaged in the store',
  SLOW_SHARD: 'slow shard',
  /** QoS 0 for a bridge whose link does not stand. */
  NO_LINK: 'no link',
} as const;
export type DropReason = (typeof DropReason)[keyof typeof DropReason];

export class Counters {
  // Those that pass 2^31 while a broker runs begin as -0, a double, which a 0 that is stored later does not change back: for a number that outgrows a small integer V8 would throw away all code that it has compiled around it, and need a second to compile it anew.
  bytesReceived = -0;
  /** Bytes handed to the transports, of every kind of packet. */
  bytesSent = -0;
  packetsReceived = -0;
  packetsSent = -0;
  publishReceived = -0;
  publishSent = -0;
  publishBytesReceived = -0;
  publishBytesSent = -0;
  /** Connections of the transports, whatever became of them. */
  socketsTotal = 0;
  connectReceived = 0;
  connectRefused = 0;
  connectionsTotal = 0;
  connectionsMaximum = 0;
  takeovers = 0;
  expiredSessions = 0;
  /** Connections marked slow, and publishers paused for a receiver. */
  slowReceivers = 0;
  pauses = 0;
  /** Publishes refused by a reason code because a receiver's queue was full. */
  refusedQuota = 0;
  /** Clients that were not let in, by why: what they offered was wrong, nothing let them in, too much was asked at once, what had to be asked gave no answer, their address is blocked. */
  authRefusedCredentials = 0;
  authRefusedNotAuthorized = 0;
  authRefusedBusy = 0;
  authRefusedUnavailable = 0;
  authRefusedBlocked = 0;
  authRefusedOther = 0;
  /** Connections ended because what let them in had run out. */
  authExpired = 0;
  /** Publishes that a client had no right to make. */
  refusedRights = 0;
  /** CONNECTs refused, and connections that the broker has ended, by reason code (MQTT 5.0 §2.4). Each shard's own: not in the rows that others read. */
  readonly refusedBy = new Map<number, number>();
  readonly endedBy = new Map<number, number>();
  /** Times that a client was read from no further because it had sent as much as it may in a second. */
  rateHolds = 0;
  /** Clients turned away: too many connections of the client in a minute, or of its user; a banned address; overload. */
  refusedConnectRate = 0;
  /** Clients let in whose connections of the minute could not be counted, because there was no room for one more. */
  connectsUncounted = 0;
  refusedUserQuota = 0;
  refusedBanned = 0;
  refusedOverload = 0;
  /** Times that a shard was overloaded. */
  overloads = 0;
  readonly dropped: Record<DropReason, number> = {
    [DropReason.SLOW_RECEIVER]: 0,
    [DropReason.QUEUE_FULL]: 0,
    [DropReason.TOO_LARGE]: 0,
    [DropReason.EXPIRED]: 0,
    [DropReason.NOT_AUTHORIZED]: 0,
    [DropReason.NO_GROUP_MEMBER]: 0,
    [DropReason.DAMAGED]: 0,
    [DropReason.SLOW_SHARD]: 0,
    [DropReason.NO_LINK]: 0,
  };

  constructor() {
    for (const name of perMessageNames) this[name] = 0;
  }

  /** How many figures `copyTo` writes. */
  static get places(): number {
    return counterNames.length + reasons.length;
  }

  /** Writes all counters into [at, …) of a row that other shards read, for `from`. */
  copyTo(row: Float64Array, at: number): void {
    let to = at;
    for (let i = 0; i < counterNames.length; i++) row[to++] = this[counterNames[i]!];
    for (let i = 0; i < reasons.length; i++) row[to++] = this.dropped[reasons[i]!];
  }

  /** The counters of a row, or of several that were summed. */
  static from(row: Float64Array, at: number): Counters {
    const counters = new Counters();
    let from = at;
    for (const name of counterNames) counters[name] = row[from++]!;
    for (const reason of reasons) counters.dropped[reason] = row[from++]!;
    return counters;
  }

  /** Place of a counter in a row, from where the counters begin. */
  static indexOf(name: CounterName): number {
    return counterNames.indexOf(name);
  }

  get droppedTotal(): number {
    let total = 0;
    for (const reason of Object.values(DropReason)) total += this.dropped[reason];
    return total;
  }
}

/** Counts one under a reason code. Not for what happens with each message. */
export function countReason(counts: Map<number, number>, reason: number): void {
  counts.set(reason, (counts.get(reason) ?? 0) + 1);
}

/** Counters that rise with each message. */
const perMessageNames = [
  'bytesReceived',
  'bytesSent',
  'packetsReceived',
  'packetsSent',
  'publishReceived',
  'publishSent',
  'publishBytesReceived',
  'publishBytesSent',
] as const;

/** Counters that are one number each. */
export const counterNames = [
  ...perMessageNames,
  'socketsTotal',
  'connectReceived',
  'connectRefused',
  'connectionsTotal',
  'connectionsMaximum',
  'takeovers',
  'expiredSessions',
  'slowReceivers',
  'pauses',
  'refusedQuota',
  'refusedRights',
  'authRefusedCredentials',
  'authRefusedNotAuthorized',
  'authRefusedBusy',
  'authRefusedUnavailable',
  'authRefusedBlocked',
  'authRefusedOther',
  'authExpired',
  'rateHolds',
  'refusedConnectRate',
  'connectsUncounted',
  'refusedUserQuota',
  'refusedBanned',
  'refusedOverload',
  'overloads',
] as const;
/** Those that together are the logins that were refused. */
export const refusedLogins = [
  'authRefusedCredentials',
  'authRefusedNotAuthorized',
  'authRefusedBusy',
  'authRefusedUnavailable',
  'authRefusedBlocked',
  'authRefusedOther',
] as const satisfies readonly CounterName[];
export type CounterName = (typeof counterNames)[number];

const reasons = Object.values(DropReason);
