// CONNECT and AUTH (MQTT 5.0 §3.1, §3.2, §3.15, §4.12): from the first packet to an open connection.
import { connackRefusal } from '../../protocol/answers.ts';
import { BRIDGE_BIT, type ConnectPacket, decodeConnect, encodeConnack } from '../../protocol/connect.ts';
import { decodeAuth, encodeAuth } from '../../protocol/disconnect.ts';
import { fault, Level, Reason, reasonOf } from '../../protocol/packet.ts';
import { countReason } from '../counters.ts';
import type { AuthOutcome, Credentials, Exchange, ExchangeOutcome } from '../gate.ts';
import { Gauge } from '../peers/gauges.ts';
import { SessionFlag } from '../peers/roster.ts';
import { type Identity, OWN_CLIENT_PREFIX } from '../principal.ts';
import { InboundAliases, OutboundAliases } from '../sessions/aliases.ts';
import { type Connection, ConnectionState, UNLIMITED_BYTES } from '../sessions/connection.ts';
import { QueueOverflow, type Session } from '../sessions/session.ts';
import { Timer } from '../timers.ts';
import { setCeilings } from './ceilings.ts';
import { claimSession, mayTakeOver } from './claim.ts';
import { closeOrderly, endConnection } from './close.ts';
import { identify, refuseIdentity } from './identity.ts';
import { endSession, setWill, storeSession, willBytes } from './lifecycle.ts';
import { isHeld, isHeldFor, resumeIfFree } from './pressure.ts';
import { pump } from './queue.ts';
import type { Shard } from './shard.ts';

const ASSIGNED_ID_BYTES = 12;
/** MQTT 3 cannot say it: Mosquitto's bridges take this many QoS 2 messages at a time unless told otherwise, and end the connection over more. */
const BRIDGE_RECEIVE_MAXIMUM = 20;

/** What is known of a client between its CONNECT and our CONNACK. */
interface Arrival {
  readonly packet: ConnectPacket;
  readonly clientId: string;
  readonly assigned: boolean;
  /** Runs when the connection is open or closed: what came early is handled. */
  readonly done: () => void;
}

/** Judges the first packet. `done` is called once the connection is open or closed, inside the call or later. */
export function onConnect(
  shard: Shard,
  connection: Connection,
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
  done: () => void,
): void {
  shard.counters.connectReceived++;
  const packet = decodeConnect(buffer, header, from, to, shard.limits);
  if (typeof packet === 'number') {
    refuse(shard, connection, claimedLevel(buffer, from, to), reasonOf(packet));
    return;
  }
  connection.level = packet.level;
  connection.isBridge = packet.bridge;
  const refusal = connection.isOwn ? Reason.SUCCESS : judge(shard, packet);
  if (refusal !== Reason.SUCCESS) {
    refuse(shard, connection, packet.level, refusal);
    return;
  }
  const assigned = packet.clientId === '';
  const clientId = assigned ? assignClientId(shard) : packet.clientId;
  const arrival: Arrival = { packet, clientId, assigned, done };
  if (connection.isOwn) {
    admit(shard, connection, arrival, { ok: true, username: null }, null);
    return;
  }
  const { peer } = connection.link;
  const credentials: Credentials = { clientId, username: packet.username, password: packet.password, peer };
  if (isBlocked(shard, connection)) return;
  connection.state = ConnectionState.AUTHENTICATING;
  if (packet.authenticationMethod === null) authenticate(shard, connection, arrival, credentials);
  else beginExchange(shard, connection, arrival, packet.authenticationMethod, credentials);
}

/** Asks who the client is, and asks anew when a reload has replaced what was asked. */
function authenticate(shard: Shard, connection: Connection, arrival: Arrival, credentials: Credentials): void {
  const { authenticator } = shard;
  const outcome = authenticator.authenticate(credentials);
  if (!(outcome instanceof Promise)) {
    admit(shard, connection, arrival, outcome, null);
    return;
  }
  // The password lies in a buffer that is lent for this call.
  const password = credentials.password === null ? null : Uint8Array.from(credentials.password);
  settle(shard, connection, outcome, (found) => {
    if (shard.authenticator === authenticator) admit(shard, connection, arrival, found, null);
    else authenticate(shard, connection, arrival, { ...credentials, password });
  });
  const wipe = () => void password?.fill(0);
  outcome.then(wipe, wipe);
}

