// Promise 3 (DESIGN.md §2): TLS 1.2 or later on every listener that is not loopback, unless the operator says otherwise in so many words, which is logged at every start.
import { readFileSync } from 'node:fs';
import { connect as connectSocket, createServer, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { certificates, everyTransport } from '../end-to-end/listeners.ts';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { lethed, serve } from '../end-to-end/served.ts';
import { temporaryFile } from '../security/temporary.ts';

const CANARY = 'canary-in-transit-58d1';
const ca = readFileSync(certificates.ca);

const left: (() => void)[] = [];
afterEach(() => {
  for (const drop of left.splice(0)) drop();
});

/** A wire that can be listened to: what passes to and from a port, in clear as it stands there. */
async function tappedWire(to: number): Promise<{ port: number; heard(): string }> {
  const heard: Buffer[] = [];
  const server = createServer((socket) => {
    const onward = connectSocket(to, '127.0.0.1');
    const pass = (from: Socket, into: Socket) => {
      from.on('data', (bytes) => {
        heard.push(bytes);
        into.write(bytes);
      });
      from.on('error', () => into.destroy());
      from.on('close', () => into.destroy());
    };
    pass(socket, onward);
    pass(onward, socket);
    left.push(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  left.push(() => server.close());
  return { port: (server.address() as { port: number }).port, heard: () => Buffer.concat(heard).toString('latin1') };
}

test('promise 3, encrypted in transit: who listens to the wire of a TLS listener sees nothing, and older TLS is refused', async () => {
  const served = await serve(everyTransport());
  for (const [transport, isOpen] of [
    ['tcp', true],
    ['ws', true],
    ['tls', false],
    ['wss', false],
  ] as const) {
    const wire = await tappedWire(served.port(transport));
    const client = await mqttJs({ transport, port: wire.port, level: 5, ca, rejectUnauthorized: true, servername: 'localhost' });
    await client.subscribe(`${CANARY}/#`);
    await client.publish(`${CANARY}/1`, CANARY, { qos: 1 });
    await client.received(1);
    // The plain listener is the proof that listening works; a WebSocket client's half of it is masked, the broker's is not.
    expect([transport, wire.heard().includes(CANARY)]).toEqual([transport, isOpen]);
    client.cut();
  }
  const refusal = await new Promise<string>((resolve) => {
    const options = { port: served.port('tls'), host: '127.0.0.1', ca, minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' } as const;
    const socket = connectTls({ ...options, ciphers: 'ALL:@SECLEVEL=0' }, () => resolve('connected'));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    left.push(() => socket.destroy());
  });
  expect(refusal).toMatch(/PROTOCOL_VERSION|ECONNRESET/);
  expect(await served.stop()).toEqual({ code: 0, signal: null });
});

test('promise 3: beyond loopback a plain listener must say that it is insecure, and every start says it', async () => {
  // Loopback in a spelling that the broker does not take for it: nothing listens to the network.
  const listener = (rest: string) =>
    temporaryFile(`[[listener]]\nname = 'open'\ntransport = 'tcp'\nhost = '::ffff:127.0.0.1'\nanonymous = true\n${rest}`);
  const refused = await lethed(['serve', '--config', listener('')]);
  expect(refused.exit?.code).toBe(2);
  expect(refused.stderr).toMatch(/insecure = true/);
  const toml = readFileSync(listener('insecure = true\n'), 'utf8');
  for (let start = 0; start < 2; start++) {
    const served = await serve(toml);
    await served.child.until('it says so', () =>
      /warn a listener is insecure by configuration.* listener=open/.test(served.child.stderr),
    );
    await served.stop();
  }
});
