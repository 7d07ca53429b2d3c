// The read buffer that plain TCP connections share: that it is in use on this version of node, and what happens where it cannot be.
import { createServer, Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { readShared } from '../../engine/network/shared-read.ts';
import { until } from './temporary.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

interface Accepted {
  readonly accepted: Socket;
  readonly own: Socket;
  readonly peer: Socket;
  /** The memory of each read, and the bytes in it then. */
  readonly reads: { memory: ArrayBufferLike; bytes: Buffer }[];
}

async function accept(): Promise<Accepted> {
  const server = createServer({ pauseOnConnect: true });
  closing.push(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const peer = new Socket().connect(port, '127.0.0.1');
  const accepted = await new Promise<Socket>((resolve) => server.once('connection', resolve));
  const reads: Accepted['reads'] = [];
  const own = readShared(accepted, (chunk, to) =>
    reads.push({ memory: chunk.buffer, bytes: Buffer.copyBytesFrom(chunk, 0, to) }),
  );
  own.resume();
  closing.push(
    () => peer.destroy(),
    () => own.destroy(),
  );
  return { accepted, own, peer, reads };
}

test('connections are read into the same memory, each gets its own bytes', async () => {
  const [first, second] = [await accept(), await accept()];
  expect(first.own).not.toBe(first.accepted);
  first.peer.write('to the first');
  await until('the first has read', () => first.reads.length === 1);
  second.peer.write('2nd');
  await until('the second has read', () => second.reads.length === 1);
  expect(first.reads[0]!.bytes.toString()).toBe('to the first');
  expect(second.reads[0]!.bytes.toString()).toBe('2nd');
  expect(first.reads[0]!.memory).toBe(second.reads[0]!.memory);
});

test('both ends are told of the end', async () => {
  const { own, peer, reads } = await accept();
  let ended = false;
  own.once('end', () => {
    ended = true;
  });
  peer.end('last words');
  await until('the end has come', () => ended);
  expect(Buffer.concat(reads.map(({ bytes }) => bytes)).toString()).toBe('last words');
  let closed = false;
  peer.once('close', () => {
    closed = true;
  });
  peer.resume();
  await until('the peer is closed', () => closed);
});

test('a socket without a handle of its kind is used as it is', () => {
  const socket = new Socket();
  closing.push(() => socket.destroy());
  expect(readShared(socket, () => {})).toBe(socket);
});
