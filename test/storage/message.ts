// Messages as tests want them: made from strings, compared as strings, copied whole.
import { MessageView } from '../../protocol/publish.ts';

export interface MessageFields {
  readonly topic?: string;
  readonly payload?: string | Uint8Array;
  /** Encoded properties. */
  readonly properties?: Uint8Array;
  readonly qos?: number;
  readonly retain?: number;
  readonly expiresAtMs?: number;
}

/** A message whose three parts lie in three buffers, none of them at its start. */
export function messageOf(fields: MessageFields): MessageView {
  const view = new MessageView();
  const topic = Buffer.from(`<${fields.topic ?? 't'}>`);
  const payload = Buffer.concat([Buffer.from('<<'), Buffer.from(fields.payload ?? ''), Buffer.from('>')]);
  const properties = Buffer.concat([Buffer.from('<<<'), fields.properties ?? Buffer.alloc(0), Buffer.from('>')]);
  view.topic = topic;
  view.topicFrom = 1;
  view.topicTo = topic.length - 1;
  view.payload = payload;
  view.payloadFrom = 2;
  view.payloadTo = payload.length - 1;
  view.properties = properties;
  view.propertiesFrom = 3;
  view.propertiesTo = properties.length - 1;
  view.qos = fields.qos ?? 0;
  view.retain = fields.retain ?? 0;
  view.expiresAtMs = fields.expiresAtMs ?? Infinity;
  return view;
}

/** What outlives a packet of a message, to be compared. */
export function fieldsOf(view: MessageView): Required<MessageFields> {
  return {
    topic: Buffer.from(cut(view.topic, view.topicFrom, view.topicTo)).toString(),
    payload: payloadOf(view),
    properties: cut(view.properties, view.propertiesFrom, view.propertiesTo),
    qos: view.qos,
    retain: view.retain,
    expiresAtMs: view.expiresAtMs,
  };
}

/** What a delivery keeps of a message: QoS and retain are those of the delivery. */
export function contentOf(view: MessageView): Omit<Required<MessageFields>, 'qos' | 'retain'> {
  const { topic, payload, properties, expiresAtMs } = fieldsOf(view);
  return { topic, payload, properties, expiresAtMs };
}

/** As a string in which every byte is a character. */
export function payloadOf(view: MessageView): string {
  return Buffer.from(cut(view.payload, view.payloadFrom, view.payloadTo)).toString('latin1');
}

/** A copy, of a Buffer too: its own `slice` is none. */
function cut(bytes: Uint8Array, from: number, to: number): Uint8Array {
  return Uint8Array.from(bytes.subarray(from, to));
}

/** Bytes of topic, properties and payload together. */
export function bytesOf(view: MessageView): number {
  return view.topicTo - view.topicFrom + view.propertiesTo - view.propertiesFrom + view.payloadTo - view.payloadFrom;
}

/** A copy that borrows nothing of `view`. */
export function copyMessage(view: MessageView): MessageView {
  const copy = new MessageView();
  copy.topic = cut(view.topic, view.topicFrom, view.topicTo);
  copy.topicTo = copy.topic.length;
  copy.properties = cut(view.properties, view.propertiesFrom, view.propertiesTo);
  copy.propertiesTo = copy.properties.length;
  copy.payload = cut(view.payload, view.payloadFrom, view.payloadTo);
  copy.payloadTo = copy.payload.length;
  copy.qos = view.qos;
  copy.retain = view.retain;
  copy.expiresAtMs = view.expiresAtMs;
  return copy;
}
