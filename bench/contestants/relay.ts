// The plain relay, which is no broker but the limit of one, in a process of its own that relay-broker.ts is.
import { type Contestant, localPlaces } from './contestant.ts';
import { PinnedProcess } from './pinned-process.ts';

/** The built file, also when the bench runs from its sources in a test. */
const MAIN = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/bench/contestants/relay-broker.js' : './relay-broker.js',
  import.meta.url,
).pathname;

export function relay(): Contestant {
  return {
    name: 'relay',
    version: 'relay: passes bytes on unread, on the same Node (bench/contestants/relay-broker.ts)',
    async start({ cores, ports = { stream: 0, ws: 0 } }) {
      const child = new PinnedProcess(cores, 'relay', process.execPath, [MAIN, String(ports.stream)]);
      const { tcp } = localPlaces({ stream: Number(await child.firstLine()), ws: 0 }, '', false);
      return { pid: child.pid, places: { tcp: tcp! }, isForeign: false, ended: child.ended, stop: child.stop };
    },
  };
}
