// HOT: no allocation, closures, strings, try or async per message.
// One PUBLISH to one connection: alias, remaining expiry, size, bytes. In a fan-out the packet is encoded once for each class
// of receiver (protocol level 5 or not, QoS, retain) and copied; only the packet identifier differs.
import { copyBytes, writeU16 } from '../../protocol/bytes.ts';
import { Level } from '../../protocol/packet.ts';
import {
  type MessageView,
  NO_BYTES,
  type PublishHop,
  packetIdOffset,
  publishBytes,
  writePublish,
} from '../../protocol/publish.ts';
import { DropReason } from '../counters.ts';
import type { Connection } from '../sessions/connection.ts';
import type { Shard } from './shard.ts';

/** Class index: level 5 (1 bit) | QoS (2 bits) | retain (1 bit). */
const CLASSES = 16;
const templates: Uint8Array[] = Array.from({ length: CLASSES }, () => NO_BYTES);
const templateBytes = new Int32Array(CLASSES);
/** Larger packets are encoded straight into each outbox: a template would only add a copy. */
const TEMPLATE_BYTES_MAX = 16_384;
/** Fixed header, lengths, packet identifier, expiry and alias at their largest. */
const OVERHEAD_BYTES_MAX = 32;
/** The largest Message Expiry Interval. */
const EXPIRY_S_MAX = 0xffff_ffff;

/** What is left of the message under way in s; -1 while nobody has asked. */
let fanOutExpiryS = -1;

/** Starts a fan-out: templates of the message before are void, and what is left of it. */
export function beginFanOut(): void {
  templateBytes.fill(0);
  fanOutExpiryS = -1;
}

/**
 * Writes one PUBLISH to a connection's outbox. `many`: it is part of a fan-out that `beginFanOut` has begun.
 * False when it exceeds what the client accepts; nothing is written then.
 */
export function sendPublish(
  shard: Shard,
  connection: Connection,
  view: MessageView,
  qos: number,
  retain: number,
  dup: number,
  packetId: number,
  subscriptionIds: Uint8Array,
  many: boolean,
): boolean {
  const { hop } = shard;
  hop.level = connection.level;
  hop.qos = qos;
  hop.retain = retain;
  hop.dup = dup;
  hop.packetId = packetId;
  hop.topicAlias = 0;
  hop.aliasOnly = false;
  hop.subscriptionIds = NO_BYTES;
  hop.expiryS = -1;
  if (connection.level === Level.V5) {
    if (view.expiresAtMs !== Infinity) hop.expiryS = many ? fanOutRemainingS(shard, view) : remainingS(shard, view); // [MQTT-3.3.2-6]
    hop.subscriptionIds = subscriptionIds;
    if (connection.aliasesOut !== null) useAlias(connection, view, hop);
  }
  const shared = many && connection.aliasesOut === null && hop.subscriptionIds.length === 0 && dup === 0;
  const bytes = shared ? writeTemplate(connection, view, hop) : writeOwn(connection, view, hop);
  if (bytes < 0) {
    shard.counters.dropped[DropReason.TOO_LARGE]++; // [MQTT-3.1.2-24]
    return false;
  }
  const { tracer } = connection;
  if (tracer !== null) tracer.note('to client', view, qos, retain, dup);
  shard.counters.publishSent++;
  shard.counters.publishBytesSent += view.payloadTo - view.payloadFrom;
  return true;
}

function remainingS(shard: Shard, view: MessageView): number {
  // A clock that was set back since must not make more of it than the field holds.
  return Math.min(EXPIRY_S_MAX, Math.max(0, Math.ceil((view.expiresAtMs - shard.clock.keptMs()) / 1_000)));
}

/** Once for all receivers: a look at the clock costs as much as a small packet. */
function fanOutRemainingS(shard: Shard, view: MessageView): number {
  if (fanOutExpiryS < 0) fanOutExpiryS = remainingS(shard, view);
  return fanOutExpiryS;
}

function useAlias(connection: Connection, view: MessageView, hop: PublishHop): void {
  // A packet that turns out too large must not spend an alias: the client would never learn the name behind it.
  const bytes = view.payloadTo - view.payloadFrom + view.topicTo - view.topicFrom + view.propertiesTo - view.propertiesFrom;
  if (bytes + OVERHEAD_BYTES_MAX + hop.subscriptionIds.length > connection.packetBytesMax) return;
  const alias = connection.aliasesOut!.use(view.topic, view.topicFrom, view.topicTo);
  hop.aliasOnly = alias > 0;
  hop.topicAlias = alias < 0 ? -alias : alias;
}

/** Encodes for this connection alone; returns the bytes written, -1 when too large. */
function writeOwn(connection: Connection, view: MessageView, hop: PublishHop): number {
  const bytes = publishBytes(view, hop);
  if (bytes > connection.packetBytesMax) return -1;
  const at = connection.outbox.reserve(bytes);
  writePublish(connection.outbox.block, at, view, hop);
  return bytes;
}

function writeTemplate(connection: Connection, view: MessageView, hop: PublishHop): number {
  const index = (hop.level === Level.V5 ? 1 : 0) | (hop.qos << 1) | (hop.retain << 3);
  let bytes = templateBytes[index]!;
  if (bytes === 0) {
    bytes = publishBytes(view, hop);
    if (bytes > TEMPLATE_BYTES_MAX) return writeOwn(connection, view, hop);
    if (templates[index]!.length === 0) templates[index] = new Uint8Array(TEMPLATE_BYTES_MAX);
    writePublish(templates[index]!, 0, view, hop);
    templateBytes[index] = bytes;
  }
  if (bytes > connection.packetBytesMax) return -1;
  const at = connection.outbox.reserve(bytes);
  copyBytes(templates[index]!, 0, bytes, connection.outbox.block, at);
  if (hop.qos !== 0) {
    writeU16(connection.outbox.block, at + packetIdOffset(bytes, view.topicTo - view.topicFrom), hop.packetId);
  }
  return bytes;
}
