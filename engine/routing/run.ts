// HOT: no allocation, closures, strings, try or async per message.
// A run: QoS 0 messages that lie one behind the other in the read buffer and go to the same receivers, whatever their topics. They
// are copied to a receiver in one piece instead of packet by packet. A receiver of the other protocol family (with or without
// properties) gets them re-encoded once for all such receivers; one with aliases, subscription identifiers or a Maximum Packet
// Size gets them one by one. The run is flushed before anything else of the chunk is handled, so order holds.
//
// A packet joins when its header is exactly 0x30 and, at level 5, its property length is 0.
import { equalBytes, readU16, writeVarint } from '../../protocol/bytes.ts';
import { Level } from '../../protocol/packet.ts';
import { type MessageView, NO_BYTES } from '../../protocol/publish.ts';
import { DropReason } from '../counters.ts';
import type { Connection } from '../sessions/connection.ts';
import { SubscriptionOption, type Target } from '../sessions/target.ts';
import { deliverToGroup } from './deliver.ts';
import { isOverMark, Pressure, pressOn } from './pressure.ts';
import { sendRunTo } from './remote.ts';
import type { Route } from './route.ts';
import { sendPublish } from './send.ts';
import type { Shard } from './shard.ts';

/** A run is flushed when it has grown to this: one outbox block. */
const RUN_BYTES_MAX = 65_536;
const WORD_BYTES = 4;
const NO_WORDS = new DataView(new ArrayBuffer(0));

export class PublishRun {
  buffer: Uint8Array = NO_BYTES;
  /** First byte of the first packet, and the byte after the last. */
  from = 0;
  to = 0;
  messages = 0;
  payloadBytes = 0;
  level: Level = Level.V311;
  /** Topic name of the last packet whose route was looked up; those behind it have the same. */
  topicFrom = 0;
  topicTo = 0;
  route: Route | null = null;
  /** The run re-encoded for the other family, [0, otherBytes); 0 while not needed. */
  other: Uint8Array = NO_BYTES;
  otherBytes = 0;
  /** The buffer as words of any alignment, made for the first comparison in it: byte by byte it would cost three times as much. */
  #words: DataView = NO_WORDS;
  #viewed: Uint8Array = NO_BYTES;

  /** Whether the packet [packetFrom, to) lies right behind the run, which has room for it. */
  reaches(buffer: Uint8Array, packetFrom: number, to: number): boolean {
    return packetFrom === this.to && buffer === this.buffer && this.messages > 0 && to - this.from <= RUN_BYTES_MAX;
  }

