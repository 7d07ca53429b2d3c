// What keeps messages from going round: the property that each broker adds, found among all others, and nowhere else.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LoopTag } from '../../engine/bridge/loop-tag.ts';
import { MessageView } from '../../protocol/publish.ts';

const OWN = 'abcdefgh23456723';
const NAME = 'lethe-bridge';
const tag = new LoopTag(OWN);

function textBytes(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >>> 8, bytes.length & 255]), bytes]);
}

function userProperty(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0x26]), textBytes(name), textBytes(value)]);
}

/** A message with these properties behind some bytes that are none of its own. */
function viewOf(properties: readonly Buffer[]): MessageView {
  const view = new MessageView();
  view.properties = Buffer.concat([tag.bytes, ...properties, tag.bytes]);
  view.propertiesFrom = tag.bytes.length;
  view.propertiesTo = view.properties.length - tag.bytes.length;
  return view;
}

const text = fc.oneof(
  fc.constantFrom(NAME, OWN, '', 'other', Buffer.from(tag.bytes).toString('latin1')),
  fc.string({ maxLength: 20 }),
);
const property = fc.oneof(
  fc.tuple(text, text).map(([name, value]) => ({ bytes: userProperty(name, value), isOwn: name === NAME && value === OWN })),
  fc
    .oneof(
      fc.nat(1).map((bit) => Buffer.from([0x01, bit])),
      fc
        .tuple(fc.constantFrom(0x03, 0x08, 0x09), text)
        .map(([id, value]) => Buffer.concat([Buffer.from([id]), textBytes(value)])),
    )
    .map((bytes) => ({ bytes, isOwn: false })),
);

test('is found where it stands as a user property, and nowhere else', () => {
  fc.assert(
    fc.property(fc.array(property, { maxLength: 8 }), (properties) => {
      expect(tag.isSpent(viewOf(properties.map(({ bytes }) => bytes)))).toBe(properties.some(({ isOwn }) => isOwn));
    }),
    { numRuns: 1_000 },
  );
});

test('is written as it is found', () => {
  expect(Buffer.from(tag.bytes)).toEqual(userProperty(NAME, OWN));
});

test('a message passes no more than 16 brokers', () => {
  const passed = (hops: number) =>
    tag.isSpent(viewOf(Array.from({ length: hops }, (_, hop) => userProperty(NAME, `broker ${hop}`))));
  expect([passed(0), passed(15), passed(16)]).toEqual([false, false, true]);
});
