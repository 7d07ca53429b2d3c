// Headers in which proxies name the client, held against a naive reading of them.
import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressList, addressText, canonicalAddress } from '../../engine/network/address.ts';
import { clientBehind } from '../../engine/network/forwarded.ts';

const trusted = addressList('web', 'proxy_trusted', ['10.0.0.0/8', 'fd00::/8']);
const listed = (value: string) => clientBehind('x-forwarded-for', value, trusted);
const forwarded = (value: string) => clientBehind('forwarded', value, trusted);

describe('a list of addresses', () => {
  test.each<[value: string, client: string | null]>([
    ['203.0.113.9', '203.0.113.9'],
    [' 203.0.113.9\t', '203.0.113.9'],
    ['203.0.113.9:4711', '203.0.113.9'],
    ['2001:DB8:0:0::1', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['[2001:db8::1]:4711', '2001:db8::1'],
    ['::ffff:203.0.113.9', '203.0.113.9'],
    ['6.6.6.6, 203.0.113.9', '203.0.113.9'],
    ['6.6.6.6, 203.0.113.9, 10.1.1.1, fd00::7', '203.0.113.9'],
    ['10.9.9.9, 10.1.1.1', '10.9.9.9'],
    // What the client wrote before the proxy's entry is the client's own affair.
    ['"><script>, , unknown, 203.0.113.9', '203.0.113.9'],
    [',203.0.113.9', '203.0.113.9'],
    ['', null],
    ['203.0.113.9,', null],
    ['unknown', null],
    ['203.0.113.9, unknown, 10.1.1.1', null],
    ['localhost', null],
    ['203.0.113', null],
    ['203.0.113.9:', null],
    ['203.0.113.9:123456', null],
    ['[203.0.113.9]x', null],
    ['[2001:db8::1', null],
    ['2001:db8::1]', null],
    ['fe80::1%eth0', null],
    ['[fe80::1%eth0]', null],
    ['0x7f.1', null],
    ['203.0.113.9 10.1.1.1', null],
  ])('"%s" names %s', (value, client) => expect(listed(value)).toBe(client));

  test('of 1,000 addresses the last one counts; of proxies as many as a way can have', () => {
    const many = Array.from({ length: 1_000 }, (_, at) => `198.51.${at >> 8}.${at & 0xff}`).join(', ');
    expect(listed(many)).toBe('198.51.3.231');
    const proxies = (count: number) => Array.from({ length: count }, (_, at) => `10.0.0.${at}`).join(',');
    expect(listed(proxies(32))).toBe('10.0.0.0');
    expect(listed(proxies(33))).toBeNull();
    expect(listed(proxies(1_000))).toBeNull();
    expect(listed(`203.0.113.9,${proxies(31)}`)).toBe('203.0.113.9');
    expect(listed(`203.0.113.9,${proxies(32)}`)).toBeNull();
    expect(listed(','.repeat(100_000))).toBeNull();
  });

  test('is what splitting it and looking from the right gives', () => {
    const entry = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom('10.0.0.1', 'fd00::1', 'unknown', '', ' ', '1.2.3.4:5'));
    const naive = (entries: readonly string[]) => {
      const addresses = entries.map((text) => {
        const bare = text.trim().replace(/^([\d.]+):\d+$/, '$1');
        return isIP(bare) === 0 ? null : canonicalAddress(bare);
      });
      const last = addresses.findLast((address) => address === null || !trusted.has(address));
      return last === undefined ? addresses[0]! : last;
    };
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 30 }), (entries) => {
        expect(listed(entries.join(','))).toBe(naive(entries));
      }),
    );
  });
});

describe('Forwarded (RFC 7239)', () => {
  test.each<[value: string, client: string | null]>([
    ['for=203.0.113.9', '203.0.113.9'],
    ['For="[2001:db8::1]:4711"', '2001:db8::1'],
    ['for=203.0.113.9;proto=https;by=10.0.0.1', '203.0.113.9'],
    ['proto=https ; for="203.0.113.9:80"', '203.0.113.9'],
    ['for=6.6.6.6, for=203.0.113.9, for=10.1.1.1', '203.0.113.9'],
    ['for="a, for=6.6.6.6", for=203.0.113.9', '203.0.113.9'],
    ['for="\\2\\03.0.113.9"', '203.0.113.9'],
    ['for=203.0.113.9, proto=https', null],
    ['for=unknown', null],
    ['for=_hidden, for=10.1.1.1', null],
    ['for=203.0.113.9;for=6.6.6.6', null],
    ['for=[2001:db8::1]', null],
    ['for="203.0.113.9', null],
    ['for="203.0.113.9"x', null],
    // A quote that the client left open swallows what the proxy added: nobody is named.
    ['for=6.6.6.6;x=", for=203.0.113.9', null],
    ['for', null],
    ['203.0.113.9', null],
    ['', null],
    [`for=203.0.113.9;x=${'y'.repeat(4_096)}`, null],
  ])('%s names %s', (value, client) => expect(forwarded(value)).toBe(client));

  test('any text gives an address or nothing, in a bounded time', () => {
    const piece = fc.constantFrom('for=', '"', '\\', ',', ';', '203.0.113.9', '10.0.0.1', ' ', '=', '[::1]', 'x');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 400 }), (pieces) => {
        const client = forwarded(pieces.join(''));
        if (client !== null) expect(isIP(client)).not.toBe(0);
      }),
    );
  });
});

test('an address has one form, however it is written', () => {
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(bytes, fc.boolean(), (address, isMapped) => {
      if (isMapped) address.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
      const groups = Array.from({ length: 8 }, (_, at) =>
        ((address[2 * at]! << 8) | address[2 * at + 1]!).toString(16).padStart(4, '0'),
      );
      expect(canonicalAddress(groups.join(':').toUpperCase())).toBe(addressText(address, 0, 16));
    }),
  );
});