  /** Whether a topic name in the run's buffer is the last one that was looked up. */
  hasTopic(topicFrom: number, topicTo: number): boolean {
    const length = topicTo - topicFrom;
    if (length !== this.topicTo - this.topicFrom) return false;
    if (length < WORD_BYTES) return equalBytes(this.buffer, topicFrom, topicTo, this.buffer, this.topicFrom, this.topicTo);
    if (this.#viewed !== this.buffer) this.#look();
    const words = this.#words;
    // From the end, where topics differ; the first word and the second may overlap.
    for (let at = length - WORD_BYTES; at > 0; at -= WORD_BYTES) {
      if (words.getInt32(topicFrom + at) !== words.getInt32(this.topicFrom + at)) return false;
    }
    return words.getInt32(topicFrom) === words.getInt32(this.topicFrom);
  }

  #look(): void {
    const { buffer } = this;
    this.#viewed = buffer;
    this.#words = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  }

  /** Adds the packet that ends at `to`. */
  extend(payloadBytes: number, to: number): void {
    this.to = to;
    this.messages++;
    this.payloadBytes += payloadBytes;
  }

  /** Takes a run from another shard, whose receivers are known. */
  borrow(buffer: Uint8Array, from: number, to: number, messages: number, payloadBytes: number, level: Level): void {
    this.buffer = buffer;
    this.from = from;
    this.to = to;
    this.messages = messages;
    this.payloadBytes = payloadBytes;
    this.level = level;
    this.otherBytes = 0;
  }

  clear(): void {
    this.messages = 0;
    this.buffer = NO_BYTES;
    this.route = null;
  }

  begin(buffer: Uint8Array, packetFrom: number, payloadBytes: number, to: number, level: Level, route: Route): void {
    this.buffer = buffer;
    this.from = packetFrom;
    this.to = to;
    this.messages = 1;
    this.payloadBytes = payloadBytes;
    this.level = level;
    this.route = route;
    this.otherBytes = 0;
  }
}

/** Sends the run to its receivers and empties it. */
export function flushRun(shard: Shard, publisher: Connection): void {
  const { run } = shard;
  if (run.messages === 0) return;
  const route = run.route!;
  shard.counters.publishReceived += run.messages;
  shard.counters.publishBytesReceived += run.payloadBytes;
  const own = publisher.session === null ? -1 : publisher.session.handle;
  const { targets, groups, remotes } = route;
  for (let i = 0; i < targets.length; i++) {
    let target: Target | null = targets[i]!;
    if (target.subscriber === own && (target.options & SubscriptionOption.NO_LOCAL) !== 0) {
      target = target.ofOwn; // [MQTT-3.8.3-3]
      if (target === null) continue;
    }
    sendRun(shard, publisher, run, target);
  }
  for (let i = 0; i < remotes.length; i++) sendRunTo(shard, publisher, run, remotes[i]!);
  if (groups.length > 0) {
    for (let at = run.from; at < run.to; ) {
      at = viewPacket(run.buffer, at, run.level, shard.inbound);
      for (let i = 0; i < groups.length; i++) deliverToGroup(shard, publisher, shard.inbound, route, groups[i]!);
    }
  }
  run.clear();
}

/** Sends the run to one receiver; `publisher` is null for one of another shard. */
export function sendRun(shard: Shard, publisher: Connection | null, run: PublishRun, target: Target): void {
  const session = shard.sessions.at(target.subscriber);
  if (session === null) return;
  const { connection } = session;
  if (connection === null) {
    if (session.principal.isBroker === true) shard.counters.dropped[DropReason.NO_LINK] += run.messages;
    return;
  }
  if (isOverMark(shard, connection) && pressOn(shard, connection, publisher) === Pressure.DROP) {
    shard.counters.dropped[DropReason.SLOW_RECEIVER] += run.messages;
    return;
  }
  if (!connection.plain || (connection.level === Level.V5 && target.subscriptionIds.length > 0)) {
    for (let at = run.from; at < run.to; ) {
      at = viewPacket(run.buffer, at, run.level, shard.inbound);
      sendPublish(shard, connection, shard.inbound, 0, 0, 0, 0, target.subscriptionIds, false);
    }
    return;
  }
  if ((connection.level === Level.V5) === (run.level === Level.V5)) {
    connection.outbox.append(run.buffer, run.from, run.to);
  } else {
    if (run.otherBytes === 0) run.otherBytes = reencode(run);
    connection.outbox.append(run.other, 0, run.otherBytes);
  }
  shard.counters.packetsSent += run.messages - 1; // the outbox has counted one
  shard.counters.publishSent += run.messages;
  shard.counters.publishBytesSent += run.payloadBytes;
}

/** Writes the run for the other family: a property length of 0 is put in behind each topic, or taken out. */
function reencode(run: PublishRun): number {
  const adds = run.level !== Level.V5;
  const bytesMax = run.to - run.from + run.messages * 2;
  if (run.other.length < bytesMax) run.other = new Uint8Array(bytesMax);
  const { buffer, other } = run;
  let out = 0;
  for (let at = run.from; at < run.to; ) {
    const body = skipLength(buffer, at + 1);
    const length = readLength(buffer, at + 1);
    const topicBytes = 2 + readU16(buffer, body);
    other[out] = 0x30;
    out = writeVarint(other, out + 1, adds ? length + 1 : length - 1);
    for (let i = 0; i < topicBytes; i++) other[out + i] = buffer[body + i]!;
    out += topicBytes;
    if (adds) other[out++] = 0;
    const payloadFrom = body + topicBytes + (adds ? 0 : 1);
    const end = body + length;
    for (let i = payloadFrom; i < end; i++) other[out++] = buffer[i]!;
    at = end;
  }
  return out;
}

/** Points `view` at the packet at `at`; returns the offset after it. */
function viewPacket(buffer: Uint8Array, at: number, level: Level, view: MessageView): number {
  const body = skipLength(buffer, at + 1);
  const end = body + readLength(buffer, at + 1);
  view.topic = buffer;
  view.topicFrom = body + 2;
  view.topicTo = body + 2 + readU16(buffer, body);
  const payloadFrom = view.topicTo + (level === Level.V5 ? 1 : 0);
  view.properties = NO_BYTES;
  view.propertiesFrom = 0;
  view.propertiesTo = 0;
  view.payload = buffer;
  view.payloadFrom = payloadFrom;
  view.payloadTo = end;
  view.qos = 0;
  view.retain = 0;
  view.dup = 0;
  view.packetId = 0;
  view.topicAlias = 0;
  view.expiryS = -1;
  view.expiresAtMs = Infinity;
  return end;
}

/** Offset of the byte after the length field at `at`, which the framer has judged. */
function skipLength(buffer: Uint8Array, at: number): number {
  let end = at;
  while (buffer[end]! >= 128) end++;
  return end + 1;
}

function readLength(buffer: Uint8Array, at: number): number {
  let value = 0;
  let shift = 0;
  let end = at;
  while (buffer[end]! >= 128) {
    value |= (buffer[end++]! & 127) << shift;
    shift += 7;
  }
  return value | (buffer[end]! << shift);
}
