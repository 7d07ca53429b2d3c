// The memory transport's own promises: nothing happens but in rounds, the same seed gives the same run, and buffers are bounded.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { systemClock } from '../../engine/clock.ts';
import { memoryListener } from '../../engine/network/memory.ts';
import type { Random } from '../../engine/random.ts';
import { causeName, Recorder } from './recorder.ts';

/** Small and repeatable (mulberry32). */
function seeded(seed: number): Random {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) & 0xff;
  };
  return { bytes: (count) => Uint8Array.from({ length: count }, next) };
}

function pair(options: { split?: Random; kernelBytes?: number } = {}) {
  const sinks: Recorder[] = [];
  const listener = memoryListener(
    (link) => {
      sinks.push(new Recorder(link));
      return sinks[0]!;
    },
    { clock: systemClock, drive: 'steps', ...options },
  );
  const peer = listener.connect({ address: '192.0.2.1', port: 5 });
  return { listener, peer, sink: sinks[0]! };
}

function settle(listener: { step(): boolean }): void {
  for (let rounds = 0; listener.step(); rounds++) if (rounds > 100_000) throw new Error('the rounds do not end');
}

test('nothing happens outside a round', () => {
  const { listener, peer, sink } = pair();
  expect(sink.link.peer).toMatchObject({ transport: 'memory', address: '192.0.2.1', port: 5 });
  peer.send(Buffer.from('in'));
  sink.write(Buffer.from('out'));
  sink.flush();
  expect(sink.receivedBytes).toBe(0);
  expect(peer.received()).toHaveLength(0);
  settle(listener);
  expect(Buffer.concat(sink.received).toString()).toBe('in');
  expect(Buffer.from(peer.received()).toString()).toBe('out');
  expect(listener.step()).toBe(false);
});

test('the buffer between the two sides is bounded', () => {
  const { listener, peer, sink } = pair({ kernelBytes: 100 });
  peer.pause();
  sink.write(new Uint8Array(250));
  sink.flush();
  settle(listener);
  expect(sink.link.unsentBytes()).toBe(150);
  expect(sink.returned).toBe(0);
  peer.resume();
  settle(listener);
  expect(peer.received()).toHaveLength(250);
  expect(sink.returned).toBe(1);
  expect(sink.drained).toBeGreaterThan(0);
});

test('abort loses what is under way and tells the sink once', () => {
  const { listener, peer, sink } = pair();
  peer.send(Buffer.from('lost'));
  peer.abort();
  peer.send(Buffer.from('more'));
  settle(listener);
  expect(sink.receivedBytes).toBe(0);
  expect(causeName(sink.closed)).toBe('PEER');
  expect(sink.breach).toBeNull();
});

test('any schedule of calls keeps the bytes, and a seed gives the same run', () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constantFrom('send', 'write'), bytes: fc.uint8Array({ minLength: 1, maxLength: 400 }) }),
    fc.record({
      kind: fc.constantFrom('flush', 'step', 'pause', 'resume', 'peerPause', 'peerResume'),
      bytes: fc.constant(new Uint8Array()),
    }),
  );
  fc.assert(
    fc.property(
      fc.array(action, { maxLength: 60 }),
      fc.integer(),
      fc.integer({ min: 1, max: 500 }),
      (actions, seed, kernelBytes) => {
        const run = () => {
          const { listener, peer, sink } = pair({ split: seeded(seed), kernelBytes });
          for (const { kind, bytes } of actions) {
            if (kind === 'send') peer.send(bytes);
            else if (kind === 'write') sink.write(bytes);
            else if (kind === 'step') listener.step();
            else if (kind === 'peerPause') peer.pause();
            else if (kind === 'peerResume') peer.resume();
            else sink.call(() => sink.link[kind as 'flush' | 'pause' | 'resume']());
          }
          peer.resume();
          sink.call(() => sink.link.resume());
          sink.flush();
          settle(listener);
          expect(sink.returned).toBe(sink.keptWrites);
          sink.call(() => sink.link.end());
          settle(listener);
          expect(sink.breach).toBeNull();
          expect(peer.closed).toBe(true);
          expect(causeName(sink.closed)).toBe('LOCAL');
          return {
            trace: sink.received.map((chunk) => chunk.length),
            arrived: Buffer.concat(sink.received),
            received: peer.received(),
          };
        };
        const first = run();
        const sent = Buffer.concat(actions.filter(({ kind }) => kind === 'send').map(({ bytes }) => bytes));
        expect(first.trace.reduce((sum, bytes) => sum + bytes, 0)).toBe(sent.length);
        expect(first.arrived.equals(sent)).toBe(true);
        const written = Buffer.concat(actions.filter(({ kind }) => kind === 'write').map(({ bytes }) => bytes));
        expect(Buffer.from(first.received).equals(written)).toBe(true);
        expect(run()).toEqual(first);
      },
    ),
  );
});
