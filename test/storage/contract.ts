// What every store must do, as storage/store.ts says it: a suite that is run once for each store there is.
//
// A store may answer late and hold things a moment longer than it must, so nothing is asked of it before it has settled: everything
// that was taken is durable then.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { MessageView } from '../../protocol/publish.ts';
import { GoneReason, type Held } from '../../storage/store.ts';
import { testHistories } from './contract-histories.ts';
import { bytesOf, contentOf, fieldsOf, messageOf } from './message.ts';
import { type Delivery, type Opened, Recovered, readOnce, settle, WAIT } from './opened-store.ts';

export interface StoreTraits {
  /** Random histories to try: fewer for a store that costs more. */
  readonly histories: number;
}

const PAST_MS = 1_000;

export function describeStore(name: string, open: () => Promise<Opened>, { histories }: StoreTraits): void {
  describe(name, () => {
    let opened: Opened;

    beforeEach(async () => {
      opened = await open();
      expect(await Recovered.of(opened.store)).toEqual(new Recovered());
    });
    afterEach(() => opened.dispose());

    const record = (session: number, text = `session ${session}`) => opened.store.putSession(session, Buffer.from(text), false);
    /** Puts one message and owes it to each session at the position that it names. */
    const owe = (
      message: MessageView,
      ...to: readonly (readonly [session: number, position: number, bits?: number, ids?: Uint8Array])[]
    ) => {
      const number = opened.store.putMessage(message);
      expect(number).toBeGreaterThan(0);
      for (const [session, position, bits = 1, ids = new Uint8Array(0)] of to) {
        opened.store.addDelivery(session, position, number, bits, ids);
      }
      opened.store.flush();
      return number;
    };
    const positionsOf = async (session: number, from = 0) =>
      (await readOnce(opened, session, from, 10_000)).found.map(({ position }) => position);
    const held = async (expected: Partial<Held>) => {
      await settle(opened);
      await vi.waitFor(() => expect(opened.store.held()).toMatchObject(expected), WAIT);
    };
    const restart = async () => {
      await settle(opened);
      opened = await opened.restart();
      return Recovered.of(opened.store);
    };

    test('numbers every intent, and makes each durable in the end', async () => {
      const { store } = opened;
      const before = store.sequence;
      expect(store.durable).toBe(before);
      record(1);
      store.putSubscription(1, 1, Buffer.from('t'), 1, 0);
      expect(store.sequence).toBe(before + 2);
      owe(messageOf({}), [1, 0]);
      store.addInbound(1, 7);
      store.markReceived(1, 0);
      store.dropInbound(1, 7);
      store.dropDelivery(1, 0);
      store.dropSubscription(1, 1);
      expect(store.putRetained(1, messageOf({ payload: 'x' }))).toBe(0);
      store.dropRetained(1);
      store.trim(1, 0);
      store.dropSession(1);
      expect(store.sequence).toBe(before + 13);
      expect(store.durable).toBeLessThanOrEqual(store.sequence);
      await settle(opened);
      expect(store.durable).toBe(store.sequence);
      await held({ sessions: 0, messages: 0, messageBytes: 0, retained: 0, retainedBytes: 0 });
    });

    describe('deliveries', () => {
      test('come back as they were owed, in order', async () => {
        record(1);
        const properties = Uint8Array.of(0x01, 1, 0x03, 0, 1, 0x61);
        const messages = [
          messageOf({ topic: 'a/b', payload: 'one', properties, qos: 1, retain: 0 }),
          messageOf({ topic: 'ü', payload: '', qos: 2, retain: 1 }),
          messageOf({ topic: 'c', payload: Buffer.alloc(70_000, 0xfe), qos: 2, expiresAtMs: 4_000_000_000_000 }),
        ];
        const expected = messages.map((message, position): Delivery => {
          const bits = 1 + position;
          const ids = position === 1 ? Uint8Array.of(0x0b, 5, 0x0b, 0x80, 1) : new Uint8Array(0);
          owe(message, [1, position, bits, ids]);
          return { position, bits, ids: Buffer.from(ids).toString('hex'), received: false, message: contentOf(message) };
        });
        expect((await readOnce(opened, 1, 0, 10)).found).toEqual(expected);
        await settle(opened);
        expect((await readOnce(opened, 1, 0, 10)).found).toEqual(expected);
        await restart();
        expect((await readOnce(opened, 1, 0, 10)).found).toEqual(expected);
      });

      test('what is handed over is borrowed for the call', async () => {
        const bytes = Buffer.from('record');
        opened.store.putSession(1, bytes, false);
        const filter = Buffer.from('filter');
        opened.store.putSubscription(1, 1, filter, 1, 0);
        const message = messageOf({ topic: 'topic', payload: 'payload', properties: Buffer.from([1, 1]), retain: 1 });
        const [expected, retained] = [contentOf(message), fieldsOf(message)];
        owe(message, [1, 0]);
        opened.store.putRetained(1, message);
        for (const part of [bytes, filter, message.topic, message.properties, message.payload]) part.fill(0x21);
        expect((await readOnce(opened, 1, 0, 1)).found[0]!.message).toEqual(expected);
        const found = await restart();
        expect([...found.sessions.values(), ...found.subscriptions.values(), ...found.retained.values()]).toEqual([
          'record',
          'filter 1 0',
          retained,
        ]);
      });

      test('are read from a position on, up to a limit, and the end says where to go on', async () => {
        record(1);
        for (let position = 0; position < 30; position++) owe(messageOf({ payload: String(position) }), [1, position]);
        for (const position of [0, 3, 4, 5, 17, 29]) opened.store.dropDelivery(1, position);
        const left = Array.from({ length: 30 }, (_, position) => position).filter(
          (position) => ![0, 3, 4, 5, 17, 29].includes(position),
        );
        for (const isSettled of [false, true]) {
          if (isSettled) await settle(opened);
          for (const limit of [1, 2, 7, 24, 25, 100]) {
            const positions: number[] = [];
            for (let from = 0; from < 30; ) {
              const { found, next } = await readOnce(opened, 1, from, limit);
              expect(found.length).toBeLessThanOrEqual(limit);
              expect(next, 'a read that does not go on would be asked for ever').toBeGreaterThan(from);
              for (const { position } of found) expect(position >= from && position < next).toBe(true);
              positions.push(...found.map(({ position }) => position));
              from = next;
            }
            expect(positions).toEqual(left);
          }
        }
        expect(await positionsOf(1, 16)).toEqual(left.filter((position) => position >= 16));
        expect(await readOnce(opened, 1, 30, 5)).toEqual({ found: [], next: 30 });
      });

      test('positions may jump', async () => {
        record(1);
        for (const position of [0, 1, 100, 101, 70_000]) owe(messageOf({ payload: String(position) }), [1, position]);
        expect(await positionsOf(1)).toEqual([0, 1, 100, 101, 70_000]);
        opened.store.dropDelivery(1, 100);
        opened.store.dropDelivery(1, 50); // there is none
        expect(await positionsOf(1, 1)).toEqual([1, 101, 70_000]);
        const found = await restart();
        expect(await positionsOf(1)).toEqual([0, 1, 101, 70_000]);
        expect(found.deliveries.get(1)).toMatchObject({ base: 0, end: 70_001, messages: 4 });
      });

      test('a session that is not there has none', async () => {
        expect(await readOnce(opened, 9, 4, 10)).toEqual({ found: [], next: 4 });
        record(1);
        owe(messageOf({}), [1, 0]);
        opened.store.dropDelivery(2, 0);
        opened.store.markReceived(2, 0);
        opened.store.dropInbound(2, 1);
        opened.store.dropSubscription(2, 1);
        opened.store.dropSession(2);
        expect(await positionsOf(1)).toEqual([0]);
      });

      test('one that was received keeps its place and loses its message', async () => {
        record(1);
        for (let position = 0; position < 3; position++) owe(messageOf({ payload: String(position), qos: 2 }), [1, position, 2]);
        opened.store.markReceived(1, 1);
        opened.store.markReceived(1, 1); // a second PUBREC changes nothing
        const judge = async () => {
          const { found } = await readOnce(opened, 1, 0, 10);
          expect(found.map(({ position, received, message }) => [position, received, message?.payload])).toEqual([
            [0, false, '0'],
            [1, true, undefined],
            [2, false, '2'],
          ]);
        };
        await judge();
        await held({ messages: 2 });
        await judge();
        await restart();
        await judge();
        opened.store.dropDelivery(1, 1);
        expect(await positionsOf(1)).toEqual([0, 2]);
      });

      test('recovery counts what is owed and kept, not what was received', async () => {
        record(1);
        const messages = [0, 1, 2].map((at) => messageOf({ payload: 'x'.repeat(10 * at + 1), qos: 2 }));
        for (const [position, message] of messages.entries()) owe(message, [1, position, 2]);
        opened.store.markReceived(1, 1);
        const found = await restart();
        const bytes = bytesOf(messages[0]!) + bytesOf(messages[2]!);
        expect(found.deliveries.get(1)).toEqual({ base: 0, end: 3, messages: 2, bytes });
      });

      test('of two megabytes come back too', async () => {
        record(1);
        const message = messageOf({ topic: 'large', payload: Buffer.alloc(2_000_000, 'abc') });
        owe(message, [1, 0]);
        owe(messageOf({ payload: 'small' }), [1, 1]);
        for (const isRestarted of [false, true]) {
          if (isRestarted) await restart();
          const { found } = await readOnce(opened, 1, 0, 10);
          expect(found.map((delivery) => delivery.message!.payload.length)).toEqual([2_000_000, 5]);
          expect(found[0]!.message!.payload).toBe(fieldsOf(message).payload);
        }
      });
    });

    describe('references', () => {
      const message = () => messageOf({ topic: 'shared', payload: 'x'.repeat(100) });

      test('a message is held once, however many wait for it', async () => {
        for (const session of [1, 2, 3]) record(session);
        owe(message(), [1, 0], [2, 0], [3, 0]);
        await held({ sessions: 3, messages: 1, messageBytes: bytesOf(message()) });
        opened.store.dropDelivery(1, 0);
        opened.store.markReceived(2, 0);
        await held({ messages: 1 });
        expect((await readOnce(opened, 3, 0, 1)).found[0]!.message).toEqual(contentOf(message()));
        opened.store.dropSession(3);
        await held({ sessions: 2, messages: 0, messageBytes: 0 });
      });

      test.each(['dropDelivery', 'markReceived', 'dropSession'] as const)('%s lets the last one go', async (how) => {
        for (const session of [1, 2]) record(session);
        owe(message(), [1, 0], [2, 0]);
        owe(messageOf({ payload: 'other' }), [1, 1], [2, 1]);
        await settle(opened);
        for (const session of [1, 2]) {
          if (how === 'dropSession') opened.store.dropSession(session);
          else for (const position of [0, 1]) opened.store[how](session, position);
        }
        await held({ messages: 0, messageBytes: 0 });
      });

      test('outlive a restart, each session with its own', async () => {
        for (const session of [1, 2, 3]) record(session);
        owe(message(), [1, 0], [2, 0], [3, 0]);
        owe(messageOf({ payload: 'two' }), [2, 1], [3, 1]);
        opened.store.dropDelivery(2, 0);
        await restart();
        await held({ sessions: 3, messages: 2 });
        expect([await positionsOf(1), await positionsOf(2), await positionsOf(3)]).toEqual([[0], [1], [0, 1]]);
        opened.store.dropDelivery(1, 0);
        opened.store.dropDelivery(3, 0);
        await held({ messages: 1, messageBytes: bytesOf(messageOf({ payload: 'two' })) });
        expect((await readOnce(opened, 2, 0, 5)).found[0]!.message!.payload).toBe('two');
      });

      test('a queue goes on where it was after a restart', async () => {
        record(1);
        owe(messageOf({ payload: '0' }), [1, 0]);
        owe(messageOf({ payload: '1' }), [1, 1]);
        opened.store.dropDelivery(1, 0);
        const { end } = (await restart()).deliveries.get(1)!;
        expect(end).toBeGreaterThanOrEqual(2);
        owe(messageOf({ payload: 'new' }), [1, end]);
        const { found } = await readOnce(opened, 1, 0, 10);
        expect(found.map((delivery) => [delivery.position, delivery.message!.payload])).toEqual([
          [1, '1'],
          [end, 'new'],
        ]);
      });
    });

    describe('sessions', () => {
      test('have one record each, the last one', async () => {
        record(1, 'first');
        record(2, 'other');
        record(1, 'second');
        record(3, 'gone');
        opened.store.dropSession(3);
        await held({ sessions: 2 });
        expect((await restart()).sessions).toEqual(
          new Map([
            [1, 'second'],
            [2, 'other'],
          ]),
        );
      });

      test('have subscriptions by number', async () => {
        for (const session of [1, 2]) record(session);
        const put = (session: number, number: number, filter: string, options: number, identifier: number) =>
          opened.store.putSubscription(session, number, Buffer.from(filter), options, identifier);
        put(1, 1, 'a/+', 1, 0);
        put(1, 2, '$share/g/b', 2, 268_435_455);
        put(1, 3, 'gone', 0, 0);
        put(2, 1, 'a/+', 0, 7);
        put(1, 1, 'a/+', 6, 9);
        opened.store.dropSubscription(1, 3);
        const expected = new Map([
          ['1 1', 'a/+ 6 9'],
          ['1 2', '$share/g/b 2 268435455'],
          ['2 1', 'a/+ 0 7'],
        ]);
        expect((await restart()).subscriptions).toEqual(expected);
      });

      test('have identifiers of what their client has not released', async () => {
        for (const session of [1, 2]) record(session);
        for (const packetId of [1, 2, 3, 65_535]) opened.store.addInbound(1, packetId);
        opened.store.addInbound(2, 2);
        opened.store.dropInbound(1, 2);
        opened.store.dropInbound(1, 9);
        expect((await restart()).inbound).toEqual(
          new Map([
            [1, [1, 3, 65_535]],
            [2, [2]],
          ]),
        );
      });

      test('take everything with them', async () => {
        record(1);
        opened.store.putSubscription(1, 1, Buffer.from('t'), 1, 0);
        opened.store.addInbound(1, 4);
        owe(messageOf({}), [1, 0]);
        await settle(opened);
        opened.store.dropSession(1);
        record(2); // numbers are not given twice
        expect(await positionsOf(1)).toEqual([]);
        const found = await restart();
        expect([found.sessions, found.subscriptions, found.inbound]).toEqual([new Map([[2, 'session 2']]), new Map(), new Map()]);
      });
    });

    describe('retained messages', () => {
      test('are held by number, the last one of each', async () => {
        const one = messageOf({ topic: 'one', payload: 'x', retain: 1, qos: 1, properties: Uint8Array.of(1, 1) });
        const two = messageOf({ topic: 'two', payload: 'longer', retain: 1 });
        opened.store.putRetained(1, messageOf({ topic: 'one', payload: 'replaced', retain: 1 }));
        opened.store.putRetained(1, one);
        opened.store.putRetained(2, two);
        opened.store.putRetained(3, two);
        opened.store.dropRetained(3);
        opened.store.dropRetained(3);
        await held({ retained: 2, retainedBytes: bytesOf(one) + bytesOf(two), messages: 0 });
        expect((await restart()).retained).toEqual(
          new Map([
            [1, fieldsOf(one)],
            [2, fieldsOf(two)],
          ]),
        );
        opened.store.dropRetained(1);
        opened.store.dropRetained(2);
        await held({ retained: 0, retainedBytes: 0 });
      });
    });

    describe('what a store lets go of its own accord', () => {
      let told: { gone: object[]; retained: number[]; troubles: string[] };
      beforeEach(() => {
        const heard: typeof told = { gone: [], retained: [], troubles: [] };
        opened.store.listener = {
          taken() {},
          durable() {},
          gone: (session, position, bytes, reason) => heard.gone.push({ session, position, bytes, reason }),
          retainedGone: (number) => heard.retained.push(number),
          trouble: (message) => heard.troubles.push(message),
        };
        told = heard;
      });

      test('trim takes the oldest that is kept, from a position on', async () => {
        record(1);
        const messages = [0, 1, 2, 3].map((at) => messageOf({ payload: 'x'.repeat(at + 1), qos: 2 }));
        for (const [position, message] of messages.entries()) owe(message, [1, position, 2]);
        opened.store.markReceived(1, 1);
        opened.store.trim(1, 1);
        await settle(opened);
        await vi.waitFor(() => {
          opened.work?.();
          expect(told.gone).toEqual([{ session: 1, position: 2, bytes: bytesOf(messages[2]!), reason: GoneReason.TRIMMED }]);
        }, WAIT);
        expect(await positionsOf(1)).toEqual([0, 1, 3]);
        opened.store.trim(1, 4);
        opened.store.trim(7, 0);
        await held({ messages: 2 });
        expect(told.gone).toHaveLength(1);
      });

      test('a message goes when its time is up, and is told', async () => {
        record(1);
        record(2);
        const brief = messageOf({ payload: 'brief', expiresAtMs: PAST_MS });
        owe(brief, [1, 0], [2, 0]);
        owe(messageOf({ payload: 'long', expiresAtMs: Date.now() + 3_600_000 }), [1, 1]);
        opened.store.putRetained(5, messageOf({ topic: 'r', payload: 'brief', retain: 1, expiresAtMs: PAST_MS }));
        opened.store.putRetained(6, messageOf({ topic: 's', payload: 'long', retain: 1 }));
        await settle(opened);
        await vi.waitFor(() => {
          opened.work?.();
          opened.store.expire(Date.now());
          expect(told.gone).toHaveLength(2);
          expect(told.retained).toEqual([5]);
        }, WAIT);
        expect(told.gone).toEqual(
          expect.arrayContaining(
            [1, 2].map((session) => ({ session, position: 0, bytes: bytesOf(brief), reason: GoneReason.EXPIRED })),
          ),
        );
        await held({ messages: 1, retained: 1 });
        expect([await positionsOf(1), await positionsOf(2)]).toEqual([[1], []]);
        expect(told.troubles).toEqual([]);
      });

      test('taken is told when there is something to flush', async () => {
        let taken = 0;
        opened.store.listener = { taken: () => taken++, durable() {}, gone() {}, retainedGone() {}, trouble() {} };
        record(1);
        const first = taken;
        record(2);
        expect(taken, 'once for each flush').toBeLessThanOrEqual(Math.max(first, 1));
        opened.store.flush();
        await settle(opened);
      });
    });

    test('the inventory counts what is held by class', async () => {
      opened.store.putSession(1, Buffer.from('with a will'), true);
      record(2);
      const message = messageOf({ payload: 'x'.repeat(20) });
      owe(message, [1, 0], [2, 0]);
      const retained = messageOf({ topic: 'r', payload: 'kept', retain: 1 });
      opened.store.putRetained(1, retained);
      await settle(opened);
      const inventory = opened.store.inventory();
      opened.work?.();
      expect(await inventory).toMatchObject({
        messages: { count: 1, bytes: bytesOf(message) },
        retained: { count: 1, bytes: bytesOf(retained) },
        sessions: { count: 2 },
        wills: { count: 1 },
        quarantined: { count: 0, bytes: 0, oldestMs: null },
      });
      expect((await inventory).messages.oldestMs).not.toBeNull();
    });

    testHistories(
      () => opened,
      (next) => {
        opened = next;
      },
      histories,
    );
  });
}
