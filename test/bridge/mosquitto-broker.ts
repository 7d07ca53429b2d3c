// Mosquitto as a broker, at either end of a bridge.
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { Child } from '../end-to-end/child.ts';
import { temporaryFile } from '../security/temporary.ts';

export interface MosquittoBroker {
  readonly port: number;
  readonly child: Child;
}

/** A port of this machine on which nobody listens now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts it with an anonymous listener on loopback and these lines of its configuration; no queue is limited. `own` replaces the listener. */
export async function mosquittoBroker(
  lines: readonly string[] = [],
  port = 0,
  own: readonly string[] = [],
): Promise<MosquittoBroker> {
  const chosen = port === 0 ? await freePort() : port;
  const listener = [`listener ${chosen} 127.0.0.1`, 'allow_anonymous true', ...own];
  const limits = ['max_queued_messages 0', 'set_tcp_nodelay true'];
  const log = ['log_dest stderr', ...['error', 'warning', 'notice', 'information'].map((type) => `log_type ${type}`)];
  // Started by root it becomes another user, who could not read keys.
  const user = process.getuid?.() === 0 ? ['user root'] : [];
  const file = temporaryFile([...user, ...log, ...limits, ...listener, ...lines, ''].join('\n'));
  const child = new Child('mosquitto', ['-c', file]);
  await child.until('mosquitto runs', () => / mosquitto version \S+ running/.test(child.stderr));
  return { port: chosen, child };
}
