// A real nginx and a real HAProxy in front of a broker, run from the files in docs/deploy with ports, paths and times put in: processes of the test's own, in a folder of its own.
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '../cli/command-line.ts';
import { Child } from '../end-to-end/child.ts';

const LOOK_AGAIN_MS = 20;

export interface Front {
  /** PEM files. */
  readonly certificate: string;
  readonly key: string;
  /** The broker's listener. */
  readonly upstream: number;
  /** After how long an idle connection is cut; as the file says unless given. */
  readonly idleS?: number;
}

export interface FrontEnd {
  readonly name: 'nginx' | 'haproxy';
  /** Serves wss. */
  readonly port: number;
  stop(): Promise<void>;
}

/** The text of a file in docs/deploy with parts of it replaced; each has to be there. */
function deployed(name: string, replaced: readonly (readonly [from: string, to: string])[]): string {
  let text = readFileSync(new URL(`../../docs/deploy/${name}`, import.meta.url), 'utf8');
  for (const [from, to] of replaced) {
    if (!text.includes(from)) throw new Error(`docs/deploy/${name} does not say "${from}"`);
    text = text.replaceAll(from, to);
  }
  return text;
}

export async function startNginx({ certificate, key, upstream, idleS }: Front): Promise<FrontEnd> {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-nginx-'));
  const port = await freePort();
  // Where nginx would put large bodies: as root and as anybody else into the test's folder.
  const bodies = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`);
  const text = deployed('nginx.conf', [
    ['worker_processes auto;', 'daemon off;\nmaster_process off;'],
    ['/run/nginx.pid', `${folder}/pid`],
    ['/var/log/nginx/error.log', 'stderr'],
    ['access_log off;', `access_log off;\n${bodies.join('\n')}`],
    ['listen 443 ssl', `listen 127.0.0.1:${port} ssl`],
    ['/etc/nginx/server.pem', certificate],
    ['/etc/nginx/server.key', key],
    ['127.0.0.1:8083', `127.0.0.1:${upstream}`],
    ...(idleS === undefined ? [] : [['proxy_read_timeout 120s', `proxy_read_timeout ${idleS}s`] as const]),
  ]);
  writeFileSync(join(folder, 'nginx.conf'), text);
  return started('nginx', port, folder, ['-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.conf')]);
}

export async function startHaproxy({ certificate, key, upstream, idleS }: Front): Promise<FrontEnd> {
  const folder = mkdtempSync(join(tmpdir(), 'lethe-haproxy-'));
  writeFileSync(join(folder, 'server.pem'), `${readFileSync(certificate, 'utf8')}${readFileSync(key, 'utf8')}`);
  const port = await freePort();
  const text = deployed('haproxy.cfg', [
    ['bind :443', `bind 127.0.0.1:${port}`],
    ['/etc/haproxy/server.pem', join(folder, 'server.pem')],
    ['127.0.0.1:8083', `127.0.0.1:${upstream}`],
    ...(idleS === undefined ? [] : [['timeout tunnel 120s', `timeout tunnel ${idleS}s`] as const]),
  ]);
  writeFileSync(join(folder, 'haproxy.cfg'), text);
  return started('haproxy', port, folder, ['-db', '-f', join(folder, 'haproxy.cfg')]);
}

async function started(name: FrontEnd['name'], port: number, folder: string, args: readonly string[]): Promise<FrontEnd> {
  const child = new Child(name, args);
  let isOpen = false;
  while (!isOpen) {
    if (child.exit !== null) throw new Error(`${name} ended with ${child.exit.code}: ${child.stderr}`);
    isOpen = await listens(port);
    if (!isOpen) await pause(LOOK_AGAIN_MS);
  }
  return {
    name,
    port,
    async stop() {
      child.kill('SIGTERM');
      await child.ended();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
