// Mosquitto as installed. Nothing is limited or logged, and Nagle's algorithm is off as it is in Lethe.
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configuredBroker } from './configured-broker.ts';
import type { Contestant } from './contestant.ts';
import { freePorts, PinnedProcess } from './pinned-process.ts';
import { scratchFolder } from './scratch.ts';

/** Debian puts it where a user's PATH does not look. */
const PATHS = ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto', '/opt/homebrew/sbin/mosquitto'];

/** Null when it is not installed. Nothing is stored unless `dataFolder` says where. */
export function mosquitto(dataFolder: string | null = null): Contestant | null {
  const path = PATHS.find(existsSync);
  if (path === undefined) return null;
  const [version] = spawnSync(path, ['-h'], { encoding: 'utf8' }).stdout.split('\n', 1);
  return {
    name: 'mosquitto',
    version: version ?? 'mosquitto',
    async start({ cores, ports, certificate }) {
      const own = ports ?? (await freePorts());
      const folder = scratchFolder();
      const file = join(folder, 'mosquitto.conf');
      const tls = certificate === undefined ? [] : [`certfile ${certificate.certFile}`, `keyfile ${certificate.keyFile}`];
      const lines = [
        'allow_anonymous true',
        'log_dest none',
        'set_tcp_nodelay true',
        'max_queued_messages 0',
        'max_inflight_messages 0',
        // With persistence, saved every second: the closest that it comes to durable.
        ...(dataFolder === null
          ? ['persistence false']
          : ['persistence true', `persistence_location ${dataFolder}/`, 'autosave_interval 1']),
        `listener ${own.stream} 127.0.0.1`,
        ...tls,
        `listener ${own.ws} 127.0.0.1`,
        'protocol websockets',
        ...tls,
      ];
      // Started by root it becomes another user, who may not read the key.
      if (certificate !== undefined && process.getuid?.() === 0) lines.unshift('user root');
      writeFileSync(file, `${lines.join('\n')}\n`);
      const child = new PinnedProcess(cores, 'mosquitto', path, ['-c', file]);
      return configuredBroker(child, { folder, ports: own, path: '/mqtt', isSecure: certificate !== undefined });
    },
  };
}
