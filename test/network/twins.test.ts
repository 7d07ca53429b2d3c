// Handles that must not close a number which is another's by now.
import { closeSync, fstatSync, openSync, readdirSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import type { NodeHandle } from '../../engine/network/node-handles.ts';
import { retireTwin } from '../../engine/network/twins.ts';

const files: number[] = [];
afterEach(() => {
  for (const file of files.splice(0)) closeSync(file);
});

/** Closes its number as a handle does, whoever has it. */
class TwinOf implements NodeHandle {
  readonly fd: number;
  closed = 0;

  constructor(fd: number) {
    this.fd = fd;
  }

  close(): void {
    this.closed++;
    closeSync(this.fd);
  }
}

/** A number that has been closed just now. */
function freeNumber(): number {
  const number = openSync('/dev/null', 'r');
  closeSync(number);
  return number;
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

test('a number that is free is closed at once, and nothing else', () => {
  const before = descriptors();
  const twin = new TwinOf(freeNumber());
  retireTwin(twin, twin.fd);
  expect(twin.closed).toBe(1);
  expect(descriptors()).toBe(before);
});

test('so is one above others that are free', () => {
  const before = descriptors();
  const several = Array.from({ length: 20 }, () => openSync('/dev/null', 'r'));
  for (const number of several) closeSync(number);
  const twin = new TwinOf(several.at(-1)!);
  retireTwin(twin, twin.fd);
  expect(twin.closed).toBe(1);
  expect(descriptors()).toBe(before);
});

test('a number that another has got is left alone until it is free, and is closed once', () => {
  const twin = new TwinOf(freeNumber());
  const stranger = openSync(import.meta.filename, 'r');
  files.push(stranger);
  expect(stranger).toBe(twin.fd);
  retireTwin(twin, twin.fd);
  expect(twin.closed).toBe(0);
  expect(fstatSync(stranger).size).toBeGreaterThan(0);

  const second = new TwinOf(freeNumber());
  retireTwin(second, second.fd);
  expect([twin.closed, second.closed]).toEqual([0, 1]);

  // Free again, it is also the next one's: one closes it, the other one waits for it once more.
  closeSync(files.pop()!);
  const third = new TwinOf(freeNumber());
  expect(third.fd).toBe(twin.fd);
  retireTwin(third, third.fd);
  expect([twin.closed, third.closed]).toEqual([1, 0]);
  const above = [openSync('/dev/null', 'r'), openSync('/dev/null', 'r')];
  for (const number of above) closeSync(number);
  const last = new TwinOf(above[1]!);
  retireTwin(last, last.fd);
  expect([twin.closed, third.closed, last.closed]).toEqual([1, 1, 1]);
});
