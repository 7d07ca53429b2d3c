// Micro-benchmarks of the hot protocol files: framer, UTF-8, topics, properties, and the codec of PUBLISH and the acknowledgements.
import { AckView, decodeAck, writeAck } from '../../protocol/ack.ts';
import { Frame, Framer } from '../../protocol/framer.ts';
import { Level, PacketType, Reason } from '../../protocol/packet.ts';
import { Properties, PropertySet, walkProperties } from '../../protocol/properties.ts';
import { decodePublish, MessageView, PublishHop, writePublish } from '../../protocol/publish.ts';
import { validateTopicFilter, validateTopicName } from '../../protocol/topic.ts';
import { validateUtf8 } from '../../protocol/utf8.ts';
import { type Suite, Tasks } from './suite.ts';

const PACKETS = 1_000;
const CHUNK_BYTES = 1_000;
const FIXED_HEADER_BYTES = 2;

export const protocolSuite: Suite = { key: 'protocol', build };

function build(): Tasks {
  const tasks = new Tasks('protocol');
  const packet = Buffer.concat([Buffer.from([0x30, 42, 0, 8]), Buffer.from('bench/ab'), Buffer.alloc(32, 1)]);
  const stream = Uint8Array.from(Buffer.concat(Array.from({ length: PACKETS }, () => packet)));
  const framer = new Framer(1_048_576);
  const drain = (from: number, to: number): void => {
    framer.feed(stream, from, to);
    while (framer.next() === Frame.PACKET);
  };
  tasks.add('framer', 'framer: a chunk of 44-byte packets', PACKETS, () => drain(0, stream.length));
  tasks.add('framer-cut', 'framer: the same in chunks of 1,000 bytes', PACKETS, () => {
    for (let from = 0; from < stream.length; from += CHUNK_BYTES) drain(from, Math.min(from + CHUNK_BYTES, stream.length));
  });

  const topic = Buffer.from('building/7/floor/3/room/12/temperature');
  const mixed = Buffer.from('gebäude/7/stock/3/raum/größe');
  const filter = Buffer.from('building/+/floor/3/room/+/#');
  tasks.each('utf8-ascii', 'utf8: 38 bytes of ASCII', () => validateUtf8(topic, 0, topic.length));
  tasks.each('utf8-mixed', 'utf8: 31 bytes, some of two', () => validateUtf8(mixed, 0, mixed.length));
  tasks.each('topic-name', 'topic name: 7 levels', () => validateTopicName(topic, 0, topic.length, 4_096, 128));
  tasks.each('topic-filter', 'topic filter: 7 levels', () => validateTopicFilter(filter, 0, filter.length, 4_096, 128));

  const properties = new Properties();
  const two = Uint8Array.of(10, 0x02, 0, 0, 0, 9, 0x03, 0, 2, 0x61, 0x62);
  const none = Uint8Array.of(0);
  tasks.each('properties-none', 'properties: none', () => walkProperties(none, 0, 1, PropertySet.PUBLISH, 128, properties));
  tasks.each('properties-two', 'properties: message expiry and content type', () =>
    walkProperties(two, 0, two.length, PropertySet.PUBLISH, 128, properties),
  );

  const view = new MessageView();
  const hop = new PublishHop();
  const out = new Uint8Array(256);
  const scratch = new Uint8Array(256);
  const body = Uint8Array.from([...packet.subarray(FIXED_HEADER_BYTES, 12), 0, 7, ...two, ...packet.subarray(12)]);
  const decode = (): number => decodePublish(body, 0x32, 0, body.length, Level.V5, 128, properties, scratch, view);
  if (decode() < 0) throw new Error('bench: the PUBLISH is not one');
  hop.level = Level.V5;
  hop.qos = 1;
  tasks.each('publish-decode', 'publish: decode, QoS 1, two properties', decode);
  tasks.each('publish-write', 'publish: write it', (at) => {
    hop.packetId = 1 + at;
    writePublish(out, 0, view, hop);
  });
  const ack = new AckView();
  tasks.each('ack', 'ack: write and decode a PUBACK', () => {
    writeAck(out, 0, PacketType.PUBACK, 7, Reason.SUCCESS, Level.V5);
    decodeAck(out, 0x40, 2, 4, Level.V5, 128, ack);
  });
  return tasks;
}