/** Refuses a client whose address has to wait for what it has guessed. */
function isBlocked(shard: Shard, connection: Connection): boolean {
  if (shard.guard === null || shard.guard.mayTry(connection.link.peer.address)) return false;
  shard.counters.authRefusedBlocked++;
  const { level } = connection;
  // To MQTT 3 it would look like a server that is down, to be tried again at once.
  refuse(shard, connection, level, level === Level.V5 ? Reason.CONNECTION_RATE_EXCEEDED : Reason.NOT_AUTHORIZED);
  return true;
}

/** AUTH while connecting, or re-authentication of an open connection [MQTT-4.12.0-1]. Returns 0 or a fault. */
export function onAuth(
  shard: Shard,
  connection: Connection,
  buffer: Uint8Array,
  header: number,
  from: number,
  to: number,
): number {
  if (connection.level !== Level.V5) return fault(Reason.PROTOCOL_ERROR);
  const packet = decodeAuth(buffer, header, from, to, connection.level, shard.limits);
  if (typeof packet === 'number') return packet;
  if (connection.authenticationMethod === null) return fault(Reason.PROTOCOL_ERROR);
  if (packet.method !== connection.authenticationMethod) return fault(Reason.PROTOCOL_ERROR); // [MQTT-4.12.0-5] [MQTT-4.12.1-1]
  const begins = connection.isOpen && !connection.reauthenticating;
  const expected = begins ? Reason.REAUTHENTICATE : Reason.CONTINUE_AUTHENTICATION;
  if (packet.reason !== expected) return fault(Reason.PROTOCOL_ERROR);
  const { data } = packet;
  if (begins) {
    reauthenticate(shard, connection, packet.method, data);
    return 0;
  }
  // Nothing was asked of it: the step before is still being looked at.
  if (connection.continueExchange === null) return fault(Reason.PROTOCOL_ERROR);
  connection.continueExchange(data);
  return 0;
}

function judge(shard: Shard, packet: ConnectPacket): Reason {
  if (shard.stopping) return Reason.SERVER_SHUTTING_DOWN;
  if (shard.admission.refusesAll()) return Reason.SERVER_BUSY;
  if (shard.connections.size + shard.elsewhere[Gauge.CONNECTIONS]! > shard.limits.connectionsMax) return Reason.SERVER_BUSY;
  // [MQTT3-3.1.3-8] an empty client identifier needs a clean session; MQTT 5 has no such rule
  if (packet.clientId === '' && packet.level !== Level.V5 && !packet.clean) return Reason.CLIENT_IDENTIFIER_NOT_VALID;
  if (isReserved(shard, packet.clientId)) return Reason.CLIENT_IDENTIFIER_NOT_VALID;
  if (packet.will !== null && packet.will.qos > shard.offers.maximumQos) return Reason.QOS_NOT_SUPPORTED; // [MQTT-3.2.2-12]
  if (
    packet.will !== null &&
    shard.sessionBytes + shard.elsewhere[Gauge.SESSION_BYTES]! + willBytes(packet.will) > shard.limits.sessionBytesMax
  )
    return Reason.QUOTA_EXCEEDED;
  if (packet.will?.retain && !shard.offers.retainAvailable) return Reason.RETAIN_NOT_SUPPORTED; // [MQTT-3.2.2-13]
  return Reason.SUCCESS;
}

/** Whether a client identifier belongs to the broker's own clients: a bridge's session must not fall to whoever asks for it. */
function isReserved({ ownClientIds }: Shard, clientId: string): boolean {
  return clientId.startsWith(OWN_CLIENT_PREFIX) || ownClientIds.has(clientId);
}

function assignClientId(shard: Shard): string {
  return `lethe-${Buffer.from(shard.random.bytes(ASSIGNED_ID_BYTES)).toString('hex')}`;
}

/** Runs `then` with a value that is there or comes, unless the connection has closed meanwhile; a failure is a refusal. */
function settle<T>(shard: Shard, connection: Connection, value: Promise<T> | T, then: (value: T) => void): void {
  if (!(value instanceof Promise)) {
    then(value);
    return;
  }
  connection.link.pause();
  value.then(
    (outcome) => {
      if (connection.state === ConnectionState.CLOSED) return;
      resumeIfFree(shard, connection);
      then(outcome);
    },
    () => {
      shard.log.error('authentication failed unexpectedly; the connection is refused');
      if (connection.isOpen) endConnection(shard, connection, Reason.UNSPECIFIED);
      else refuse(shard, connection, connection.level, Reason.UNSPECIFIED);
    },
  );
}

