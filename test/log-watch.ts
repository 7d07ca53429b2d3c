// For every test file: what brokers have logged under its tests was nothing but what a line may be (log-lines.ts).
import { afterAll, expect } from 'vitest';
import { takeFaults } from './log-lines.ts';

afterAll(() => {
  expect(takeFaults()).toEqual([]);
});
