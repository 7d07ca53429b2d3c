// Keeps the memory of a broker, where messages are in clear, from whoever looks at the process from outside: a core dump gets no memory of it, and SIGUSR1 starts no debugger.
import { writeFileSync } from 'node:fs';
import type { Log } from '../log.ts';

/** Which kinds of memory a core dump holds, a bit each (core(5)); threads share it, children inherit it. */
const COREDUMP_FILTER = '/proc/self/coredump_filter';

/** Holds until the process ends. */
export function guardMemory(log: Log): void {
  // With a listener of its own Node does not open the inspector, which could read everything.
  process.on('SIGUSR1', () => log.info('SIGUSR1 does nothing here: there is no debugger in a broker'));
  if (process.platform !== 'linux') return;
  try {
    writeFileSync(COREDUMP_FILTER, '0');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    log.warn('a core dump would hold messages in clear: forbid core dumps (ulimit -c 0, LimitCORE=0)', { code });
  }
}
