// The life of a session (MQTT 5.0 §3.1.2.4, §3.1.2.11.2, §4.1): attached to a connection, left by it, expired, ended. Its will
// goes out here, and only here.
import { MessageView } from '../../protocol/publish.ts';
import { shareFilterFrom } from '../../protocol/topic.ts';
import { NO_MESSAGE } from '../memory/messages.ts';
import { SessionFlag } from '../peers/roster.ts';
import { type Principal, principalBytes } from '../principal.ts';
import type { Connection } from '../sessions/connection.ts';
import { DeliveryState } from '../sessions/deliveries.ts';
import { SESSION_NEVER_EXPIRES, type Session, type Subscription, type Will } from '../sessions/session.ts';
import { Timer } from '../timers.ts';
import { sendControl } from './control.ts';
import { deliverAgain, deliverMessage } from './deliver.ts';
import { countQueued } from './queue.ts';
import { packSession } from './record.ts';
import { retainMessage } from './retain.ts';
import type { Shard } from './shard.ts';

/** Parts session and connection: the session waits for its client, or ends. `keepWill`: the end was not an orderly one. */
export function detach(shard: Shard, connection: Connection, keepWill: boolean): void {
  const { session } = connection;
  if (session === null || session.connection !== connection) return;
  connection.session = null;
  session.connection = null;
  session.reading = false;
  session.disconnectedAtMs = shard.clock.keptMs();
  shard.peers?.roster.lower(session.handle, SessionFlag.CONNECTED);
  shard.peers?.roster.lower(session.handle, SessionFlag.SLOW);
  if (!keepWill) setWill(shard, session, null); // [MQTT-3.14.4-3]
  if (!session.persistent) {
    endSession(shard, session); // [MQTT-3.1.2-23]
    return;
  }
  session.sentBefore = Math.max(session.sentBefore, session.deliveries.base + session.deliveries.sent);
  forgetGone(shard, session);
  session.unload(shard.messages);
  if (session.will !== null && session.will.delayS === 0) publishWill(shard, session);
  storeSession(shard, session);
  setAwayTimers(shard, session, 0);
}

/** Writes what must survive of a session to its store. */
export function storeSession(shard: Shard, session: Session): void {
  shard.store.putSession(session.stored, packSession(session), session.will !== null);
}

/** Deliveries that the store let go while they were loaded here are taken off the books with the log. */
function forgetGone(shard: Shard, session: Session): void {
  const { deliveries } = session;
  for (let offset = 0; offset < deliveries.count; offset++) {
    if (!deliveries.isGone(offset) || deliveries.state(offset) === DeliveryState.DONE) continue;
    const message = deliveries.message(offset);
    if (message !== NO_MESSAGE) countQueued(shard, session, -1, -shard.messages.length(message));
  }
}

/** Sets the timers of a session whose client has been away for `awayMs`. */
export function setAwayTimers(shard: Shard, session: Session, awayMs: number): void {
  if (session.expiryS !== SESSION_NEVER_EXPIRES) {
    session.expiryTimer ??= new Timer(() => {
      shard.counters.expiredSessions++;
      endSession(shard, session);
    });
    shard.timers.set(session.expiryTimer, Math.max(0, session.expiryS * 1_000 - awayMs));
  }
  if (session.will !== null) {
    session.willTimer ??= new Timer(() => {
      publishWill(shard, session);
      if (session.stored !== 0) storeSession(shard, session);
    });
    shard.timers.set(session.willTimer, Math.max(0, session.will.delayS * 1_000 - awayMs)); // [MQTT-3.1.3-9]
  }
}

/**
 * Kept time (`Clock.keptMs`) was set ahead by `ms`, because so long no broker ran before `sinceMs`. Sessions that were left by then have been away that much longer, and end where that is too long; those that were left since
 * have not.
 */
export function countTimeAway(shard: Shard, sinceMs: number, ms: number): void {
  const nowMs = shard.clock.keptMs();
  for (const session of [...shard.sessions]) {
    if (session.connection !== null) continue;
    if (session.disconnectedAtMs < sinceMs) {
      setAwayTimers(shard, session, nowMs - session.disconnectedAtMs);
    } else {
      // One that was left in the moment between the step and this look has the new time already.
      session.disconnectedAtMs = Math.min(session.disconnectedAtMs + ms, nowMs);
      if (session.stored !== 0) storeSession(shard, session);
    }
  }
}

