// Micro-benchmarks of the hot protocol files: npx tsc && node dist/bench/micro/protocol.bench.js
// Each task handles a batch; the table gives millions of items a second.
import { Bench } from 'tinybench';
import { AckView, decodeAck, writeAck } from '../../protocol/ack.ts';
import { Frame, Framer } from '../../protocol/framer.ts';
import { Level, PacketType, Reason } from '../../protocol/packet.ts';
import { Properties, PropertySet, walkProperties } from '../../protocol/properties.ts';
import { validateTopicFilter, validateTopicName } from '../../protocol/topic.ts';
import { validateUtf8 } from '../../protocol/utf8.ts';

const BATCH = 1_000;
const bench = new Bench({ time: 500, warmupTime: 100 });

const packet = Buffer.concat([Buffer.from([0x30, 42, 0, 8]), Buffer.from('bench/ab'), Buffer.alloc(32, 1)]);
const stream = Uint8Array.from(Buffer.concat(Array.from({ length: BATCH }, () => packet)));
const framer = new Framer(1_048_576);

function drain(from: number, to: number): void {
  framer.feed(stream, from, to);
  while (framer.next() === Frame.PACKET);
}

const topic = Buffer.from('building/7/floor/3/room/12/temperature');
const mixed = Buffer.from('gebäude/7/stock/3/raum/größe');
const filter = Buffer.from('building/+/floor/3/room/+/#');
const properties = new Properties();
const twoProperties = Uint8Array.of(10, 0x02, 0, 0, 0, 9, 0x03, 0, 2, 0x61, 0x62);
const none = Uint8Array.of(0);
const view = new AckView();
const out = new Uint8Array(8);

function batch(name: string, once: () => void): void {
  bench.add(name, () => {
    for (let i = 0; i < BATCH; i++) once();
  });
}

bench.add('framer: whole chunk of 44-byte packets', () => drain(0, stream.length));
bench.add('framer: the same in chunks of 1,000 bytes', () => {
  for (let from = 0; from < stream.length; from += 1_000) drain(from, Math.min(from + 1_000, stream.length));
});
batch('utf8: 38 bytes of ASCII', () => validateUtf8(topic, 0, topic.length));
batch('utf8: 31 bytes, some of two', () => validateUtf8(mixed, 0, mixed.length));
batch('topic name: 7 levels', () => validateTopicName(topic, 0, topic.length, 4_096, 128));
batch('topic filter: 7 levels', () => validateTopicFilter(filter, 0, filter.length, 4_096, 128));
batch('properties: none', () => walkProperties(none, 0, 1, PropertySet.PUBLISH, 128, properties));
batch('properties: message expiry and content type', () =>
  walkProperties(twoProperties, 0, 11, PropertySet.PUBLISH, 128, properties),
);
batch('ack: write and decode a PUBACK', () => {
  writeAck(out, 0, PacketType.PUBACK, 7, Reason.SUCCESS, Level.V5);
  decodeAck(out, 0x40, 2, 4, Level.V5, 128, view);
});

await bench.run();
for (const task of bench.tasks) {
  const { result } = task;
  if (result.state !== 'completed') throw new Error(`bench: ${task.name} did not complete`);
  console.log(`${task.name.padEnd(48)} ${((BATCH * 1e-3) / result.latency.p50).toFixed(1)} M/s`);
}