/** Answers CONNECT with a CONNACK that refuses, and closes. */
export function refuse(shard: Shard, connection: Connection, level: Level, reason: Reason): void {
  if (connection.state === ConnectionState.CLOSED) return;
  shard.counters.connectRefused++;
  countReason(shard.counters.refusedBy, reason);
  const bytes = connackRefusal(level, reason);
  connection.outbox.append(bytes, 0, bytes.length);
  connection.closeReason = reason;
  closeOrderly(shard, connection, false); // [MQTT-3.2.2-7]
}

/** Level that a CONNECT claims which could not be decoded: it decides how the refusal is written. */
function claimedLevel(buffer: Uint8Array, from: number, to: number): Level {
  const at = from + 2 + ((buffer[from]! << 8) | buffer[from + 1]!);
  return at < to && (buffer[at]! & ~BRIDGE_BIT) >= Level.V5 ? Level.V5 : Level.V311;
}

function beginExchange(shard: Shard, connection: Connection, arrival: Arrival, method: string, credentials: Credentials): void {
  const exchange = shard.exchanges === null ? null : shard.exchanges.begin(method, credentials);
  if (exchange === null) {
    refuseIdentity(shard, connection, Reason.BAD_AUTHENTICATION_METHOD, 'nothing offered');
    refuse(shard, connection, Level.V5, Reason.BAD_AUTHENTICATION_METHOD); // [MQTT-4.12.0-1]
    return;
  }
  connection.authenticationMethod = method;
  runExchange(shard, connection, exchange, arrival.packet.authenticationData, (outcome) => {
    if (outcome.kind === 'failure')
      admit(shard, connection, arrival, { ok: false, reason: outcome.reason }, null); // [MQTT-4.12.0-4]
    else admit(shard, connection, arrival, { ...outcome, ok: true }, outcome.data);
  });
}

type ExchangeEnd = Exclude<ExchangeOutcome, { readonly kind: 'continue' }>;

/** Runs an exchange to its end, one step at a time. What a reload has replaced meanwhile vouches for nobody: the client may begin anew. */
function runExchange(
  shard: Shard,
  connection: Connection,
  exchange: Exchange,
  first: Uint8Array | null,
  ended: (outcome: ExchangeEnd) => void,
): void {
  const { exchanges } = shard;
  const step = (data: Uint8Array | null) => {
    connection.continueExchange = null;
    settle(shard, connection, exchange.step(data), (outcome) => {
      if (shard.exchanges !== exchanges && outcome.kind !== 'failure') {
        ended({ kind: 'failure', reason: Reason.SERVER_BUSY });
      } else if (outcome.kind === 'continue') {
        connection.continueExchange = step;
        sendAuth(connection, Reason.CONTINUE_AUTHENTICATION, outcome.data);
      } else {
        ended(outcome);
      }
    });
  };
  step(first);
}

/** An open connection authenticates again, by what is asked now: keys and users may be others than when it came. */
function reauthenticate(shard: Shard, connection: Connection, method: string, data: Uint8Array | null): void {
  const { clientId, username } = connection.session!;
  const credentials: Credentials = { clientId, username, password: null, peer: connection.link.peer };
  const exchange = shard.exchanges === null ? null : shard.exchanges.begin(method, credentials);
  if (exchange === null) {
    endReauthentication(shard, connection, Reason.BAD_AUTHENTICATION_METHOD);
    return;
  }
  connection.reauthenticating = true;
  runExchange(shard, connection, exchange, data, (outcome) => reauthenticated(shard, connection, outcome));
}

function reauthenticated(shard: Shard, connection: Connection, outcome: ExchangeEnd): void {
  connection.reauthenticating = false;
  const session = connection.session!;
  if (outcome.kind === 'failure') endReauthentication(shard, connection, outcome.reason);
  // Subscriptions and everything that is queued are the right of who it was.
  else if (outcome.username !== session.username) endReauthentication(shard, connection, Reason.NOT_AUTHORIZED);
  else {
    identify(shard, connection, session, outcome);
    if (session.stored !== 0) storeSession(shard, session);
    sendAuth(connection, Reason.SUCCESS, outcome.data);
  }
}

