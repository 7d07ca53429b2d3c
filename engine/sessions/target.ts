// One receiver of a route: what a matching subscription, or several of one client together, ask for.
// Made once when a topic is matched and shared by every message that takes the route.
import type { Rights } from '../gate.ts';
import type { Principal } from '../principal.ts';

/** Bits of a subscription's options as the trie keeps them (MQTT 5.0 §3.8.3.1). */
export const SubscriptionOption = {
  QOS_MASK: 0b0000_0011,
  NO_LOCAL: 0b0000_0100,
  RETAIN_AS_PUBLISHED: 0b0000_1000,
} as const;

export interface Target {
  /** Handle of the receiving session. */
  readonly subscriber: number;
  readonly options: number;
  /** Encoded Subscription Identifier properties, one for each matching subscription that has one. */
  readonly subscriptionIds: Uint8Array;
  /** Handle of the shared group that chose this receiver, -1 for a plain subscription. */
  readonly group: number;
  /** What is left for the receiver when it is itself the publisher: null when No Local covers everything. */
  readonly ofOwn: Target | null;
  /** By which rights, and for whom, the receiver was last found to be allowed the topic; null: not yet (routing/queue.ts). */
  judgedBy: Rights | null;
  judgedFor: Principal | null;
}

/** A target that nobody has judged. It is of one topic. */
export function targetFor(
  subscriber: number,
  options: number,
  subscriptionIds: Uint8Array,
  group = -1,
  ofOwn: Target | null = null,
): Target {
  return { subscriber, options, subscriptionIds, group, ofOwn, judgedBy: null, judgedFor: null };
}
