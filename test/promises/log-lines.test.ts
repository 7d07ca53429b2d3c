// The rule that every line of the log is held against, under every test (log-lines.ts), finds what it is for.
import { expect, test } from 'vitest';
import { faultOf } from '../log-lines.ts';

const at = '2026-11-30T12:00:00.000Z';

test.each([
  `${at} debug a connection was ended reason=135`,
  `${at} warn a receiver does not keep up: QoS 0 to it is dropped until it has drained pendingBytes=12345`,
  `${at} warn a listener is insecure by configuration: what it carries can be read on the way listener=tcp`,
])('right: %s', (line) => {
  expect(faultOf(line)).toBeNull();
});

test.each([
  ['a message with something of a client in it', `${at} debug a connection of sensor-17 was ended reason=135`],
  ['a client identifier as a field', `${at} debug a connection was ended reason=135 client=Sensor.17`],
  ['an address as a field', `${at} debug a connection was ended address=192.0.2.7`],
  ['a topic as a field', `${at} debug a connection was ended topic=people/anna`],
  ['something else', 'Error: boom'],
])('wrong: %s', (_what, line) => {
  expect(faultOf(line)).not.toBeNull();
});
