// MQTT over WebSocket as a broker may well send it: frames cut anywhere, messages in several frames, every length field, pings between
// the parts of a message; and what no broker may send is refused.
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import type { WireAddress } from '../../bench/raw/stream-wire.ts';
import { WebSocketWire } from '../../bench/raw/websocket-wire.ts';
import { check } from '../check.ts';
import { until } from '../network/temporary.ts';

const FIN = 0x80;
const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

/** A frame as a server sends it. */
function frame(opcode: number, payload: Buffer, final = true): Buffer {
  const { length } = payload;
  const head = length < 126 ? Buffer.from([0, length]) : Buffer.alloc(length < 65_536 ? 4 : 10);
  head[0] = (final ? FIN : 0) | opcode;
  if (length >= 65_536) {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(length), 2);
  } else if (length >= 126) {
    head[1] = 126;
    head.writeUInt16BE(length, 2);
  }
  return Buffer.concat([head, payload]);
}

let server: Server;
/** What the server does with the next connection after it has answered the upgrade. */
let behind: (socket: Socket) => void = () => {};
let answer = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';

beforeAll(async () => {
  server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write(answer, 'latin1');
      behind(socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  server.close();
});

function address(port = (server.address() as { port: number }).port): WireAddress {
  return { transport: 'ws', host: '127.0.0.1', port, path: '/mqtt', ca: null, cert: null, key: null, checksName: true };
}

/** Opens a wire whose server sends these chunks one after the other; resolves with what was taken once `bytes` of it have come. */
async function receive(chunks: readonly Buffer[], bytes: number): Promise<Buffer> {
  const sent = chunks.filter(({ length }) => length > 0);
  behind = (socket) => {
    socket.setNoDelay(true);
    // Each in a packet of its own, as far as the kernel goes along.
    const next = (at: number): void => {
      if (at < sent.length) socket.write(sent[at]!, () => setImmediate(() => next(at + 1)));
    };
    next(0);
  };
  const wire = new WebSocketWire(address(), null);
  let taken = Buffer.alloc(0);
  let lost: Error | null = null;
  wire.take = (chunk, from, to) => {
    taken = Buffer.concat([taken, chunk.subarray(from, to)]);
  };
  try {
    await wire.opened((error) => {
      lost = error;
    });
    await until('everything has come', () => taken.length >= bytes || lost !== null);
    if (lost !== null) throw lost;
    return taken;
  } finally {
    wire.destroy();
  }
}

describe('what comes', () => {
  const parts = fc.array(
    fc.record({
      bytes: fc.constantFrom(0, 1, 125, 126, 127, 300, 65_535, 65_536),
      final: fc.boolean(),
      ping: fc.boolean(),
    }),
    { minLength: 1, maxLength: 5 },
  );

  test('is the stream of bytes, however it was put into frames and cut', () =>
    check(
      fc.asyncProperty(parts, fc.array(fc.nat(), { maxLength: 6 }), async (frames, cuts) => {
        const payloads = frames.map(({ bytes }, i) => Buffer.alloc(bytes, i + 1));
        let isMiddle = false;
        const stream = Buffer.concat(
          frames.flatMap(({ final, ping }, i) => {
            const own = frame(isMiddle ? OPCODE.CONTINUATION : OPCODE.BINARY, payloads[i]!, final);
            isMiddle = !final;
            return ping ? [own, frame(OPCODE.PING, Buffer.from('are you there'))] : [own];
          }),
        );
        const at = [0, ...cuts.map((cut) => cut % (stream.length + 1)), stream.length].sort((a, b) => a - b);
        const chunks = at.slice(1).map((to, i) => stream.subarray(at[i], to));
        const whole = Buffer.concat(payloads);
        expect((await receive(chunks, whole.length)).equals(whole)).toBe(true);
      }),
      60,
    ));

  test('may come together with the answer to the upgrade', async () => {
    const before = answer;
    answer = `${before}${frame(OPCODE.BINARY, Buffer.from('early')).toString('latin1')}`;
    try {
      expect((await receive([], 5)).toString()).toBe('early');
    } finally {
      answer = before;
    }
  });

  test.each([
    ['a text frame', frame(OPCODE.TEXT, Buffer.from('x')), /a WebSocket frame that MQTT does not allow/],
    ['a masked frame', Buffer.from([0x82, 0x81, 0, 0, 0, 0, 1]), /a WebSocket frame that MQTT does not allow/],
    ['a reserved bit', Buffer.from([0xc2, 1, 1]), /a WebSocket frame that MQTT does not allow/],
    ['a close', frame(OPCODE.CLOSE, Buffer.from([3, 0xe8])), /the broker closed the WebSocket/],
    ['an empty close', frame(OPCODE.CLOSE, Buffer.alloc(0)), /the broker closed the WebSocket/],
  ])('%s ends the connection', async (_what, bytes, message) => {
    await expect(receive([bytes], 100)).rejects.toThrow(message);
  });
});

test('an upgrade that is refused is told', async () => {
  const before = answer;
  answer = 'HTTP/1.1 404 Not Found\r\n\r\n';
  try {
    const wire = new WebSocketWire(address(), null);
    await expect(wire.opened(() => {})).rejects.toThrow('the WebSocket upgrade was refused: HTTP/1.1 404 Not Found');
  } finally {
    answer = before;
  }
});

describe('what goes', () => {
  test('is whole binary frames of any length, and a ping is answered, to a server that checks it all', async () => {
    const peer = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'mqtt' });
    await once(peer, 'listening');
    const came: Buffer[] = [];
    let pong = '';
    peer.on('connection', (socket) => {
      socket.on('message', (data: Buffer, isBinary) => came.push(isBinary ? data : Buffer.from('text')));
      socket.on('pong', (data) => {
        pong = data.toString();
      });
      socket.ping('still there?');
    });
    const wire = new WebSocketWire(address((peer.address() as { port: number }).port), null);
    try {
      await wire.opened(() => {});
      const sizes = [1, 125, 126, 65_535, 65_536, 200_000];
      let written = 0;
      for (const size of sizes) {
        const block = Buffer.alloc(wire.headroom + size, size & 0xff);
        const isSent = wire.send(block, block.length, () => {
          written++;
        });
        if (isSent) written++;
      }
      await until('everything has come', () => came.length === sizes.length && pong !== '' && written === sizes.length);
      expect(came.map(({ length }) => length)).toEqual(sizes);
      expect(came.every((data) => data.every((byte) => byte === (data.length & 0xff)))).toBe(true);
      expect(pong).toBe('still there?');
    } finally {
      wire.destroy();
      peer.close();
    }
  });
});
