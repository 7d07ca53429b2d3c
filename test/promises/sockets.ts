// The sockets of a process, as the kernel tells them: what an outsider would look at who wants to know whom a broker talks to.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export interface TcpSocket {
  readonly localPort: number;
  readonly isListening: boolean;
}

/** TCP sockets of a process, and how many it has of other families that reach beyond the machine (UDP, raw). */
export function socketsOf(pid: number): { readonly tcp: readonly TcpSocket[]; readonly others: number } {
  const inodes = new Set<string>();
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    const inode = /^socket:\[(\d+)\]$/.exec(link(`/proc/${pid}/fd/${name}`))?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  const rows = (table: string) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => inodes.has(fields[9] ?? ''));
  const tcp = ['tcp', 'tcp6'].flatMap(rows).map(([, local = '', , state]) => ({
    localPort: Number.parseInt(local.split(':')[1]!, 16),
    // include/net/tcp_states.h
    isListening: state === '0A',
  }));
  const others = ['udp', 'udp6', 'raw', 'raw6'].flatMap(rows).length;
  return { tcp, others };
}

/** Where a descriptor leads; empty when it was closed meanwhile. */
function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
