// Connections below node's streams: that this version of node lets us, that what is read and written is right, and what happens where it does not.
import { createServer, Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { joinHandOut, openHandOut } from '../../engine/network/hand-out.ts';
import { socketOn, takeHandle } from '../../engine/network/node-handles.ts';
import { RawSocket, Written } from '../../engine/network/raw-socket.ts';
import { until } from './temporary.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

interface Accepted {
  readonly accepted: Socket;
  readonly raw: RawSocket;
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
  const raw = RawSocket.accepted(accepted, {
    take: (chunk, to) => void reads.push({ memory: chunk.buffer, bytes: Buffer.copyBytesFrom(chunk, 0, to) }),
  })!;
  raw.socket.resume();
  closing.push(
    () => peer.destroy(),
    () => raw.socket.destroy(),
  );
  return { accepted, raw, peer, reads };
}

test('connections are read into the same memory, each gets its own bytes', async () => {
  const [first, second] = [await accept(), await accept()];
  expect(first.raw.socket).not.toBe(first.accepted);
  first.peer.write('to the first');
  await until('the first has read', () => first.reads.length === 1);
  second.peer.write('2nd');
  await until('the second has read', () => second.reads.length === 1);
  expect(first.reads[0]!.bytes.toString()).toBe('to the first');
  expect(second.reads[0]!.bytes.toString()).toBe('2nd');
  expect(first.reads[0]!.memory).toBe(second.reads[0]!.memory);
});

test('a connection that was handed out is below the streams as well', async () => {
  const giver = await openHandOut(2, () => 1);
  const receiver = await joinHandOut(giver.end(1));
  const server = createServer({ pauseOnConnect: true }, (socket) => giver.give('field', takeHandle(socket)!));
  closing.push(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const peer = new Socket().connect((server.address() as { port: number }).port, '127.0.0.1');
  let said = '';
  let heard = '';
  const raw = await new Promise<RawSocket | null>((resolve) => {
    receiver.receive('field', (handle) => {
      const take = (chunk: Uint8Array, to: number) => {
        said += Buffer.copyBytesFrom(chunk, 0, to).toString();
      };
      resolve(RawSocket.accepted(socketOn(handle, 'paused'), { take }));
    });
  });
  closing.push(
    () => peer.destroy(),
    () => raw?.socket.destroy(),
  );
  expect(raw).not.toBeNull();
  peer.on('data', (chunk) => {
    heard += chunk.toString();
  });
  raw!.socket.resume();
  peer.write('to the shard');
  await until('it has read', () => said === 'to the shard');
  expect(raw!.write(Buffer.from('from the shard'), { completed: () => {} })).toBe(Written.WHOLE);
  await until('the peer has read', () => heard === 'from the shard');
  await receiver.close();
  await giver.close();
});

test('both ends are told of the end', async () => {
  const { raw, peer, reads } = await accept();
  let ended = false;
  raw.socket.once('end', () => {
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

test('a write that the kernel takes is over at once; one that it does not is told of, with what was written meanwhile behind it', async () => {
  const { raw, peer } = await accept();
  const received: Buffer[] = [];
  peer.on('data', (chunk: Buffer) => received.push(chunk));
  const done: number[] = [];
  const owner = (name: number) => ({ completed: (_: readonly Uint8Array[], status: number) => void done.push(name, status) });
  expect(raw.write(Buffer.from('first '), owner(1))).toBe(Written.WHOLE);
  expect(raw.writeAll([Buffer.from('second '), Buffer.from('third ')], owner(2))).toBe(Written.WHOLE);
  await until('all is there', () => Buffer.concat(received).length === 19);
  peer.pause();
  const large = Buffer.alloc(32 * 1_048_576, 'x');
  expect(raw.write(large, owner(3))).toBe(Written.UNDER_WAY);
  expect(raw.writeAll([Buffer.from('a'), Buffer.from('b')], owner(4))).toBe(Written.UNDER_WAY);
  expect(done).toEqual([]);
  peer.resume();
  await until('both are done', () => done.length === 4);
  expect(done).toEqual([3, 0, 4, 0]);
  await until('all has come', () => received.reduce((sum, { length }) => sum + length, 0) === 19 + large.length + 2);
  const all = Buffer.concat(received);
  expect(all.subarray(0, 19).toString()).toBe('first second third ');
  expect(all.subarray(-3).toString()).toBe('xab');
});

test('a write to a connection that the peer has reset fails, and the socket with it', async () => {
  const { raw, peer } = await accept();
  const failures: string[] = [];
  raw.socket.on('error', (error: NodeJS.ErrnoException) => failures.push(error.code ?? ''));
  let outcome: number = Written.WHOLE;
  const owner = {
    completed: (_: readonly Uint8Array[], status: number) => {
      outcome = status;
    },
  };
  // Neither reads nor looks: the failure is the write's to find.
  raw.socket.pause();
  peer.resetAndDestroy();
  await until('the write fails', () => {
    if (outcome >= 0) outcome = raw.write(Buffer.alloc(1_024), owner);
    return outcome < 0;
  });
  raw.fail(outcome);
  await until('the socket has failed', () => failures.length > 0);
  expect(failures[0]).toMatch(/^(EPIPE|ECONNRESET)$/);
});

test('a socket without a handle of its kind is used as it is', () => {
  const socket = new Socket();
  closing.push(() => socket.destroy());
  expect(RawSocket.accepted(socket, { take: () => {} })).toBeNull();
});
