// The contract of engine/link.ts, kept by every transport.
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CloseCause, Lent, type Listener } from '../../engine/link.ts';
import { causeName, Recorder } from './recorder.ts';
import { temporaryCertificates, until } from './temporary.ts';
import { type TestPeer, type Transport, transports } from './transports.ts';

const MiB = 1_048_576;

let certificates: ReturnType<typeof temporaryCertificates>;
beforeAll(() => {
  certificates = temporaryCertificates();
});
afterAll(() => certificates.remove());

describe.each(transports(() => certificates.files))('$name', (transport) => {
  const recorders: Recorder[] = [];
  const peers: TestPeer[] = [];
  const listeners: Listener[] = [];

  async function pair(): Promise<{ sink: Recorder; peer: TestPeer; listener: Listener }> {
    const listener = await transport.listen((link) => {
      const recorder = new Recorder(link);
      recorders.push(recorder);
      return recorder;
    });
    listeners.push(listener);
    const before = recorders.length;
    const peer = await connect(transport, listener);
    await until('the link is accepted', () => recorders.length > before);
    return { sink: recorders.at(-1)!, peer, listener };
  }

  async function connect(by: Transport, listener: Listener): Promise<TestPeer> {
    const peer = await by.connect(listener);
    peers.push(peer);
    return peer;
  }

  afterEach(async () => {
    for (const peer of peers.splice(0)) {
      peer.resume();
      peer.close();
    }
    for (const recorder of recorders) recorder.call(() => recorder.link.destroy());
    await until('every link is closed', () => recorders.every(({ closed }) => closed !== null));
    for (const listener of listeners.splice(0)) await listener.close();
    for (const { breach } of recorders.splice(0)) expect(breach).toBeNull();
  });

  test('the peer is described', async () => {
    const { sink, listener } = await pair();
    expect(sink.link.peer).toMatchObject({
      transport: transport.name,
      listener: 'test' === listener.name ? 'test' : 'memory',
      address: '127.0.0.1',
    });
    expect(sink.link.peer.secure).toBe(['tls', 'wss'].includes(transport.name));
    expect(sink.link.peer.certificate).toBeNull();
    expect(listener.transport).toBe(transport.name);
  });

  test.each([1, 2, 125, 126, 127, 1_000, 16_384, 65_535, 65_536, 65_537, 200_000, MiB])('echoes %i bytes', async (size) => {
    const { sink, peer } = await pair();
    sink.onBytes = (chunk) => {
      sink.write(chunk);
      sink.flush();
    };
    const bytes = randomBytes(size);
    peer.send(bytes);
    await until('the echo is complete', () => peer.receivedBytes() >= size);
    expect(peer.received().equals(bytes)).toBe(true);
    await until('every block is returned', () => sink.returned === sink.keptWrites);
    expect(sink.link.unsentBytes()).toBe(0);
  });

  test('thousands of small writes keep their order, and each kept block is returned once', async () => {
    const { sink, peer } = await pair();
    const expected: Buffer[] = [];
    for (let i = 0; i < 5_000; i++) {
      const block = Buffer.alloc(16 + (i % 700), i & 0xff);
      block.writeUInt32BE(i, 4);
      sink.write(block, 4, block.length - 4);
      expected.push(block.subarray(4, block.length - 4));
      if (i % 7 === 0) sink.flush();
    }
    sink.flush();
    const bytes = Buffer.concat(expected);
    await until('all has arrived', () => peer.receivedBytes() >= bytes.length);
    expect(peer.received().equals(bytes)).toBe(true);
    await until('every block is returned', () => sink.returned === sink.keptWrites);
  });

  test('many sends of the peer arrive in order', async () => {
    const { sink, peer } = await pair();
    const sent = Array.from({ length: 2_000 }, (_, i) => randomBytes(1 + (i % 97)));
    for (const bytes of sent) peer.send(bytes);
    const expected = Buffer.concat(sent);
    await until('all has arrived', () => sink.receivedBytes >= expected.length);
    expect(Buffer.concat(sink.received).equals(expected)).toBe(true);
  });

  test('what is passed on to another link while it is read arrives whole, however much comes at once', async () => {
    const listener = await transport.listen((link) => {
      const recorder = new Recorder(link);
      recorders.push(recorder);
      return recorder;
    });
    listeners.push(listener);
    const from = await connect(transport, listener);
    const to = await connect(transport, listener);
    await until('both links are accepted', () => recorders.length === 2);
    const [source, target] = recorders as [Recorder, Recorder];
    source.onBytes = (chunk) => {
      target.write(chunk);
      target.flush();
    };
    const messages = Array.from({ length: 200 }, () => randomBytes(40_000));
    for (const message of messages) from.send(message);
    const bytes = Buffer.concat(messages);
    await until('all has arrived', () => to.receivedBytes() >= bytes.length);
    expect(to.received().equals(bytes)).toBe(true);
    await until('every block is returned', () => target.returned === target.keptWrites);
  });

  test('a returned block may be overwritten at once', async () => {
    const { sink, peer } = await pair();
    const block = new Uint8Array(3_000);
    let written = 0;
    let returnedBefore = 0;
    for (let i = 0; i < 50; i++) {
      block.fill(i);
      const lent = sink.write(block);
      sink.flush();
      written++;
      if (lent === Lent.KEPT) await until('the block is returned', () => sink.returned > returnedBefore);
      returnedBefore = sink.returned;
    }
    await until('all has arrived', () => peer.receivedBytes() === written * block.length);
    const received = peer.received();
    for (let i = 0; i < 50; i++) expect(received[i * block.length + 1_500]).toBe(i);
  });

  test('a peer that does not read: unsentBytes grows, and linkDrained follows when it reads', async () => {
    const { sink, peer } = await pair();
    peer.pause();
    const block = new Uint8Array(MiB);
    for (let i = 0; i < 24; i++) {
      sink.write(block);
      sink.flush();
    }
    await until('bytes pile up', () => sink.link.unsentBytes() > 4 * MiB);
    const drained = sink.drained;
    peer.resume();
    await until('the sink hears of it', () => sink.drained > drained);
    await until('all has arrived', () => peer.receivedBytes() === 24 * MiB);
    await until('nothing is unsent', () => sink.link.unsentBytes() === 0);
    await until('every block is returned', () => sink.returned === sink.keptWrites);
  });

  test('while a peer takes what waits for it, untakenBytes goes down', async () => {
    const { sink, peer } = await pair();
    peer.pause();
    sink.write(new Uint8Array(24 * MiB));
    sink.flush();
    await until('the kernel takes no more', () => sink.link.untakenBytes() > 4 * MiB);
    const before = sink.link.untakenBytes();
    peer.resume();
    await until('it has taken some', () => sink.link.untakenBytes() < before);
    await until('all is taken', () => sink.link.untakenBytes() === 0);
  });

  test('what is written and flushed as blocks come back leaves the returns in order', async () => {
    const { sink, peer } = await pair();
    peer.pause();
    for (let i = 0; i < 64; i++) sink.write(new Uint8Array(MiB / 4));
    sink.flush();
    let echoes = 0;
    sink.onReturned = () => {
      if (echoes++ >= 200) return;
      sink.write(new Uint8Array(100));
      sink.flush();
    };
    peer.resume();
    await until('every block is returned', () => sink.link.unsentBytes() === 0 && sink.returned === sink.keptWrites);
    await until('all has arrived', () => peer.receivedBytes() === 16 * MiB + Math.min(echoes, 200) * 100);
  });

  test('pause stops the bytes, as far as the transport can', async () => {
    const { sink, peer } = await pair();
    expect(sink.call(() => sink.link.pause())).toBe(transport.canPause);
    expect(sink.call(() => sink.link.pause())).toBe(transport.canPause);
    peer.send(randomBytes(50_000));
    sink.write(new Uint8Array(10));
    sink.flush();
    await until('the peer has heard', () => peer.receivedBytes() === 10);
    if (transport.canPause) expect(sink.receivedBytes).toBe(0);
    sink.call(() => sink.link.resume());
    sink.call(() => sink.link.resume());
    await until('all has arrived', () => sink.receivedBytes === 50_000);
  });

  test('pause inside linkBytes and resume later lose nothing', async () => {
    const { sink, peer } = await pair();
    sink.onBytes = () => sink.call(() => sink.link.pause());
    peer.send(randomBytes(300_000));
    await until('all has arrived', () => {
      sink.call(() => sink.link.resume());
      return sink.receivedBytes === 300_000;
    });
  });

  test('end sends what was written, then closes', async () => {
    const { sink, peer } = await pair();
    peer.pause();
    const bytes = randomBytes(8 * MiB);
    sink.write(bytes);
    sink.call(() => sink.link.end());
    sink.call(() => sink.link.end());
    expect(sink.write(bytes)).toBe(Lent.RETURNED);
    peer.resume();
    await until('the peer sees the end', () => peer.closed());
    expect(peer.received().equals(bytes)).toBe(true);
    await until('the link is closed', () => sink.closed !== null);
    expect(causeName(sink.closed)).toBe('LOCAL');
  });

  test('end inside linkBytes sends the last answer', async () => {
    const { sink, peer } = await pair();
    sink.onBytes = (chunk) => {
      sink.write(chunk);
      sink.call(() => sink.link.end());
    };
    peer.send(Buffer.from('last'));
    await until('the peer sees the end', () => peer.closed());
    expect(peer.received().toString()).toBe('last');
    await until('the link is closed', () => sink.closed !== null);
  });

  test('destroy drops what was not sent; every call after it does nothing', async () => {
    const { sink, peer } = await pair();
    peer.pause();
    sink.write(new Uint8Array(8 * MiB));
    sink.call(() => {
      sink.link.destroy();
      sink.link.destroy();
      sink.link.end();
      sink.link.flush();
      sink.link.pause();
      sink.link.resume();
    });
    expect(sink.write(new Uint8Array(4))).toBe(Lent.RETURNED);
    await until('the link is closed', () => sink.closed !== null);
    expect(causeName(sink.closed)).toBe('LOCAL');
    sink.call(() => {
      sink.link.flush();
      sink.link.end();
      sink.link.destroy();
      sink.link.pause();
      sink.link.resume();
    });
    expect(sink.write(new Uint8Array(4))).toBe(Lent.RETURNED);
    expect(sink.link.unsentBytes()).toBe(0);
    peer.resume();
    await until('the peer sees the end', () => peer.closed());
    expect(peer.receivedBytes()).toBeLessThan(8 * MiB);
  });

  test('destroy inside linkBytes: the close is told later, and no more bytes', async () => {
    const { sink, peer } = await pair();
    sink.onBytes = () => sink.call(() => sink.link.destroy());
    for (let i = 0; i < 20; i++) peer.send(randomBytes(1_000));
    await until('the link is closed', () => sink.closed !== null);
    expect(causeName(sink.closed)).toBe('LOCAL');
  });

  test('the peer closes', async () => {
    const { sink, peer } = await pair();
    peer.send(Buffer.from('bye'));
    peer.close();
    await until('the link is closed', () => sink.closed !== null);
    expect(Buffer.concat(sink.received).toString()).toBe('bye');
    expect(sink.closed).toBe(CloseCause.PEER);
  });

  test('a refused connection is closed, and the sink of others lives', async () => {
    let refusing = true;
    const sinks: Recorder[] = [];
    const listener = await transport.listen((link) => {
      if (refusing) return null;
      sinks.push(new Recorder(link));
      return sinks.at(-1)!;
    });
    listeners.push(listener);
    const refused = await connect(transport, listener);
    await until('it is closed', () => refused.closed());
    refusing = false;
    const peer = await connect(transport, listener);
    peer.send(Buffer.from('here'));
    await until('bytes arrive', () => sinks[0]?.receivedBytes === 4);
    recorders.push(sinks[0]!);
  });

  test.runIf(transport.hasPort)('close gives the port back while open links live on', async () => {
    const { sink, peer, listener } = await pair();
    await listener.close();
    await listener.close();
    const again = await transport.listen(() => null, listener.port);
    expect(again.port).toBe(listener.port);
    await again.close();
    peer.send(Buffer.from('still here'));
    await until('bytes arrive', () => sink.receivedBytes === 10);
  });

  test.runIf(transport.hasPort)('a port in use is refused in words', async () => {
    const { listener } = await pair();
    await expect(transport.listen(() => null, listener.port)).rejects.toThrow(
      /^listener "test": port \d+ of 127\.0\.0\.1 is in use; /,
    );
  });
});
