// MQTT over WebSocket: MQTT 5.0 and 3.1.1 §6.

import { afterEach, describe, expect, test } from 'vitest';
import * as wire from './bytes.ts';
import { Opcode, RawWebSocket } from './raw-websocket.ts';
import { bothLevels, useRig } from './rig.ts';

const rig = useRig();
const opened: RawWebSocket[] = [];

async function open(subprotocols: string | null = 'mqtt', path = '/mqtt'): Promise<RawWebSocket> {
  const socket = await RawWebSocket.open(rig.broker.ws, path, subprotocols);
  opened.push(socket);
  return socket;
}

afterEach(() => {
  for (const socket of opened.splice(0)) socket.drop();
});

test.each([
  ['mqtt', 'mqtt'],
  ['chat, mqtt', 'mqtt'],
  ['mqttv3.1', 'mqttv3.1'],
])('offered %s, the broker selects %s [MQTT-6.0.0-4] [MQTT3-6.0.0-4]', async (offered, selected) => {
  const socket = await open(offered);
  expect(socket.status).toBe(101);
  expect(socket.subprotocol).toBe(selected);
});

test('a client that offers only other subprotocols is not served as MQTT [MQTT-6.0.0-3] [MQTT3-6.0.0-3]', async () => {
  expect((await open('chat')).status).not.toBe(101);
});

test('another path is not found', async () => {
  expect((await open('mqtt', '/other')).status).toBe(404);
});

describe.each(bothLevels)('MQTT %s', (_version, level) => {
  const suback = level === 5 ? '90040001 00 00' : '90030001 00';

  test('several packets in one frame, and one packet across frames and fragments [MQTT-6.0.0-1] [MQTT-6.0.0-2] [MQTT3-6.0.0-1] [MQTT3-6.0.0-2]', async () => {
    const socket = await open();
    const greeting = wire.connect(level, { clientId: rig.name('ws') });
    socket.send(Opcode.BINARY, greeting.subarray(0, 3));
    socket.send(Opcode.BINARY, greeting.subarray(3, 5), false);
    socket.send(Opcode.CONTINUATION, greeting.subarray(5));
    const connack = await socket.nextBytes(1);
    expect(connack[0]).toBe(0x20);
    const subscribe = wire.subscribe(level, { filters: [['t', 0]] });
    socket.send(Opcode.BINARY, Buffer.concat([wire.pingreq, subscribe, wire.pingreq.subarray(0, 1)]));
    socket.send(Opcode.BINARY, wire.pingreq.subarray(1));
    const expected = wire.hex(`d000 ${suback} d000`);
    expect(await socket.nextBytes(expected.length)).toEqual(expected);
  });

  test('a text frame closes the connection [MQTT-6.0.0-1] [MQTT3-6.0.0-1]', async () => {
    const socket = await open();
    socket.send(Opcode.BINARY, wire.connect(level, { clientId: rig.name('ws') }));
    await socket.nextBytes(1);
    socket.send(Opcode.TEXT, wire.pingreq.subarray(1));
    let frame = await socket.nextFrame();
    while (frame !== null) {
      if (frame.opcode === Opcode.BINARY) expect(frame.payload[0], 'nothing but DISCONNECT').toBe(0xe0);
      frame = await socket.nextFrame();
    }
  });
});
