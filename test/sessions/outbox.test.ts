// The outbox over the memory transport: whatever is written arrives once and in order, a turn at a time, and every block comes back.
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { Counters } from '../../engine/counters.ts';
import type { LinkSink } from '../../engine/link.ts';
import { BlockPool, LARGE_BLOCK_BYTES, MEDIUM_BLOCK_BYTES, SMALL_BLOCK_BYTES } from '../../engine/memory/blocks.ts';
import { memoryListener } from '../../engine/network/memory.ts';
import { Outbox } from '../../engine/sessions/outbox.ts';
import { Turn } from '../../engine/sessions/turn.ts';
import { agree, check } from '../check.ts';
import { VirtualClock } from '../virtual-clock.ts';

function open(kernelBytes?: number) {
  const clock = new VirtualClock();
  const pool = new BlockPool();
  const counters = new Counters();
  const turn = new Turn(clock);
  const outboxes: Outbox[] = [];
  const listener = memoryListener(
    (link): LinkSink => {
      const outbox = new Outbox(link, pool, turn, counters);
      outboxes.push(outbox);
      return {
        linkBytes() {},
        linkReturned: () => outbox.returned(),
        linkDrained: () => outbox.look(),
        linkClosed: () => outbox.close(),
      };
    },
    { clock, drive: 'steps', ...(kernelBytes === undefined ? {} : { kernelBytes }) },
  );
  const peer = listener.connect();
  const settle = () => {
    for (let worked = true; worked; ) worked = [clock.endTurn(), listener.step()].includes(true);
  };
  return { clock, pool, counters, listener, peer, outbox: outboxes[0]!, settle };
}

const TAPE_BYTES = 4_194_304;
/** Bytes that tell where in the stream they stand. */
const tape = Buffer.alloc(TAPE_BYTES);
for (let at = 0; at < TAPE_BYTES; at += 4) tape.writeUInt32LE(at, at);

/** Takes the tape piece by piece. */
class Stream {
  bytes = 0;

  write(outbox: Outbox, count: number): void {
    outbox.append(tape, this.bytes, this.bytes + count);
    this.bytes += count;
  }

  equals(received: Uint8Array): boolean {
    return tape.subarray(0, this.bytes).equals(received);
  }
}

const bytes = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 300 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      SMALL_BLOCK_BYTES,
      SMALL_BLOCK_BYTES + 1,
      MEDIUM_BLOCK_BYTES,
      LARGE_BLOCK_BYTES,
      LARGE_BLOCK_BYTES + 1,
    ),
  },
);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('write' as const), bytes }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('endTurn', 'step', 'pause', 'resume') }) },
);

describe('the outbox', () => {
  test('sends every byte once, in order, and returns every block', () =>
    check(
      fc.property(fc.constantFrom(200, 3_000, 65_536), fc.array(step, { maxLength: 60, size: 'max' }), (kernelBytes, steps) => {
        const { clock, pool, counters, listener, peer, outbox, settle } = open(kernelBytes);
        const stream = new Stream();
        let packets = 0;
        for (const one of steps) {
          if (one.do === 'write') {
            stream.write(outbox, one.bytes);
            packets++;
            agree(outbox.due, true);
          } else if (one.do === 'endTurn') {
            clock.endTurn();
            agree(outbox.due, false);
          } else if (one.do === 'step') listener.step();
          else if (one.do === 'pause') peer.pause();
          else peer.resume();
          agree(pool.unsentBytes === outbox.pendingBytes, true);
        }
        peer.resume();
        settle();
        agree(stream.equals(peer.received()), true);
        agree([pool.lent, outbox.pendingBytes, counters.bytesSent, counters.packetsSent], [0, 0, stream.bytes, packets]);
      }),
      200,
    ));

  test('gives its blocks back when the link is lost at any moment', () =>
    check(
      fc.property(fc.array(step, { maxLength: 30, size: 'max' }), fc.array(step, { maxLength: 8 }), (before, after) => {
        const { clock, pool, listener, peer, outbox, settle } = open(500);
        const stream = new Stream();
        const play = (one: typeof step extends fc.Arbitrary<infer T> ? T : never) => {
          if (one.do === 'write') stream.write(outbox, one.bytes);
          else if (one.do === 'endTurn') clock.endTurn();
          else if (one.do === 'step') listener.step();
        };
        for (const one of before) play(one);
        peer.abort();
        settle();
        agree([pool.lent, outbox.pendingBytes], [0, 0]);
        for (const one of after) play(one); // nobody should; nothing must come of it
        settle();
        agree([pool.lent, outbox.pendingBytes, pool.unsentBytes === 0], [0, 0, true]);
      }),
      200,
    ));

  test('counts what a long turn has sent before its end as sent', () => {
    const { pool, peer, outbox, settle } = open(1_048_576);
    for (let packet = 0; packet < 30; packet++) {
      outbox.append(tape, 0, LARGE_BLOCK_BYTES);
      agree(pool.unsentBytes === outbox.pendingBytes, true);
    }
    settle();
    agree([pool.unsentBytes === 0, outbox.pendingBytes, peer.received().length], [true, 0, 30 * LARGE_BLOCK_BYTES]);
  });

  test('writes once to the link for each turn that fits a block', () => {
    const { clock, listener, peer, outbox } = open();
    let chunks = 0;
    peer.onBytes = () => chunks++;
    for (let turn = 0; turn < 3; turn++) {
      for (let packet = 0; packet < 50; packet++) outbox.append(Uint8Array.of(packet), 0, 1);
      clock.endTurn();
      listener.step();
    }
    agree(chunks, 3);
  });

  test('holds no block while it has nothing to say', () => {
    const { pool, outbox, settle } = open();
    agree(pool.lent, 0);
    outbox.append(new Uint8Array(10), 0, 10);
    agree(pool.lent, 1);
    settle();
    agree(pool.lent, 0);
  });

  test('counts what the link has not taken, and learns when it has', () => {
    const { clock, listener, peer, outbox, settle } = open(100);
    peer.pause();
    outbox.append(new Uint8Array(350), 0, 350);
    agree(outbox.pendingBytes, 350);
    clock.endTurn();
    agree(outbox.pendingBytes, 250);
    listener.step();
    agree(outbox.pendingBytes, 250);
    peer.resume();
    settle();
    agree(outbox.pendingBytes, 0);
  });
});
