// Publishers that never use a topic twice, to hundreds of sessions that match them all: every message works out a route with a target for
// each session, and what is remembered of them must have a bound. The broker runs on a heap that would not hold a few thousand of them.
import { expect, test } from 'vitest';
import { connect, property, publish, subscribe } from '../conformance/bytes.ts';
import { RawClient } from '../conformance/raw-client.ts';
import { serve } from '../end-to-end/served.ts';
import { temporaryFile } from '../security/temporary.ts';
import { openCrowd } from './peer.ts';
import { Witness } from './witness.ts';

const SESSIONS = 500;
const PUBLISHERS = 8;
/** 8,000 routes of 500 targets are 4 million targets of about 90 bytes: much more than the heap can hold. */
const TOPICS_EACH = 1_000;
const HEAP_MIB = 192;

test('neither the routes nor the rights that were asked for on them pile up', async () => {
  const toml = `[auth]\nacl_file = '${temporaryFile('topic readwrite #\n')}'\n`;
  const served = await serve(toml, [], { NODE_OPTIONS: `--max-old-space-size=${HEAP_MIB}` });
  const port = served.port('tcp');
  const crowd = await openCrowd(port, SESSIONS);
  crowd.forEach((peer, at) => {
    const hello = connect(5, { clientId: `away-${at}`, properties: [property.sessionExpiryS(600)] });
    void peer.send(Buffer.concat([hello, subscribe(5, { filters: [['new/#', 0]] })]));
  });
  await Promise.all(crowd.map((peer) => peer.until('SUBACK', () => peer.packets.length === 2)));
  for (const peer of crowd) peer.drop();

  const witness = await Witness.open(port);
  const publishers = await Promise.all(
    Array.from({ length: PUBLISHERS }, async (_, at) => {
      const client = await RawClient.connect(port, 5);
      client.send(connect(5, { clientId: `publisher-${at}` }));
      await client.expect('20 .. 00 00 *');
      return client;
    }),
  );
  for (let from = 0; from < TOPICS_EACH; from += 125) {
    for (const [own, client] of publishers.entries()) {
      client.send(...Array.from({ length: 125 }, (_, at) => publish(5, { topic: `new/${own}/${from + at}` })));
      client.send('c0 00');
      expect((await client.nextPacket(20_000)).firstByte).toBe(0xd0);
    }
    // Every change of subscriptions makes what is remembered stale.
    publishers[0]!.send(subscribe(5, { filters: [[`own/${from}`, 0]] }));
    expect((await publishers[0]!.nextPacket(20_000)).firstByte).toBe(0x90);
  }
  await witness.isServed();
  witness.drop();
  for (const client of publishers) client.drop();
  expect(await served.stop(), served.child.stderr).toEqual({ code: 0, signal: null });
});
