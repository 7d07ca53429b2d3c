// 1. What a stranger can make the broker hold before it has said who it is. Deeper: ../stalled-connect.test.ts, ../before-connack.test.ts.
// Red when: memory is set aside for what a length claims, a first packet of any size or type is waited for, or one that never ends is kept.
import { afterEach, describe, expect, test } from 'vitest';
import { ONE_SHARD } from '../../broker.ts';
import { connect, hex, varint } from '../../conformance/bytes.ts';
import { useRig } from '../../conformance/rig.ts';
import { allClosed, openCrowd, Peer } from '../peer.ts';
import { Witness } from '../witness.ts';

const CONNECT_BYTES_MAX = 131_072;
/** Whatever is closed here is not closed by the time that a stranger has. */
const patient = useRig([ONE_SHARD, 'limits.connect_timeout_ms=3600000', `limits.connect_bytes_max=${CONNECT_BYTES_MAX}`]);
const hasty = useRig(['limits.connect_timeout_ms=500']);
const peers: Peer[] = [];
afterEach(() => {
  for (const peer of peers.splice(0)) peer.drop();
});

async function opened(port: number): Promise<Peer> {
  const peer = await Peer.open(port);
  peers.push(peer);
  return peer;
}

describe('is closed at its header', () => {
  test.each([
    ['a CONNECT of one byte more than allowed', Buffer.concat([hex('10'), varint(CONNECT_BYTES_MAX)])],
    ['a CONNECT of 256 MiB', hex('10 ff ff ff 7f')],
    ['a PUBLISH of 256 MiB, which is no CONNECT', hex('30 ff ff ff 7f')],
    ['a PUBLISH that is no CONNECT, at its first byte', hex('30')],
  ])('%s', async (_what, header) => {
    const peer = await opened(patient.broker.tcp);
    void peer.send(header);
    await peer.until('the broker closes the connection', () => peer.closed);
    expect(peer.receivedBytes).toBe(0);
  });
});

test('five hundred that claim the largest CONNECT and stall cost what they sent, not the 65 MB that they claim', async () => {
  const witness = await Witness.open(patient.broker.tcp);
  const held = () => {
    const { arrayBuffers, heapUsed } = process.memoryUsage();
    return arrayBuffers + heapUsed;
  };
  const before = held();
  const crowd = await openCrowd(patient.broker.tcp, 500);
  peers.push(...crowd);
  await Promise.all(crowd.map((peer) => peer.send(Buffer.concat([hex('10'), varint(CONNECT_BYTES_MAX - 4), Buffer.alloc(200)]))));
  await witness.isServed();
  expect(crowd.some(({ closed }) => closed)).toBe(false);
  expect(held() - before).toBeLessThan(25_000_000);
  witness.drop();
});

test('those that stall, or never send a byte, are closed in time', async () => {
  const crowd = await openCrowd(hasty.broker.tcp, 20);
  peers.push(...crowd);
  const packet = connect(5, { clientId: 'never' });
  crowd.forEach((peer, at) => void peer.send(packet.subarray(0, at % packet.length)));
  await allClosed(crowd);
  expect(crowd.every(({ receivedBytes }) => receivedBytes === 0)).toBe(true);
});