/** Ends a session: its will goes out, its subscriptions and everything owed to it are let go. */
export function endSession(shard: Shard, session: Session): void {
  if (shard.sessions.at(session.handle) !== session) return;
  if (session.expiryTimer !== null) shard.timers.cancel(session.expiryTimer);
  publishWill(shard, session);
  shard.sessionBytes -= principalBytes(session.principal);
  for (const subscription of session.subscriptions.values()) {
    shard.sessionBytes -= subscription.filter.length;
    dropFromTrie(shard, subscription);
  }
  session.subscriptions.clear();
  shard.sessions.remove(session);
  if (shard.peers !== null) {
    shard.peers.roster.end(session.handle);
    sendControl(shard, 0, { kind: 'ended', handle: session.handle, shard: shard.peers.index });
  }
  handOver(shard, session);
  session.unload(shard.messages);
  countQueued(shard, session, -session.queuedMessages, -session.queuedBytes);
  if (session.stored !== 0) {
    shard.store.dropSession(session.stored);
    shard.storedSessions.delete(session.stored);
    shard.awaitingDurable.delete(session);
  }
  session.stored = 0;
}

/** Takes one subscription of a session out of the trie. */
export function dropFromTrie(shard: Shard, { filter, entry }: Subscription): void {
  if (shareFilterFrom(filter, 0, filter.length) > 0) shard.sharedSubscriptions--;
  shard.trie.unsubscribe(entry);
}

/**
 * Gives what a shared subscription's member did not finish to another member (MQTT 5.0 §4.8.2): QoS 1 in flight and
 * whatever was still queued. QoS 2 in flight stays with the member that has seen it [MQTT-4.8.2-5].
 */
function handOver(shard: Shard, session: Session): void {
  const { deliveries } = session;
  const view = new MessageView();
  for (let offset = 0; offset < deliveries.count; offset++) {
    const target = deliveries.target(offset);
    if (target === null || target.group < 0 || deliveries.state(offset) === DeliveryState.DONE) continue;
    if (deliveries.qos(offset) === 2 && offset < deliveries.sent) continue;
    const message = deliveries.message(offset);
    if (message === NO_MESSAGE || !shard.messages.view(message, view)) continue;
    if (isBeingErased(shard, view)) continue; // the next member may have been gone through
    if (shard.routes.find(view.topic, view.topicFrom, view.topicTo) < 0) continue;
    const route = shard.routes.found;
    if (route.groups.includes(target.group)) deliverAgain(shard, message, view, route, target.group);
  }
}

/** Whether a message is under a topic that is being erased. */
export function isBeingErased({ erasing }: Shard, { topic, topicFrom, topicTo }: MessageView): boolean {
  for (const isErased of erasing.values()) if (isErased(topic, topicFrom, topicTo)) return true;
  return false;
}

/** Gives a session the principal that rights are asked for. */
export function setPrincipal(shard: Shard, session: Session, principal: Principal): void {
  shard.sessionBytes += principalBytes(principal) - principalBytes(session.principal);
  session.principal = principal;
}

/** Gives a session its will, or takes it away. */
export function setWill(shard: Shard, session: Session, will: Will | null): void {
  shard.sessionBytes += willBytes(will) - willBytes(session.will);
  session.will = will;
}

/** What a will counts for: topic name, properties and payload. */
export function willBytes(will: Will | null): number {
  return will === null ? 0 : will.topic.length + will.properties.length + will.payload.length;
}

/** Whether the client of a session may publish the will that it has left. */
export function mayPublishWill({ rights }: Shard, { will, principal, clientId }: Session): boolean {
  return will === null || rights === null || rights.mayPublish(principal, clientId, will.topic, 0, will.topic.length);
}

/** Publishes the will of a session, if it has one, once [MQTT-3.1.2-8]. */
function publishWill(shard: Shard, session: Session): void {
  const { will } = session;
  if (session.willTimer !== null) shard.timers.cancel(session.willTimer);
  if (will === null) return;
  const { topic } = will;
  const may = mayPublishWill(shard, session);
  setWill(shard, session, null); // [MQTT-3.1.2-10]
  if (!may) {
    shard.counters.refusedRights++;
    return;
  }
  const view = viewWill(will, shard.ceilings.messageS(session.listener, session.username), shard.clock.keptMs());
  if (shard.routes.find(topic, 0, topic.length) < 0 || shard.routes.found.reserved) return;
  deliverMessage(shard, null, view, shard.routes.found);
  if (will.retain && shard.offers.retainAvailable) retainMessage(shard, null, view); // [MQTT-3.1.2-15]
}

/** With an expiry below the ceiling of its client's messages, as it is now. */
function viewWill(will: Will, expiryMaxS: number, wallMs: number): MessageView {
  const view = new MessageView();
  view.topic = will.topic;
  view.topicTo = will.topic.length;
  view.properties = will.properties;
  view.propertiesTo = will.properties.length;
  view.payload = will.payload;
  view.payloadTo = will.payload.length;
  view.qos = will.qos;
  view.retain = will.retain ? 1 : 0;
  const expiryS = will.expiryS < 0 ? expiryMaxS : Math.min(will.expiryS, expiryMaxS);
  view.expiryS = expiryS === Infinity ? -1 : expiryS;
  view.expiresAtMs = wallMs + expiryS * 1_000;
  return view;
}
