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
  view.properties = Buffer.concat([tag.in, ...properties, tag.in]);
  view.propertiesFrom = tag.in.length;
  view.propertiesTo = view.properties.length - tag.in.length;
  return view;
}

const text = fc.oneof(fc.constantFrom(NAME, OWN, '', 'other', `${OWN}<`, `${OWN}>`), fc.string({ maxLength: 20 }));
const property = fc.oneof(
  fc.tuple(text, text).map(([name, value]) => ({ bytes: userProperty(name, value), sign: name === NAME ? value : '' })),
  fc
    .oneof(
      fc.nat(1).map((bit) => Buffer.from([0x01, bit])),
      fc
        .tuple(fc.constantFrom(0x03, 0x08, 0x09), text)
        .map(([id, value]) => Buffer.concat([Buffer.from([id]), textBytes(value)])),
      fc.constantFrom(0x03, 0x08, 0x09).map((id) => Buffer.concat([Buffer.from([id, 0, tag.out.length]), tag.out])),
    )
    .map((bytes) => ({ bytes, sign: '' })),
);

test('is found where it stands as a user property, and nowhere else', () => {
  fc.assert(
    fc.property(fc.array(property, { maxLength: 8 }), (properties) => {
      const view = viewOf(properties.map(({ bytes }) => bytes));
      const has = (value: string) => properties.some(({ sign }) => sign === value);
      expect([tag.wasSent(view), tag.wasHere(view)]).toEqual([has(`${OWN}>`), has(`${OWN}<`) || has(`${OWN}>`)]);
    }),
    { numRuns: 1_000 },
  );
});

test('is written as it is found', () => {
  expect([Buffer.from(tag.in), Buffer.from(tag.out)]).toEqual([userProperty(NAME, `${OWN}<`), userProperty(NAME, `${OWN}>`)]);
});

test('a message gets no more than 32 signs', () => {
  const passed = (signs: number) => {
    const view = viewOf(Array.from({ length: signs }, (_, sign) => userProperty(NAME, `broker ${sign}`)));
    return [tag.wasSent(view), tag.wasHere(view)];
  };
  expect([passed(0), passed(31), passed(32)]).toEqual([
    [false, false],
    [false, false],
    [true, true],
  ]);
});
