// Keeps the memory of a broker, where messages are in clear, from whoever looks at the process from outside: no core file is made of it, one that is made all the same gets no memory, and SIGUSR1 starts no debugger.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Log } from '../log.ts';
import { processLimit } from '../process-limit.ts';

/** Which kinds of memory a core dump holds, a bit each (core(5)); threads share it, children inherit it. */
const COREDUMP_FILTER = '/proc/self/coredump_filter';
/** Bytes. Too few for a core file; and the kernel begins none for a program that it would be piped to, which it does with 0 (core(5)). */
const CORE_BYTES_MAX = 1;
const PRLIMIT_MS_MAX = 2_000;

/** Holds until the process ends. */
export function guardMemory(log: Log): void {
  // With a listener of its own Node does not open the inspector, which could read everything.
  process.on('SIGUSR1', () => log.info('SIGUSR1 does nothing here: there is no debugger in a broker'));
  if (process.platform !== 'linux') return;
  try {
    writeFileSync(COREDUMP_FILTER, '0');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    log.warn('a core dump would hold messages in clear: forbid core dumps (ulimit -c 0, or LimitCORE in the unit)', { code });
  }
  forbidCores(log);
}

/** A core file without memory has the registers of each thread, where a name or a piece of a message may lie that was moved last. */
function forbidCores(log: Log): void {
  try {
    if (areCoresForbidden()) return;
    // Node cannot set a limit of its own.
    const args = ['--pid', String(process.pid), `--core=${CORE_BYTES_MAX}:${CORE_BYTES_MAX}`];
    execFileSync('prlimit', args, { stdio: 'ignore', timeout: PRLIMIT_MS_MAX });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    log.info('a core file would hold what threads have in registers: forbid core files (ulimit -c 0, or LimitCORE in the unit)', {
      code,
    });
  }
}

function areCoresForbidden(): boolean {
  const bytesMax = processLimit('Max core file size');
  const isPiped = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').startsWith('|');
  return bytesMax === CORE_BYTES_MAX || (bytesMax === 0 && !isPiped);
}