function endReauthentication(shard: Shard, connection: Connection, reason: Reason): void {
  refuseIdentity(shard, connection, reason, 'offered');
  endConnection(shard, connection, reason);
}

function sendAuth(connection: Connection, reason: Reason, data: Uint8Array | null): void {
  const bytes = encodeAuth({ reason, method: connection.authenticationMethod, data });
  connection.outbox.append(bytes, 0, bytes.length);
}

/** The client is who it says: its session is found or made, and the connection opens. */
function admit(
  shard: Shard,
  connection: Connection,
  arrival: Arrival,
  outcome: AuthOutcome,
  authenticationData: Uint8Array | null,
): void {
  const { packet, clientId } = arrival;
  // Those who have guessed meanwhile at the same time are told of none of it whether it was right, or as many could be tried at once as there is room for.
  if (!connection.isOwn && isBlocked(shard, connection)) return;
  if (!outcome.ok) {
    const isOffered = packet.username !== null || packet.password !== null || packet.authenticationMethod !== null;
    refuseIdentity(shard, connection, outcome.reason, isOffered ? 'offered' : 'nothing offered');
    refuse(shard, connection, packet.level, outcome.reason);
    return;
  }
  if (!connection.isOwn && comesTooOften(shard, arrival, outcome.username)) {
    shard.counters.refusedConnectRate++;
    refuse(shard, connection, packet.level, Reason.CONNECTION_RATE_EXCEEDED);
    return;
  }
  if (shard.peers !== null) {
    // The session may be another shard's: nothing is read until it is known whose.
    connection.link.pause();
    connection.state = ConnectionState.CLAIMING;
    const seat = (session: Session, present: boolean) => {
      if (connection.state === ConnectionState.CLOSED) return false;
      resumeIfFree(shard, connection);
      return seatClient(shard, connection, arrival, session, present, outcome, authenticationData);
    };
    const { username } = outcome;
    const refused = (reason: Reason) => {
      if (connection.state !== ConnectionState.CLOSED) resumeIfFree(shard, connection);
      refuse(shard, connection, packet.level, reason);
    };
    const asked = (request: number) => {
      connection.claim = request;
    };
    const admits = () => connection.state !== ConnectionState.CLOSED && isWithinQuota(shard, connection, username);
    claimSession(shard, { clientId, username, clean: packet.clean, asked, admits, seat, refuse: refused });
    return;
  }
  let session = shard.sessions.find(clientId);
  if (session !== null && !mayTakeOver(shard, session, outcome.username)) {
    refuse(shard, connection, packet.level, Reason.NOT_AUTHORIZED);
    return;
  }
  if (session?.connection) {
    shard.counters.takeovers++;
    endConnection(shard, session.connection, Reason.SESSION_TAKEN_OVER); // [MQTT-3.1.4-3]
    session = shard.sessions.find(clientId);
  }
  // Before anything is let go of: who is refused finds everything as it was.
  if (!isWithinQuota(shard, connection, outcome.username)) return;
  if (session !== null && packet.clean) {
    endSession(shard, session); // [MQTT-3.1.2-4]
    session = null;
  }
  const present = session !== null;
  session ??= shard.sessions.create(clientId);
  if (session === null) {
    refuse(shard, connection, packet.level, Reason.QUOTA_EXCEEDED);
    return;
  }
  const isSeated = seatClient(shard, connection, arrival, session, present, outcome, authenticationData);
  if (!isSeated && !present) endSession(shard, session);
}

/** Whether a client has connected as often in this minute as it may. Counted after its credentials were checked, and for each user apart, so that neither a stranger nor another user can use up what is its. */
function comesTooOften(shard: Shard, { clientId, assigned }: Arrival, username: string | null): boolean {
  const { clientConnectsPerMinute } = shard.limits;
  if (clientConnectsPerMinute === 0 || assigned) return false;
  const minute = Math.floor(shard.clock.monotonicMs() / MINUTE_MS) | 0;
  // Neither name has a U+0000 in it.
  const key = shard.connects.keyOf(username === null ? clientId : `${username}\0${clientId}`);
  if (shard.connects.enter(key, clientConnectsPerMinute, minute)) return false;
  if (shard.connects.count(key, minute) >= clientConnectsPerMinute) return true;
  // There is no room to count it in: that is no fault of the client's.
  shard.counters.connectsUncounted++;
  return false;
}

