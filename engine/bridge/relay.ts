// HOT: no allocation, closures, strings, try or async per message.
// What passes between the two sides of a bridge while its link stands. Packet identifiers go through as they are, so that each handshake is between the session in this broker and the remote one, and nothing is
// kept here but what one link needs:
//
//   out   PUBLISH of the session ─► remote      PUBACK, PUBREC, PUBCOMP ─► session      PUBREL ─► remote
//   in    PUBLISH of the remote ─► broker       PUBACK, PUBREC, PUBCOMP ─► remote       PUBREL ─► broker
//
// A message leaves the session when the remote broker acknowledges it, because that acknowledgement is the session's. What only one of the sides can do (QoS 2, properties, reason codes) is played for the other.
// Both sides' bytes are judged in full; what neither can take is answered here, counted, and goes no further.
import { AckView, decodeAck, writeAck } from '../../protocol/ack.ts';
import type { Limits } from '../../protocol/limits.ts';
import { fault, Level, PacketType, Reason } from '../../protocol/packet.ts';
import { Properties } from '../../protocol/properties.ts';
import { decodePublish, MessageView, NO_BYTES, PublishHop, publishBytes, writePublish } from '../../protocol/publish.ts';
import { validateTopicName } from '../../protocol/topic.ts';
import type { LoopTag } from './loop-tag.ts';
import { PacketBuffer } from './packet-buffer.ts';
import type { TopicMap } from './topic-map.ts';

/** Says that a packet is not one that passes. */
export const NOT_RELAYED = 1;

const ACK_BYTES = 4;
const STRING_BYTES_MAX = 65_535;
/** As many as a packet can hold: who counts them is the one that is to take them. */
const ANY_USER_PROPERTIES = Number.MAX_SAFE_INTEGER;

/** What CONNACK of the remote broker and the bridge's own options have settled for one link. */
export interface RelayTerms {
  readonly level: Level;
  readonly maximumQos: 0 | 1 | 2;
  readonly retainAvailable: boolean;
  /** 0: no limit. */
  readonly maximumPacketSize: number;
  /** Before which messages the remote broker is told to forget their identifiers, of which it may hold some from before: those of a session here that is new, all, or none. */
  readonly releases: 'none' | 'new' | 'all';
  readonly outgoingRetain: boolean;
}

export interface RelayTotals {
  messagesOut: number;
  messagesIn: number;
  refusedOut: number;
  refusedIn: number;
  looped: number;
}

/** What a relay asks of the broker that it is in. */
export interface RelayHost {
  readonly limits: Limits;
  readonly maximumQos: number;
  readonly retainAvailable: boolean;
  /** Whether this broker takes no message at all now: the remote one is to keep it. */
  isRefusing(): boolean;
  /** Whether the session gives out packet identifiers for the first time. */
  isNewSession(): boolean;
}

export class Relay {
  readonly toRemote = new PacketBuffer();
  readonly toLocal = new PacketBuffer();
  /** Identifiers that the broker was asked to forget and has not answered for. */
  readonly forgetting = new Set<number>();
  /** Identifiers that the broker holds from an earlier link, and of which the remote one has said nothing on this. */
  readonly held = new Set<number>();
  /**
   * This broker takes nothing more: QoS 1 and 2 of the remote one stay without an answer, so that it keeps them and sends them again by the next link. What goes out goes on meanwhile, and may be what makes room.
   */
  isWithholding = false;
  readonly #terms: RelayTerms;
  readonly #host: RelayHost;
  readonly #out: TopicMap;
  readonly #in: TopicMap;
  readonly #tag: LoopTag;
  readonly #totals: RelayTotals;
  /** QoS 2 of the session that went to a remote broker which knows QoS 1 only. */
  readonly #lowered = new Set<number>();
  /** Identifiers that the remote broker was asked to forget and has not answered for. */
  readonly #releasing = new Set<number>();
  /** QoS 2 from the remote broker that was answered here. */
  readonly #answered = new Set<number>();
  readonly #view = new MessageView();
  readonly #hop = new PublishHop();
  readonly #ack = new AckView();
  readonly #properties = new Properties();
  #scratch = new Uint8Array(4_096);

  constructor(terms: RelayTerms, host: RelayHost, out: TopicMap, into: TopicMap, tag: LoopTag, totals: RelayTotals) {
    this.#terms = terms;
    this.#host = host;
    this.#out = out;
    this.#in = into;
    this.#tag = tag;
    this.#totals = totals;
  }

