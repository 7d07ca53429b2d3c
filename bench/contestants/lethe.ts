// Lethe as a contestant: any build of it, in memory only, with its default settings.
import { execFileSync } from 'node:child_process';
import { builtFile } from './built-file.ts';
import { type Contestant, localPlaces, type RunningBroker, type StartOptions } from './contestant.ts';
import { PinnedProcess } from './pinned-process.ts';

/** What users run, of the build that the bench belongs to. */
export const LETHE_MAIN = builtFile('cli/main.js');

/** Knows the port of its admin API too: 0, there is none. */
export interface LetheContestant extends Contestant {
  start(options: StartOptions): Promise<RunningBroker & { readonly adminPort: number }>;
}

/** The build of Lethe whose command line is `main`; `flags` are added to those of `serve`. */
export function lethe(main: string, name: string, flags: readonly string[] = []): LetheContestant {
  return startedBy([process.execPath, main], name, flags);
}

/** The one-file program. */
export function oneFile(path: string, name: string): LetheContestant {
  return startedBy([path], name, []);
}

function startedBy(
  [command, ...before]: readonly [string, ...string[]],
  name: string,
  flags: readonly string[],
): LetheContestant {
  const version = execFileSync(command, [...before, 'version'], { encoding: 'utf8' }).trim();
  return {
    name,
    version,
    async start({ cores, ports = { stream: 0, ws: 0 }, certificate }) {
      const set: string[] = [];
      if (certificate !== undefined)
        for (const [listener, transport] of [
          ['tcp', 'tls'],
          ['ws', 'wss'],
        ])
          set.push(
            `${listener}.transport=${transport}`,
            `${listener}.cert_file=${certificate.certFile}`,
            `${listener}.key_file=${certificate.keyFile}`,
          );
      const own = ['--port', String(ports.stream), '--ws-port', String(ports.ws), '--ready-json'];
      const settings = set.flatMap((value) => ['--set', `listener.${value}`]);
      const child = new PinnedProcess(cores, name, command, [...before, 'serve', ...own, ...settings, ...flags]);
      const ready = JSON.parse(await child.firstLine()) as Record<'tcp' | 'ws' | 'tls' | 'wss', number> & {
        readonly admin?: number;
      };
      const { tcp, ws, tls, wss, admin: adminPort = 0 } = ready;
      const places =
        certificate === undefined
          ? localPlaces({ stream: tcp, ws }, '/mqtt', false)
          : localPlaces({ stream: tls, ws: wss }, '/mqtt', true);
      return { pid: child.pid, places, adminPort, isForeign: false, ended: child.ended, stop: child.stop };
    },
  };
}