const MINUTE_MS = 60_000;

/** Counts the connection for its user, or refuses it when the user has as many as there may be. A connection that the client has left behind is gone by then. */
function isWithinQuota(shard: Shard, connection: Connection, username: string | null): boolean {
  if (countForUser(shard, connection, username)) return true;
  shard.counters.refusedUserQuota++;
  refuse(shard, connection, connection.level, Reason.QUOTA_EXCEEDED);
  return false;
}

function countForUser(shard: Shard, connection: Connection, username: string | null): boolean {
  const { connectionsPerUser } = shard.limits;
  if (connectionsPerUser === 0 || username === null || connection.userTally !== null) return true;
  const key = shard.users.keyOf(username);
  if (!shard.users.enter(key, connectionsPerUser)) return false;
  connection.userTally = key;
  return true;
}

/** Opens the connection on its session. False when it is refused, and the session is as it was. */
function seatClient(
  shard: Shard,
  connection: Connection,
  arrival: Arrival,
  session: Session,
  present: boolean,
  identity: Identity,
  authenticationData: Uint8Array | null,
): boolean {
  const { packet } = arrival;
  if (!isWithinQuota(shard, connection, identity.username)) return false;
  join(shard, connection, session, packet, identity);
  connection.state = ConnectionState.OPEN;
  shard.openConnections++;
  connection.openedAtS = Math.floor(shard.clock.monotonicMs() / 1_000);
  shard.counters.connectionsTotal++;
  const now = shard.connections.size + shard.elsewhere[Gauge.CONNECTIONS]!;
  shard.counters.connectionsMaximum = Math.max(shard.counters.connectionsMaximum, now);
  const bytes = connack(shard, connection, session, arrival, present, authenticationData);
  connection.outbox.append(bytes, 0, bytes.length);
  keepAlive(shard, connection, keepAliveS(shard, connection, packet));
  pump(shard, session); // [MQTT-4.4.0-1]
  arrival.done();
  return true;
}

/** Ties connection and session together and takes over what CONNECT asks for. */
function join(shard: Shard, connection: Connection, session: Session, packet: ConnectPacket, identity: Identity): void {
  const { limits } = shard;
  connection.session = session;
  const receiveMaximum = packet.bridge ? BRIDGE_RECEIVE_MAXIMUM : packet.receiveMaximum;
  connection.sendQuota = Math.min(receiveMaximum, limits.inflightMax); // [MQTT-3.3.4-9]
  connection.packetBytesMax = packet.maximumPacketSize === 0 ? UNLIMITED_BYTES : packet.maximumPacketSize;
  const aliasesOut = Math.min(packet.topicAliasMaximum, limits.topicAliasesOutMax); // [MQTT-3.1.2-26] [MQTT-3.1.2-27]
  connection.aliasesOut = aliasesOut > 0 ? new OutboundAliases(aliasesOut) : null;
  connection.aliasesIn =
    packet.level === Level.V5 && limits.topicAliasesInMax > 0 ? new InboundAliases(limits.topicAliasesInMax) : null;
  connection.wantsProblemInformation = packet.requestProblemInformation;
  connection.tracer = shard.tracers.get(session.clientId) ?? null;
  connection.judgePlain();

  session.connection = connection;
  identify(shard, connection, session, identity);
  session.level = packet.level;
  session.listener = connection.link.peer.listener;
  session.overflow = shard.overflows.get(session.listener) ?? QueueOverflow.REFUSE;
  session.disconnectedAtMs = 0;
  setCeilings(shard.ceilings, connection, identity.username);
  // What its session holds has ceilings; the session itself is the operator's.
  session.expiryS = connection.isOwn
    ? packet.sessionExpiryS
    : Math.min(sessionExpiryS(shard, packet), connection.sessionExpiryMaxS);
  if (session.expiryTimer !== null) shard.timers.cancel(session.expiryTimer);
  if (session.willTimer !== null) shard.timers.cancel(session.willTimer);
  setWill(shard, session, packet.will); // a delayed will of the session's last connection is dropped [MQTT-3.1.3-9]
  session.deliveries.rewind();
  if (session.persistent && session.stored === 0) {
    session.stored = shard.nextStored;
    shard.nextStored += shard.storedStep;
    shard.storedSessions.set(session.stored, session);
  }
  shard.peers?.roster.raise(session.handle, SessionFlag.CONNECTED);
  if (session.stored === 0) return;
  shard.peers?.roster.store(session.handle, session.stored);
  storeSession(shard, session);
  session.joined = shard.store.sequence;
}

