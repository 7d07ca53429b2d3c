// A broker that runs by a configuration file in a scratch folder of its own, which goes when the broker does.
import { localPlaces, type Ports, type RunningBroker } from './contestant.ts';
import type { PinnedProcess } from './pinned-process.ts';
import { removeScratch } from './scratch.ts';

export interface Configured {
  readonly folder: string;
  readonly ports: Ports;
  /** Of its WebSocket. */
  readonly path: string;
  readonly isSecure: boolean;
}

/** Resolves when both ports take connections. */
export async function configuredBroker(
  child: PinnedProcess,
  { folder, ports, path, isSecure }: Configured,
): Promise<RunningBroker> {
  const stop = async (): Promise<void> => {
    await child.stop();
    removeScratch(folder);
  };
  try {
    await child.listening(ports);
  } catch (error) {
    await stop();
    throw error;
  }
  return { pid: child.pid, places: localPlaces(ports, path, isSecure), isForeign: false, ended: child.ended, stop };
}
