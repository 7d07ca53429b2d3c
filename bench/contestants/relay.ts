// The plain relay, which is no broker but the limit of one, in a process of its own that relay-broker.ts is.
import { builtFile } from './built-file.ts';
import { type Contestant, localPlaces } from './contestant.ts';
import { PinnedProcess } from './pinned-process.ts';

const MAIN = builtFile('bench/contestants/relay-broker.js');

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
