// Builders of raw packets for tests. Each takes every field as given, so that a test can write what no client library would:
// reserved bits, identifier 0, wrong lengths. Nothing here checks anything; the length of the rest is the only field computed.

/** 3 is MQTT 3.1, 4 is MQTT 3.1.1, 5 is MQTT 5.0. */
export type Level = 3 | 4 | 5;

/** A string stands for its UTF-8 bytes; a buffer is taken as it is, valid or not. */
export type Text = string | Buffer;

/** `hex('c0 00')`; spaces are free. */
export function hex(digits: string): Buffer {
  return Buffer.from(digits.replace(/\s/g, ''), 'hex');
}

export const u8 = (value: number): Buffer => Buffer.from([value]);
export const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Variable byte integer in its shortest form (MQTT 5.0 §1.5.5). */
export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    const digit = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? digit | 0x80 : digit);
  } while (rest > 0);
  return Buffer.from(bytes);
}

/** Two bytes of length, then the bytes: a string or binary data (MQTT 5.0 §1.5.4, §1.5.6). */
export function prefixed(text: Text): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([u16(bytes.length), bytes]);
}

/** First byte, computed remaining length, body. */
export function packet(firstByte: number, ...body: readonly Buffer[]): Buffer {
  const rest = Buffer.concat(body);
  return Buffer.concat([u8(firstByte), varint(rest.length), rest]);
}

/** The properties of MQTT 5.0 §2.2.2.2, one encoded property each. */
export const property = {
  payloadFormat: (value: number) => Buffer.concat([u8(0x01), u8(value)]),
  messageExpiryS: (value: number) => Buffer.concat([u8(0x02), u32(value)]),
  contentType: (value: Text) => Buffer.concat([u8(0x03), prefixed(value)]),
  responseTopic: (value: Text) => Buffer.concat([u8(0x08), prefixed(value)]),
  correlationData: (value: Text) => Buffer.concat([u8(0x09), prefixed(value)]),
  subscriptionIdentifier: (value: number) => Buffer.concat([u8(0x0b), varint(value)]),
  sessionExpiryS: (value: number) => Buffer.concat([u8(0x11), u32(value)]),
  authenticationMethod: (value: Text) => Buffer.concat([u8(0x15), prefixed(value)]),
  authenticationData: (value: Text) => Buffer.concat([u8(0x16), prefixed(value)]),
  requestProblemInformation: (value: number) => Buffer.concat([u8(0x17), u8(value)]),
  willDelayS: (value: number) => Buffer.concat([u8(0x18), u32(value)]),
  requestResponseInformation: (value: number) => Buffer.concat([u8(0x19), u8(value)]),
  reasonString: (value: Text) => Buffer.concat([u8(0x1f), prefixed(value)]),
  receiveMaximum: (value: number) => Buffer.concat([u8(0x21), u16(value)]),
  topicAliasMaximum: (value: number) => Buffer.concat([u8(0x22), u16(value)]),
  topicAlias: (value: number) => Buffer.concat([u8(0x23), u16(value)]),
  userProperty: (name: Text, value: Text) => Buffer.concat([u8(0x26), prefixed(name), prefixed(value)]),
  maximumPacketSize: (value: number) => Buffer.concat([u8(0x27), u32(value)]),
} as const;

/** Property length and properties on MQTT 5, nothing on the older levels. */
function propertyField(level: Level, properties: readonly Buffer[] = []): Buffer {
  if (level !== 5) return Buffer.alloc(0);
  const all = Buffer.concat(properties);
  return Buffer.concat([varint(all.length), all]);
}

export interface WillFields {
  readonly topic: Text;
  readonly payload: Text;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly properties?: readonly Buffer[];
}

export interface ConnectFields {
  readonly clientId?: Text;
  /** Clean Start on MQTT 5, Clean Session before; true unless given. */
  readonly clean?: boolean;
  readonly keepAliveS?: number;
  readonly properties?: readonly Buffer[];
  readonly will?: WillFields;
  readonly userName?: Text;
  readonly password?: Text;
  /** These three replace what follows from the level and the other fields. */
  readonly protocolName?: Text;
  readonly levelByte?: number;
  readonly flags?: number;
}

