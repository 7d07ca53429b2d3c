// NATS as installed, with MQTT on. It keeps sessions and QoS 1 in JetStream, whose files lie in memory where the system has such a folder;
// every bound that would refuse the load is lifted. Its MQTT (2.9) has no QoS 2 and no shared subscriptions.
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configuredBroker } from './configured-broker.ts';
import type { Contestant } from './contestant.ts';
import { freePorts, PinnedProcess } from './pinned-process.ts';
import { scratchFolder } from './scratch.ts';

const PATHS = ['/usr/sbin/nats-server', '/usr/bin/nats-server', '/usr/local/bin/nats-server', '/opt/homebrew/bin/nats-server'];
const MEMORY_FOLDER = '/dev/shm';
/** The path at which its WebSocket listener speaks MQTT. */
const WS_PATH = '/mqtt';

/** Null when it is not installed. */
export function nats(): Contestant | null {
  const path = PATHS.find(existsSync);
  if (path === undefined) return null;
  const version = spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout.trim();
  return {
    name: 'nats',
    version,
    async start({ cores, ports, certificate }) {
      const own = ports ?? (await freePorts());
      const folder = scratchFolder(existsSync(MEMORY_FOLDER) ? MEMORY_FOLDER : undefined);
      const file = join(folder, 'nats.conf');
      const tls =
        certificate === undefined ? '' : `tls { cert_file: "${certificate.certFile}", key_file: "${certificate.keyFile}" }`;
      writeFileSync(
        file,
        `server_name: lethe_bench
listen: "127.0.0.1:-1"
log_file: "/dev/null"
max_connections: 1000000
jetstream { store_dir: "${folder}" }
mqtt { listen: "127.0.0.1:${own.stream}", max_ack_pending: 65535, ${tls} }
websocket { listen: "127.0.0.1:${own.ws}", ${certificate === undefined ? 'no_tls: true' : tls} }
`,
      );
      const child = new PinnedProcess(cores, 'nats', path, ['-c', file]);
      return configuredBroker(child, { folder, ports: own, path: WS_PATH, isSecure: certificate !== undefined });
    },
  };
}
