// Promise 2 (DESIGN.md §2): a message leaves this process only to subscribers that are entitled to it. More of the same: test/end-to-end/security.test.ts, test/hostile/vulnerabilities.
import { expect, test } from 'vitest';
import { mqttJs } from '../end-to-end/mqttjs.ts';
import { serve } from '../end-to-end/served.ts';
import { mosquittoPasswd, temporaryFile } from '../security/temporary.ts';
import { socketsOf } from './sockets.ts';

test('promise 2, we do not copy: a message goes to those who are entitled to it and to nobody else', async () => {
  const passwords = temporaryFile('');
  for (const [name, password] of [
    ['entitled', 'one'],
    ['other', 'two'],
  ] as const)
    mosquittoPasswd('-b', passwords, name, password);
  const acl = temporaryFile('user entitled\ntopic readwrite ward/#\nuser other\ntopic readwrite else/#\ntopic write ward/#\n');
  const toml = `[auth]\npassword_file = "${passwords}"\nacl_file = "${acl}"\n`;
  const served = await serve(toml);
  const port = served.port('tcp');
  const entitled = await mqttJs({ port, level: 5, username: 'entitled', password: 'one' });
  const other = await mqttJs({ port, level: 5, username: 'other', password: 'two' });
  await entitled.subscribe(['ward/#', 'last'], 1);
  // Mosquitto's rule: it is refused at the delivery where it is not refused at once.
  await other.subscribe(['ward/#', '#', 'else/#'], 1);
  await other.publish('ward/1', 'for the ward', { qos: 1 });
  await other.publish('ward/2', 'retained', { qos: 1, retain: true });
  // Goes out behind everything that was sent before it.
  await other.publish('else/last', 'the end', { qos: 1 });
  await other.received(1);
  await entitled.received(2);
  expect(entitled.payloads).toEqual(['for the ward', 'retained']);
  expect([...new Set(other.payloads)]).toEqual(['the end']);

  // Whoever the process has a connection with has come to one of its listeners: it calls nobody.
  const { tcp, others } = socketsOf(served.ready.pid);
  const listeners = new Set(tcp.filter(({ isListening }) => isListening).map(({ localPort }) => localPort));
  expect(listeners).toEqual(new Set([served.port('tcp'), served.port('ws')]));
  const connections = tcp.filter(({ isListening }) => !isListening);
  expect(connections.length).toBeGreaterThanOrEqual(2);
  expect(connections.filter(({ localPort }) => !listeners.has(localPort))).toEqual([]);
  expect(others).toBe(0);
  await served.stop();
});