function sessionExpiryS(shard: Shard, packet: ConnectPacket): number {
  if (packet.level !== Level.V5) return packet.clean ? 0 : Math.min(shard.offers.v3ExpiryS, shard.limits.sessionExpiryMaxS);
  return Math.min(packet.sessionExpiryS, shard.limits.sessionExpiryMaxS);
}

/** Keep Alive that holds, in seconds; the server's own when the client's is longer than allowed, or none. */
function keepAliveS(shard: Shard, { isOwn }: Connection, packet: ConnectPacket): number {
  const { keepAliveMaxS } = shard.limits;
  if (keepAliveMaxS === 0 || isOwn) return packet.keepAliveS;
  return packet.keepAliveS === 0 ? keepAliveMaxS : Math.min(packet.keepAliveS, keepAliveMaxS);
}

/** Watches for silence: one and a half times the keep alive [MQTT-3.1.2-22]. */
function keepAlive(shard: Shard, connection: Connection, seconds: number): void {
  if (connection.timer !== null) shard.timers.cancel(connection.timer);
  connection.silenceMaxMs = seconds * 1_500;
  if (seconds === 0) return;
  const timer = new Timer(() => {
    const silentMs = shard.clock.monotonicMs() - connection.lastReceivedMs;
    // A publisher that is held back cannot be heard: its silence is ours. One that holds itself must at least take its answers.
    const isRateHeld = connection.rate?.isHolding === true;
    const isWaiting =
      isRateHeld || isHeld(connection) || shard.waitingForStore.has(connection) || shard.waitingForPeers.has(connection);
    if (isWaiting && !isHeldFor(connection, connection)) shard.timers.set(timer, connection.silenceMaxMs);
    else if (silentMs < connection.silenceMaxMs) shard.timers.set(timer, connection.silenceMaxMs - silentMs);
    else endConnection(shard, connection, Reason.KEEP_ALIVE_TIMEOUT);
  });
  connection.timer = timer;
  shard.timers.set(timer, connection.silenceMaxMs);
}

function connack(
  shard: Shard,
  connection: Connection,
  session: Session,
  arrival: Arrival,
  sessionPresent: boolean,
  authenticationData: Uint8Array | null,
): Uint8Array {
  const { packet } = arrival;
  const { limits, offers } = shard;
  if (packet.level !== Level.V5) {
    // [MQTT3-3.2.2-1] MQTT 3.1 has no session present flag
    return encodeConnack(packet.level, { sessionPresent: sessionPresent && packet.level !== Level.V31, reason: Reason.SUCCESS });
  }
  const keepAlive = keepAliveS(shard, connection, packet);
  const { responseInformation } = offers;
  return encodeConnack(packet.level, {
    sessionPresent,
    reason: Reason.SUCCESS,
    ...(session.expiryS === packet.sessionExpiryS ? {} : { sessionExpiryS: session.expiryS }),
    receiveMaximum: limits.receiveMaximum,
    ...(offers.maximumQos === 2 ? {} : { maximumQos: offers.maximumQos }),
    ...(offers.retainAvailable ? {} : { retainAvailable: false }),
    maximumPacketSize: limits.packetBytesMax,
    ...(arrival.assigned ? { assignedClientId: arrival.clientId } : {}), // [MQTT-3.1.3-6]
    topicAliasMaximum: limits.topicAliasesInMax,
    ...(offers.wildcardSubscriptions ? {} : { wildcardSubscriptions: false }),
    ...(offers.sharedSubscriptions ? {} : { sharedSubscriptions: false }),
    ...(keepAlive === packet.keepAliveS ? {} : { serverKeepAlive: keepAlive }), // [MQTT-3.1.2-21]
    ...(packet.requestResponseInformation && responseInformation !== '' ? { responseInformation } : {}), // [MQTT-3.1.2-28]
    ...(connection.authenticationMethod === null ? {} : { authenticationMethod: connection.authenticationMethod }),
    ...(authenticationData === null ? {} : { authenticationData }),
  });
}