  /** One packet of the session. Returns 0, NOT_RELAYED, or a fault that ends the link. */
  fromLocal(buffer: Uint8Array, header: number, from: number, to: number): number {
    const type = (header >>> 4) as PacketType;
    if (type === PacketType.PUBLISH) return this.#publishOut(buffer, header, from, to);
    if (type < PacketType.PUBACK || type > PacketType.PUBCOMP) return NOT_RELAYED;
    const ack = this.#ack;
    const decoded = decodeAck(buffer, header, from, to, Level.V5, ANY_USER_PROPERTIES, ack);
    if (decoded < 0) return decoded;
    const { packetId, reason } = ack;
    if (type === PacketType.PUBREL) {
      if (this.#terms.maximumQos === 2) this.#ackRemote(type, packetId, reason);
      else this.#ackLocal(PacketType.PUBCOMP, packetId, Reason.SUCCESS); // its PUBLISH went at a lower QoS
      return 0;
    }
    if (type === PacketType.PUBCOMP) {
      if (!this.forgetting.delete(packetId)) this.#ackRemote(type, packetId, reason);
      return 0;
    }
    if (reason === Reason.QUOTA_EXCEEDED && this.#host.isRefusing()) {
      this.isWithholding = true;
      return 0;
    }
    if (reason >= Reason.UNSPECIFIED) this.#totals.refusedIn++;
    this.#ackRemote(type, packetId, reason);
    return 0;
  }

  /** One packet of the remote broker. Returns the same. */
  fromRemote(buffer: Uint8Array, header: number, from: number, to: number): number {
    const type = (header >>> 4) as PacketType;
    if (type === PacketType.PUBLISH) return this.#publishIn(buffer, header, from, to);
    if (type < PacketType.PUBACK || type > PacketType.PUBCOMP) return NOT_RELAYED;
    const ack = this.#ack;
    const decoded = decodeAck(buffer, header, from, to, this.#terms.level, ANY_USER_PROPERTIES, ack);
    if (decoded < 0) return decoded;
    const { packetId, reason } = ack;
    if (type === PacketType.PUBREL) {
      this.held.delete(packetId);
      if (this.#answered.delete(packetId)) this.#ackRemote(PacketType.PUBCOMP, packetId, Reason.SUCCESS);
      else this.#ackLocal(type, packetId, reason);
      return 0;
    }
    if (type === PacketType.PUBCOMP) {
      if (!this.#releasing.delete(packetId)) this.#ackLocal(type, packetId, reason);
      return 0;
    }
    if (reason === Reason.QUOTA_EXCEEDED) return fault(Reason.QUOTA_EXCEEDED); // it stays here until there is room there
    if (reason >= Reason.UNSPECIFIED) this.#totals.refusedOut++;
    const isLowered = type === PacketType.PUBACK && this.#lowered.delete(packetId);
    this.#ackLocal(isLowered ? PacketType.PUBREC : type, packetId, reason);
    return 0;
  }

  /** Asks the broker to forget an identifier of a remote session that is no more: a new message may have it. */
  forget(packetId: number): void {
    this.forgetting.add(packetId);
    this.#ackLocal(PacketType.PUBREL, packetId, Reason.SUCCESS);
  }

  #publishOut(buffer: Uint8Array, header: number, from: number, to: number): number {
    const view = this.#view;
    const hop = this.#hop;
    const { level, maximumQos, retainAvailable, maximumPacketSize, outgoingRetain } = this.#terms;
    const decoded = this.#decode(buffer, header, from, to, Level.V5);
    if (decoded < 0) return decoded;
    const { qos, packetId } = view;
    if (this.#tag.wasSent(view)) {
      this.#totals.looped++;
      this.#finishLocal(qos, packetId);
      return 0;
    }
    const nameBytes = this.#out.rename(view.topic, view.topicFrom, view.topicTo);
    hop.level = level;
    hop.qos = Math.min(qos, maximumQos);
    hop.retain = retainAvailable && outgoingRetain ? view.retain : 0;
    hop.dup = hop.qos === 0 ? 0 : view.dup;
    hop.subscriptionIds = level === Level.V5 ? this.#tag.out : NO_BYTES;
    const bytes = this.#measure(this.#out, nameBytes);
    if (bytes < 0 || (maximumPacketSize !== 0 && bytes > maximumPacketSize)) {
      this.#totals.refusedOut++;
      this.#finishLocal(qos, packetId);
      return 0;
    }
    if (hop.qos === 2 && this.#mayBeHeldThere()) {
      // The message would be taken for a copy of the one that had the identifier before.
      this.#releasing.add(packetId);
      this.#ackRemote(PacketType.PUBREL, packetId, Reason.SUCCESS);
    }
    const at = this.toRemote.reserve(bytes);
    writePublish(this.toRemote.block, at, view, hop);
    this.#totals.messagesOut++;
    if (qos === 2 && hop.qos === 1) this.#lowered.add(packetId);
    else if (qos > 0 && hop.qos === 0)
      this.#ackLocal(qos === 1 ? PacketType.PUBACK : PacketType.PUBREC, packetId, Reason.SUCCESS);
    return 0;
  }

  #mayBeHeldThere(): boolean {
    const { releases } = this.#terms;
    return releases === 'all' || (releases === 'new' && this.#hop.dup === 0 && this.#host.isNewSession());
  }

  #publishIn(buffer: Uint8Array, header: number, from: number, to: number): number {
    const view = this.#view;
    const hop = this.#hop;
    const { limits, maximumQos, retainAvailable } = this.#host;
    const decoded = this.#decode(buffer, header, from, to, this.#terms.level);
    if (decoded < 0) return decoded;
    // No alias was offered.
    if (view.topicAlias !== 0) return fault(Reason.TOPIC_ALIAS_INVALID);
    if (view.topicFrom === view.topicTo) return fault(Reason.TOPIC_NAME_INVALID);
    const { qos, packetId } = view;
    if (this.#tag.wasHere(view)) {
      this.#totals.looped++;
      this.#answerRemote(qos, packetId, Reason.SUCCESS);
      return 0;
    }
    if (qos > 0 && (this.isWithholding || this.#host.isRefusing())) {
      this.isWithholding = true;
      return 0;
    }
    const { userProperties } = this.#properties;
    const isDescribed = view.propertiesTo > view.propertiesFrom;
    const properties = isDescribed ? userProperties : 0;
    const nameBytes = this.#in.rename(view.topic, view.topicFrom, view.topicTo);
    hop.level = Level.V5;
    hop.qos = qos;
    hop.retain = retainAvailable ? view.retain : 0;
    hop.dup = view.dup;
    hop.subscriptionIds = properties < limits.userPropertiesMax ? this.#tag.in : NO_BYTES;
    const bytes = this.#measure(this.#in, nameBytes);
    // Judged as the broker would, which ends the connection where a client should know better: the message would come again, and again.
    const isTaken =
      bytes >= 0 &&
      bytes <= limits.packetBytesMax &&
      qos <= maximumQos &&
      properties <= limits.userPropertiesMax &&
      validateTopicName(this.#in.name, 0, nameBytes, limits.topicBytesMax, limits.topicLevelsMax) >= 0;
    if (!isTaken) {
      this.#totals.refusedIn++;
      this.#answerRemote(qos, packetId, nameBytes < 0 ? Reason.TOPIC_NAME_INVALID : Reason.IMPLEMENTATION_SPECIFIC);
      return 0;
    }
    // A copy says that it is one [MQTT-3.3.1-1]. This is another message: the remote broker has lost its session, on a link of which a kill or a cut left nothing here.
    if (qos === 2 && this.held.delete(packetId) && view.dup === 0) this.forget(packetId);
    const at = this.toLocal.reserve(bytes);
    writePublish(this.toLocal.block, at, view, hop);
    this.#totals.messagesIn++;
    return 0;
  }

  #decode(buffer: Uint8Array, header: number, from: number, to: number, level: Level): number {
    if (this.#scratch.length < to - from && level === Level.V5) this.#scratch = new Uint8Array((to - from) * 2);
    const decoded = decodePublish(
      buffer,
      header,
      from,
      to,
      level,
      ANY_USER_PROPERTIES,
      this.#properties,
      this.#scratch,
      this.#view,
    );
    this.#hop.packetId = this.#view.packetId;
    return decoded;
  }

  /** Gives the message its name at the other side; the size of its packet, or -1 where it has none. */
  #measure(map: TopicMap, nameBytes: number): number {
    if (nameBytes < 0 || nameBytes > STRING_BYTES_MAX) return -1;
    const view = this.#view;
    const hop = this.#hop;
    view.topic = map.name;
    view.topicFrom = 0;
    view.topicTo = nameBytes;
    hop.expiryS = view.expiryS;
    return publishBytes(view, hop);
  }

  /** The session is done with a message that goes nowhere. */
  #finishLocal(qos: number, packetId: number): void {
    if (qos === 1) this.#ackLocal(PacketType.PUBACK, packetId, Reason.SUCCESS);
    // A refusal ends the handshake at once.
    else if (qos === 2) this.#ackLocal(PacketType.PUBREC, packetId, Reason.IMPLEMENTATION_SPECIFIC);
  }

  /** The remote broker is done with a message that goes nowhere. */
  #answerRemote(qos: number, packetId: number, reason: Reason): void {
    if (qos === 1) this.#ackRemote(PacketType.PUBACK, packetId, reason);
    if (qos !== 2) return;
    this.#ackRemote(PacketType.PUBREC, packetId, reason);
    if (reason < Reason.UNSPECIFIED || this.#terms.level !== Level.V5) this.#answered.add(packetId);
  }

  #ackLocal(type: PacketType, packetId: number, reason: Reason): void {
    const bytes = reason === Reason.SUCCESS ? ACK_BYTES : ACK_BYTES + 1;
    const at = this.toLocal.reserve(bytes);
    writeAck(this.toLocal.block, at, type, packetId, reason, Level.V5);
  }

  #ackRemote(type: PacketType, packetId: number, reason: Reason): void {
    const { level } = this.#terms;
    const bytes = reason === Reason.SUCCESS || level !== Level.V5 ? ACK_BYTES : ACK_BYTES + 1;
    const at = this.toRemote.reserve(bytes);
    writeAck(this.toRemote.block, at, type, packetId, reason, level);
  }
}
