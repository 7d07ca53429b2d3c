// The packets by which a bridge begins and ends at either side, encoded: CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, and the PUBLISH that tells the remote side whether the link stands.
import type { IConnectPacket, ISubscription } from 'mqtt-packet';
import { encode } from '../../protocol/cold.ts';
import { SESSION_NEVER_EXPIRES } from '../../protocol/connect.ts';
import { Level } from '../../protocol/packet.ts';
import { type BridgeTopic, localFilterOf, remoteFilterOf } from '../config/bridge-topics.ts';
import type { BridgeConfig } from '../config/bridges.ts';
import type { Manner } from './protocol-choice.ts';

export const PINGREQ: Uint8Array = Uint8Array.of(0xc0, 0);
export const DISCONNECT: Uint8Array = Uint8Array.of(0xe0, 0);

const STANDS = Buffer.from('1');
const IS_CUT = Buffer.from('0');

export interface RemoteIdentity {
  readonly clientId: string;
  /** Null where there is none. */
  readonly password: Buffer | null;
}

/** What this broker can take, for the CONNECT to the remote one. */
export interface Takes {
  readonly receiveMaximum: number;
  readonly maximumPacketSize: number;
}

export function connectRemote(
  config: BridgeConfig,
  { level, isPrivate }: Manner,
  identity: RemoteIdentity,
  takes: Takes,
): Uint8Array {
  const { clientId, password } = identity;
  const { remoteUsername, notificationTopic, cleanStart, sessionExpiryS } = config;
  const packet: IConnectPacket & { bridgeMode?: boolean } = {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: level === Level.V5 ? 5 : 4,
    clientId,
    clean: cleanStart,
    keepalive: config.keepaliveIntervalS,
    ...(isPrivate ? { bridgeMode: true } : {}),
    ...(remoteUsername === '' ? {} : { username: remoteUsername }),
    ...(password === null ? {} : { password }),
    ...(notificationTopic === '' ? {} : { will: { topic: notificationTopic, payload: IS_CUT, qos: 0, retain: true } }),
    ...(level === Level.V5 ? { properties: { sessionExpiryInterval: cleanStart ? 0 : sessionExpiryS, ...takes } } : {}),
  };
  return encode(packet, level);
}

/** @param receiveMaximum messages that may be on their way to the remote broker at a time */
export function connectLocal(clientId: string, clean: boolean, receiveMaximum: number): Uint8Array {
  const sessionExpiryInterval = clean ? 0 : SESSION_NEVER_EXPIRES;
  const properties = { sessionExpiryInterval, receiveMaximum, requestProblemInformation: false };
  return encode({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId, clean, keepalive: 0, properties }, Level.V5);
}

/** One filter of a SUBSCRIBE. */
export interface Wish {
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  readonly retainHandling: 0 | 1 | 2;
}

/** Filters of lines of one direction, each once, with the highest QoS that a line has for it. */
export function wishesOf(topics: readonly BridgeTopic[], way: 'out' | 'in'): { filter: string; qos: 0 | 1 | 2 }[] {
  const filterOf = way === 'out' ? localFilterOf : remoteFilterOf;
  const wishes = new Map<string, 0 | 1 | 2>();
  for (const topic of topics) {
    if (topic.direction !== way && topic.direction !== 'both') continue;
    const filter = filterOf(topic);
    wishes.set(filter, Math.max(topic.qos, wishes.get(filter) ?? 0) as 0 | 1 | 2);
  }
  return Array.from(wishes, ([filter, qos]) => ({ filter, qos }));
}

/** No Local, so that nothing comes back; Retain As Published, so that what is retained can be retained there too. */
export function subscribe(level: Level, packetId: number, wishes: readonly Wish[]): Uint8Array {
  const subscriptions: ISubscription[] = wishes.map(({ filter, qos, retainHandling }) =>
    level === Level.V5 ? { topic: filter, qos, nl: true, rap: true, rh: retainHandling } : { topic: filter, qos },
  );
  return encode({ cmd: 'subscribe', messageId: packetId, subscriptions }, level);
}

export function unsubscribe(packetId: number, filters: readonly string[]): Uint8Array {
  return encode({ cmd: 'unsubscribe', messageId: packetId, unsubscriptions: [...filters] }, Level.V5);
}

/** Tells the remote side whether the link stands. At QoS 0: no identifier of the session is used up. */
export function notification(level: Level, topic: string, stands: boolean): Uint8Array {
  const payload = stands ? STANDS : IS_CUT;
  return encode({ cmd: 'publish', topic, payload, qos: 0, retain: true, dup: false }, level);
}
