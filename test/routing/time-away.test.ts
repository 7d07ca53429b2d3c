// Kept time that is set ahead once a clock is believed after all: for whom the time counts in which no broker ran. Time and the network stand still until a test moves them.
import { expect, test } from 'vitest';
import { memoryListener } from '../../engine/network/memory.ts';
import { countTimeAway } from '../../engine/routing/lifecycle.ts';
import { acceptLink } from '../../engine/routing/sink.ts';
import { MemoryStore } from '../../storage/memory.ts';
import { connect, property } from '../conformance/bytes.ts';
import { SeededRandom } from '../seeded-random.ts';
import { roomy, shardOver } from '../sessions/shard.ts';
import { VirtualClock } from '../virtual-clock.ts';

const EXPIRY_S = 3_600;
const AWAY_MS = 3_000_000;

class SetClock extends VirtualClock {
  aheadMs = 0;

  override keptMs(): number {
    return super.keptMs() + this.aheadMs;
  }
}

test('who had left by then has been away for that long too, and who left since has not', () => {
  const clock = new SetClock();
  const shard = shardOver({ limits: roomy, clock, random: new SeededRandom(1), store: new MemoryStore() });
  const listener = memoryListener((link) => acceptLink(shard, link), { clock, drive: 'steps' });
  const settle = () => {
    for (let worked = true; worked; ) worked = [listener.step(), clock.endTurn()].includes(true);
  };
  const comesAndGoes = (clientId: string) => {
    const peer = listener.connect();
    peer.send(connect(5, { clientId, properties: [property.sessionExpiryS(EXPIRY_S)] }));
    settle();
    peer.abort();
    settle();
    expect(shard.sessions.find(clientId)?.connection).toBe(null);
  };
  const present = () => ['old', 'young'].filter((clientId) => shard.sessions.find(clientId) !== null);

  comesAndGoes('old');
  clock.advance(10_000);
  const sinceMs = clock.keptMs();
  comesAndGoes('young');
  clock.aheadMs = AWAY_MS;
  comesAndGoes('between');
  countTimeAway(shard, sinceMs, AWAY_MS);
  for (const clientId of ['young', 'between'])
    expect(shard.sessions.find(clientId)!.disconnectedAtMs, clientId).toBe(clock.keptMs());
  clock.advance(EXPIRY_S * 1_000 - AWAY_MS - 20_000);
  expect(present()).toEqual(['old', 'young']);
  clock.advance(20_000);
  expect(present()).toEqual(['young']);
  clock.advance(AWAY_MS - 1_000);
  expect(present()).toEqual(['young']);
  clock.advance(1_000);
  expect(present()).toEqual([]);
});