/** CONNECT (MQTT 5.0 §3.1). */
export function connect(level: Level, fields: ConnectFields = {}): Buffer {
  const { clientId = '', clean = true, keepAliveS = 0, will, userName, password } = fields;
  let flags = clean ? 0x02 : 0;
  const payload = [prefixed(clientId)];
  if (will) {
    flags |= 0x04 | ((will.qos ?? 0) << 3) | (will.retain ? 0x20 : 0);
    payload.push(propertyField(level, will.properties), prefixed(will.topic), prefixed(will.payload));
  }
  if (userName !== undefined) {
    flags |= 0x80;
    payload.push(prefixed(userName));
  }
  if (password !== undefined) {
    flags |= 0x40;
    payload.push(prefixed(password));
  }
  return packet(
    0x10,
    prefixed(fields.protocolName ?? (level === 3 ? 'MQIsdp' : 'MQTT')),
    u8(fields.levelByte ?? level),
    u8(fields.flags ?? flags),
    u16(keepAliveS),
    propertyField(level, fields.properties),
    ...payload,
  );
}

export interface PublishFields {
  readonly topic: Text;
  readonly payload?: Text;
  readonly qos?: number;
  readonly retain?: boolean;
  readonly dup?: boolean;
  /** Written whenever QoS is not 0. */
  readonly packetId?: number;
  readonly properties?: readonly Buffer[];
}

/** PUBLISH (MQTT 5.0 §3.3). */
export function publish(level: Level, fields: PublishFields): Buffer {
  const qos = fields.qos ?? 0;
  const firstByte = 0x30 | (fields.dup ? 0x08 : 0) | (qos << 1) | (fields.retain ? 0x01 : 0);
  return packet(
    firstByte,
    prefixed(fields.topic),
    qos === 0 ? Buffer.alloc(0) : u16(fields.packetId ?? 1),
    propertyField(level, fields.properties),
    Buffer.from(fields.payload ?? ''),
  );
}

/** The short form of an acknowledgement, reason 0 (MQTT 5.0 §3.4.2.1), or the form with a reason code. */
function acknowledgement(firstByte: number): (packetId: number, reason?: number) => Buffer {
  return (packetId, reason) => packet(firstByte, u16(packetId), reason === undefined ? Buffer.alloc(0) : u8(reason));
}

export const puback = acknowledgement(0x40);
export const pubrec = acknowledgement(0x50);
export const pubrel = acknowledgement(0x62);
export const pubcomp = acknowledgement(0x70);

export interface SubscribeFields {
  readonly packetId?: number;
  readonly properties?: readonly Buffer[];
  /** Topic filter and its options byte; on the older levels the byte is the requested QoS. */
  readonly filters: readonly (readonly [filter: Text, options: number])[];
}

/** SUBSCRIBE (MQTT 5.0 §3.8). */
export function subscribe(level: Level, fields: SubscribeFields): Buffer {
  const payload = fields.filters.flatMap(([filter, options]) => [prefixed(filter), u8(options)]);
  return packet(0x82, u16(fields.packetId ?? 1), propertyField(level, fields.properties), ...payload);
}

/** UNSUBSCRIBE (MQTT 5.0 §3.10). */
export function unsubscribe(level: Level, packetId: number, filters: readonly Text[]): Buffer {
  return packet(0xa2, u16(packetId), propertyField(level), ...filters.map(prefixed));
}

export const pingreq = hex('c0 00');

/** DISCONNECT (MQTT 5.0 §3.14); without a reason the form that all levels share. */
export function disconnect(reason?: number, properties?: readonly Buffer[]): Buffer {
  if (reason === undefined) return hex('e0 00');
  return packet(0xe0, u8(reason), properties ? propertyField(5, properties) : Buffer.alloc(0));
}

/** AUTH (MQTT 5.0 §3.15). */
export function auth(reason: number, properties: readonly Buffer[]): Buffer {
  return packet(0xf0, u8(reason), propertyField(5, properties));
}
