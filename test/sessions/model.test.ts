// The session state machine against a model, through thousands of random histories: late, lost, repeated and reordered acknowledgements,
// cut connections, take-over, sessions and messages that expire, a store that lags behind or crashes. What must hold stands in
// model.ts and client.ts; what must be left at the end, in world.ts.
import fc from 'fast-check';
import { test } from 'vitest';
import { Level } from '../../protocol/packet.ts';
import { check } from '../check.ts';
import { histories, overCrashing, overLagging, overMemory, play, type Weights } from './history.ts';
import { World, type WorldOptions } from './world.ts';

const RUNS = Number(process.env['RUNS'] ?? 1_000);
const level = fc.constantFrom(Level.V31, Level.V311, Level.V5, Level.V5);

function worlds(store: WorldOptions['store']): fc.Arbitrary<WorldOptions> {
  return fc.record({
    levels: fc.tuple(level, level, level),
    store: fc.constant(store),
    readsLater: fc.boolean(),
    narrow: fc.nat(3).map((dice) => dice === 0),
    seed: fc.integer(),
    splits: fc.nat(3).map((dice) => dice === 0),
  });
}

function holds(store: WorldOptions['store'], weights: Weights): Promise<void> {
  return check(
    fc.asyncProperty(worlds(store), histories(weights), fc.boolean(), async (options, history, byReconnect) => {
      const world = new World(options);
      await play(world, history);
      world.drain(byReconnect);
      world.finish();
    }),
    RUNS,
  );
}

test('holds over a store that is durable at once', () => holds('memory', overMemory));

test('holds over a store that lags behind', () => holds('lagging', overLagging));

test('holds when the process dies and what was durable comes back', () => holds('lagging', overCrashing));
