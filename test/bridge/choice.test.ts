// Which version is spoken next, and how long is waited.
import { describe, expect, test } from 'vitest';
import { Backoff } from '../../engine/bridge/backoff.ts';
import { ProtocolChoice } from '../../engine/bridge/protocol-choice.ts';

function wordsOf(choice: ProtocolChoice): string {
  const { level, isPrivate } = choice.manner;
  return `${level}${isPrivate ? ' private' : ''}`;
}

describe('the version', () => {
  test('goes down where it is refused in so many words, and stays there', () => {
    const choice = new ProtocolChoice({ protocolVersion: 'auto', tryPrivate: true });
    expect([wordsOf(choice), choice.refused(), wordsOf(choice), choice.refused(), wordsOf(choice)]).toEqual([
      '5',
      true,
      '4 private',
      true,
      '4',
    ]);
    choice.accepted();
    expect(wordsOf(choice)).toBe('4');
    expect([choice.refused(), wordsOf(choice)]).toEqual([false, '5']);
  });

  test('is tried below for once where the remote broker closes without a word, again and again', () => {
    const choice = new ProtocolChoice({ protocolVersion: 'auto', tryPrivate: true });
    const tried = Array.from({ length: 10 }, () => {
      const words = wordsOf(choice);
      choice.closedSilently();
      return words;
    });
    expect(tried).toEqual(['5', '5', '5', '4 private', '4 private', '4 private', '4', '4', '4', '5']);
    choice.closedSilently();
    choice.accepted();
    expect(wordsOf(choice)).toBe('5');
  });

  test('is not given up for silence once it was accepted', () => {
    const choice = new ProtocolChoice({ protocolVersion: 'auto', tryPrivate: true });
    choice.accepted();
    for (let i = 0; i < 10; i++) choice.closedSilently();
    expect([wordsOf(choice), choice.refused(), wordsOf(choice)]).toEqual(['5', true, '4 private']);
  });

  test.each([
    ['mqttv50', true, '5'],
    ['mqttv311', true, '4 private'],
    ['mqttv311', false, '4'],
  ] as const)('%s (private: %s) begins with %s', (protocolVersion, tryPrivate, words) => {
    expect(wordsOf(new ProtocolChoice({ protocolVersion, tryPrivate }))).toBe(words);
  });
});

test('the wait doubles to its bound, less up to a half, and begins anew after a link that stood', () => {
  const waits = (bytes: number) => {
    const backoff = new Backoff(5, 30, { bytes: (count) => new Uint8Array(count).fill(bytes) });
    const list = Array.from({ length: 5 }, () => Math.round(backoff.nextMs()));
    backoff.stoodMs(4_999);
    list.push(Math.round(backoff.nextMs()));
    backoff.stoodMs(5_000);
    list.push(Math.round(backoff.nextMs()));
    return list;
  };
  expect(waits(0)).toEqual([2_500, 5_000, 10_000, 15_000, 15_000, 15_000, 2_500]);
  expect(waits(255)).toEqual([5_000, 10_000, 20_000, 30_000, 30_000, 30_000, 5_000]);
});
