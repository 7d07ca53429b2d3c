// The language between the engine and the storage thread: what stands in a record of the two rings. Both ends of every record are in this
// folder (spool-store.ts and served-client.ts); this file has the numbers and the shape of a message.
//
// Content of a record, 8-aligned:   0 operation i32 | 4 session i32 | 8 number f64 | 16 operands i32 …
// A message in a record:            topic, properties and payload, one behind the other, after its sizes
//
// What does not fit a ring (LARGE_BYTES) goes through a message port beside it; the record says so, and keeps its place in the order.
import { copyBytes } from '../protocol/bytes.ts';
import type { MessageView } from '../protocol/publish.ts';

/** From the engine. Those up to LAST_INTENT are counted. */
export const Intent = {
  PUT_SESSION: 1,
  DROP_SESSION: 2,
  PUT_SUBSCRIPTION: 3,
  DROP_SUBSCRIPTION: 4,
  PUT_MESSAGE: 5,
  ADD_DELIVERY: 6,
  MARK_RECEIVED: 7,
  DROP_DELIVERY: 8,
  TRIM: 9,
  ADD_INBOUND: 10,
  DROP_INBOUND: 11,
  PUT_RETAINED: 12,
  DROP_RETAINED: 13,
  READ: 32,
  RECOVER: 33,
  INVENTORY: 34,
  /** Of client 0: the spool is closed. Of another: it leaves. */
  CLOSE: 35,
  /** What another client has shown by now is to become durable with this, or before. */
  DEPENDS: 36,
  /** What was let go by now, and what was set aside as far as the number says, is to be erased at once, and reported. */
  ERASE: 37,
  OLDEST: 38,
} as const;
export type Intent = (typeof Intent)[keyof typeof Intent];

export const LAST_INTENT = Intent.DROP_RETAINED;

/** Beside the operation of the last intent that could be shown when the ring was full: its message is in the midst, and the rest comes at once. */
export const MORE_BIT = 0x100;

/** From the storage thread. */
export const Report = {
  DELIVERY: 1,
  READ_END: 2,
  GONE: 3,
  RETAINED_GONE: 4,
  TROUBLE: 5,
  SESSION: 6,
  SUBSCRIPTION: 7,
  DELIVERIES: 8,
  INBOUND: 9,
  RETAINED: 10,
  RECOVERED: 11,
  INVENTORY: 12,
  /** The client has left: nothing follows. */
  LEFT: 13,
  /** The watermark or the state moved: see the figures. */
  DURABLE: 14,
  /** What was let go before an ERASE is beyond recovery: how many values that were set aside; -1 when the disk does not let it. */
  ERASED: 15,
  OLDEST: 16,
} as const;
export type Report = (typeof Report)[keyof typeof Report];

/** Bytes of content before the operands' end: operation, session, number, six operands. */
export const RECORD_FIXED_BYTES = 40;
/** Contents above this go through the port. */
export const LARGE_BYTES = 1_048_576;

/** Word offsets of the operands from the content's beginning. */
export const Operand = { A: 4, B: 5, C: 6, D: 7, E: 8, F: 9 } as const;

/** The parts of a message that a record or a port's buffer holds. */
export interface MessageSizes {
  topicBytes: number;
  propertyBytes: number;
  payloadBytes: number;
}

export function messageBytes(view: MessageView): number {
  return view.topicTo - view.topicFrom + view.propertiesTo - view.propertiesFrom + view.payloadTo - view.payloadFrom;
}

/** Writes topic, properties and payload at `at`; returns the offset after them. */
export function writeMessage(bytes: Uint8Array, at: number, view: MessageView): number {
  let to = copyBytes(view.topic, view.topicFrom, view.topicTo, bytes, at);
  to = copyBytes(view.properties, view.propertiesFrom, view.propertiesTo, bytes, to);
  return copyBytes(view.payload, view.payloadFrom, view.payloadTo, bytes, to);
}

/** Points `view` at a message that lies at `at` of `bytes`. */
export function viewMessage(view: MessageView, bytes: Uint8Array, at: number, sizes: MessageSizes): void {
  view.topic = bytes;
  view.topicFrom = at;
  view.topicTo = at + sizes.topicBytes;
  view.properties = bytes;
  view.propertiesFrom = view.topicTo;
  view.propertiesTo = view.topicTo + sizes.propertyBytes;
  view.payload = bytes;
  view.payloadFrom = view.propertiesTo;
  view.payloadTo = view.propertiesTo + sizes.payloadBytes;
  view.dup = 0;
  view.packetId = 0;
  view.topicAlias = 0;
  view.expiryS = -1;
}
