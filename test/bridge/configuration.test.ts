// What a configuration with bridges is refused for, and how bridges are named on the way in.
import { describe, expect, test } from 'vitest';
import { processingRecord } from '../../engine/administration/report.ts';
import { parseAddress } from '../../engine/config/bridges.ts';
import { planReload } from '../../engine/config/plan-reload.ts';
import { printConfig } from '../../engine/config/print.ts';
import { type Config, loadConfig } from '../../engine/lethe.ts';
import { messageOf, temporaryFile } from '../security/temporary.ts';

const GOOD = { name: '"cloud"', addresses: '["mqtt.example.org"]', topics: '["sensors/# out 1"]' };

function tableOf(options: Readonly<Record<string, string>>): string {
  return ['[[bridge]]', ...Object.entries({ ...GOOD, ...options }).map(([key, value]) => `${key} = ${value}`), ''].join('\n');
}

function load(...tables: Readonly<Record<string, string>>[]): Config {
  return loadConfig({ file: temporaryFile(tables.map(tableOf).join('')) });
}

describe('is refused', () => {
  test.each([
    [{ name: '"Cloud"' }, /bridge.name must be lower-case/],
    [{ addresses: '[]' }, /at least one host:port/],
    [{ addresses: '["mqtt://there"]' }, /written as host:port/],
    [{ addresses: '["there:0"]' }, /written as host:port/],
    [{ topics: '[]' }, /at least one topic line/],
    [{ topics: '["a out", "b sideways"]' }, /bridge 'cloud': line 2: must have out, in or both/],
    [{ transport: '"tcp"' }, /in clear beyond loopback/],
    [{ transport: '"tcp"', addresses: '["127.0.0.1", "192.0.2.1"]' }, /in clear beyond loopback/],
    [{ transport: '"tcp"', addresses: '["[::1]:1883"]', ca_file: '"ca.pem"' }, /ca_file is for transport tls only/],
    [{ transport: '"wss"' }, /one of: tls, tcp/],
    [{ cert_file: '"cert.pem"' }, /go together/],
    [{ remote_password_file: '"password"' }, /needs remote_username/],
    [{ restart_timeout_s: '60', restart_timeout_max_s: '30' }, /must not be below/],
    [{ notification_topic: '"a/#"' }, /must be a topic name/],
    [{ protocol_version: '"mqttv31"' }, /auto, mqttv50, mqttv311/],
    [{ inflight_max: '0' }, /from 1 to 32767/],
    [{ remote_clientid: '"a\\u0000"' }, /U\+0000/],
    [{ bridge_cafile: '"x"' }, /unknown option/],
  ])('%j', (options, problem) => expect(messageOf(() => load(options))).toMatch(problem));

  test('two of one name, or with one session', () => {
    expect(messageOf(() => load({}, {}))).toMatch(/has the name of another bridge/);
    expect(messageOf(() => load({}, { name: '"other"', local_clientid: '"$bridge/cloud"' }))).toMatch(
      /has the local session of bridge 'cloud'/,
    );
  });

  test('with the line of the file', () => {
    const file = temporaryFile(tableOf({ transport: '"tcp"' }));
    expect(messageOf(() => loadConfig({ file }))).toBe(
      `${file}:5: bridge 'cloud': would carry messages in clear beyond loopback; use transport tls, or say insecure = true`,
    );
  });
});

describe('an option', () => {
  test('is set by --set and by the environment, by the name of the bridge', () => {
    const file = temporaryFile(tableOf({}));
    const env = { LETHE_BRIDGE__CLOUD__INFLIGHT_MAX: '7' };
    const [bridge] = loadConfig({ file, env, set: ['bridge.cloud.topics=["a in 2"]'] }).bridges;
    expect(bridge).toMatchObject({ inflightMax: 7, topics: ['a in 2'], transport: 'tls', sessionExpiryS: 2_678_400 });
    expect(messageOf(() => loadConfig({ file, set: ['bridge.none.inflight_max=7'] }))).toMatch(
      /no bridge named 'none'; there are: cloud/,
    );
  });

  test('that is printed is the one that was read', () => {
    const config = load({ remote_username: '"u"', insecure: 'true', clean_start: 'true' }, { name: '"other"' });
    expect(loadConfig({ file: temporaryFile(printConfig(config)) })).toEqual(config);
  });

  test('that has changed waits for a restart', () => {
    const before = load({}, { name: '"gone"' });
    const plan = planReload(before, load({ keepalive_interval_s: '5' }, { name: '"new"' }));
    expect([plan.changed, plan.restart]).toEqual([[], ['bridge.cloud', 'bridge.gone', 'bridge.new']]);
    expect(plan.config.bridges).toEqual(before.bridges);
  });
});

test.each([
  ['there', 'tls', { host: 'there', port: 8_883 }],
  ['there', 'tcp', { host: 'there', port: 1_883 }],
  ['192.0.2.1:99', 'tcp', { host: '192.0.2.1', port: 99 }],
  ['[2001:db8::1]:99', 'tls', { host: '2001:db8::1', port: 99 }],
  ['[::1]', 'tls', { host: '::1', port: 8_883 }],
  ['::1', 'tls', null],
  ['there:99999', 'tls', null],
  ['', 'tls', null],
] as const)('the address %s (%s) is %j', (text, transport, address) => expect(parseAddress(text, transport)).toEqual(address));

test('the record of processing names the remote broker, and what goes there', () => {
  const inClear = load({ topics: '["a both", "b"]' }, { name: '"plain"', transport: '"tcp"', insecure: 'true' });
  const { recipients, attention, measures } = processingRecord(inClear, '1', 0, null);
  expect(recipients).toHaveLength(3);
  expect(recipients[1]).toMatch(
    /^the broker at mqtt\.example\.org \(bridge cloud\), over TLS .* what 2 topic lines mean, sends what 1 topic line means/,
  );
  expect(recipients[2]).toMatch(/in clear/);
  expect(attention.join('\n')).toMatch(/Bridge plain carries messages in clear/);
  expect(measures.find(({ key }) => key === 'Encryption in transit')?.isInForce).toBe(false);
});
