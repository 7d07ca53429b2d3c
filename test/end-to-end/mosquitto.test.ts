// mosquitto_pub and mosquitto_sub against the started process: over tcp and tls, as MQTT 3.1, 3.1.1 and 5.0.
import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { temporaryFile } from '../security/temporary.ts';
import { certificates, everyTransport } from './listeners.ts';
import { type Level, MosquittoSub, mosquittoPub, mosquittoSub, type Way } from './mosquitto.ts';
import { useServed } from './served.ts';

const served = useServed(everyTransport);

const versions: readonly (readonly [version: string, level: Level])[] = [
  ['3.1', 3],
  ['3.1.1', 4],
  ['5.0', 5],
];
const transports = ['tcp', 'tls'] as const;
const qualities = [0, 1, 2] as const;

function way(transport: (typeof transports)[number], level: Level): Way {
  return { port: served.port(transport), level, ...(transport === 'tls' ? { ca: certificates.ca } : {}) };
}

let names = 0;

function name(prefix: string): string {
  names += 1;
  return `${prefix}-${names}`;
}

describe.each(transports)('over %s', (transport) => {
  describe.each(versions)('MQTT %s', (_version, level) => {
    const own = () => way(transport, level);

    test.each(qualities)('messages arrive at QoS %i, once and in order', async (qos) => {
      const topic = name('order');
      const lines = Array.from({ length: 20 }, (_, index) => `message ${index}`);
      const sub = await mosquittoSub(own(), '-q', String(qos), '-t', `${topic}/+`, '-C', '20');
      await mosquittoPub(own(), ['-q', String(qos), '-t', `${topic}/a`, '-l'], `${lines.join('\n')}\n`);
      expect(await sub.ended()).toEqual({ code: 0, signal: null });
      expect(sub.messages).toMatchObject(lines.map((payload) => ({ topic: `${topic}/a`, qos, retain: 0, payload })));
    });

    test('a retained message is set, replaced and cleared', async () => {
      const topic = name('retained');
      for (const payload of ['first', 'second']) {
        await mosquittoPub(own(), ['-r', '-q', '1', '-t', topic, '-m', payload]);
        const sub = await mosquittoSub(own(), '-t', topic, '-C', '1');
        await sub.ended();
        expect(sub.messages).toMatchObject([{ payload, retain: 1 }]);
      }
      await mosquittoPub(own(), ['-r', '-q', '1', '-t', topic, '-n']);
      const sub = await mosquittoSub(own(), '-t', topic, '-C', '1');
      await mosquittoPub(own(), ['-q', '1', '-t', topic, '-m', 'live']);
      await sub.ended();
      expect(sub.messages).toMatchObject([{ payload: 'live', retain: 0 }]);
    });

    test.each(qualities)('a will goes out at QoS %i when its client is killed', async (qos) => {
      const topic = name('will');
      const watch = await mosquittoSub(own(), '-q', '2', '-t', topic);
      const will = ['--will-topic', topic, '--will-payload', 'gone', '--will-qos', String(qos), '--will-retain'];
      const doomed = await mosquittoSub(own(), '-t', 'nothing', ...will);
      doomed.kill('SIGKILL');
      await watch.received(1);
      expect(watch.messages).toMatchObject([{ payload: 'gone', qos, retain: 0 }]);
      const late = await mosquittoSub(own(), '-t', topic, '-C', '1');
      await late.ended();
      expect(late.messages).toMatchObject([{ payload: 'gone', retain: 1 }]);
    });

    test('a will does not go out when its client says goodbye', async () => {
      const topic = name('will');
      const watch = await mosquittoSub(own(), '-t', topic, '-C', '1');
      await mosquittoPub(own(), ['--will-topic', topic, '--will-payload', 'gone', '-t', 'other', '-m', 'x']);
      await mosquittoPub(own(), ['-t', topic, '-m', 'after']);
      await watch.ended();
      expect(watch.payloads).toEqual(['after']);
    });

    test.each([1, 2] as const)('a persistent session is given at QoS %i what came while it was away', async (qos) => {
      const topic = name('away');
      const session = ['-c', '-i', name('session'), '-q', String(qos), '-t', topic];
      const first = await mosquittoSub(own(), ...session, '-E');
      expect(await first.ended()).toEqual({ code: 0, signal: null });
      const lines = Array.from({ length: 30 }, (_, index) => `missed ${index}`);
      await mosquittoPub(own(), ['-q', String(qos), '-t', topic, '-l'], `${lines.join('\n')}\n`);
      const second = new MosquittoSub(own(), [...session, '-C', '31']);
      await second.received(30);
      // A client that closes with its SUBACK unread resets the connection, and acknowledgements under way are lost.
      await second.subscribed();
      await mosquittoPub(own(), ['-q', String(qos), '-t', topic, '-m', 'live']);
      lines.push('live');
      expect(await second.ended()).toEqual({ code: 0, signal: null });
      expect(second.messages).toMatchObject(lines.map((payload) => ({ payload, qos })));
      // What was acknowledged does not come again.
      const third = await mosquittoSub(own(), ...session, '-C', '1');
      await mosquittoPub(own(), ['-q', '1', '-t', topic, '-m', 'new']);
      await third.ended();
      expect(third.payloads).toEqual(['new']);
    });
  });

  test('a payload of 4 MiB passes unchanged', async () => {
    const topic = name('large');
    const payload = randomBytes(4_194_304);
    // The last -F counts; -d prints around it.
    const sub = await mosquittoSub(way(transport, 5), '-q', '1', '-t', topic, '-C', '1', '-N', '-F', 'PAYLOAD:%p');
    await mosquittoPub(way(transport, 5), ['-q', '1', '-t', topic, '-f', temporaryFile(payload)]);
    await sub.ended();
    const { stdoutBytes } = sub;
    const from = stdoutBytes.indexOf('PAYLOAD:') + 'PAYLOAD:'.length;
    const received = stdoutBytes.subarray(from, from + payload.length);
    expect(createHash('sha256').update(received).digest('hex')).toBe(createHash('sha256').update(payload).digest('hex'));
  });
});

test('messages cross protocol levels and transports', async () => {
  const topic = name('cross');
  const subs = await Promise.all(
    transports.flatMap((transport) =>
      versions.map(([, level]) => mosquittoSub(way(transport, level), '-q', '2', '-t', topic, '-C', '6')),
    ),
  );
  const sent = transports.flatMap((transport) => versions.map(([version, level]) => ({ transport, version, level })));
  for (const { transport, version, level } of sent) {
    await mosquittoPub(way(transport, level), ['-q', '2', '-t', topic, '-m', `${version} over ${transport}`]);
  }
  await Promise.all(subs.map((sub) => sub.ended()));
  for (const sub of subs) expect(sub.payloads).toEqual(sent.map(({ transport, version }) => `${version} over ${transport}`));
});

test('a client that trusts another authority does not connect', async () => {
  const stranger = { port: served.port('tls'), ca: certificates.strangerCert };
  await expect(mosquittoPub(stranger, ['-t', 'a', '-m', 'x'])).rejects.toThrow(/mosquitto_pub ended with [1-9]/);
});
