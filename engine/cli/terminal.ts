// Standard output and standard error may end before the program does: a reader that has seen enough, as in `lethe --help | head`, or a terminal that goes away (a window closed, a line cut). Neither is a fault of the
// program, which goes on without them; what a command does about it beyond that is its own.
import { writeSync } from 'node:fs';

/** What a write says whose reader is gone: of a pipe, and of a terminal. */
const GONE = ['EPIPE', 'EIO'];
/** Node's major version that aborts, with a core, when at its end it cannot set a terminal back that is gone. */
const ABORTS = '20';
const NOTHING = new Uint8Array(0);
const STANDARD = [0, 1, 2];

/** Whether nobody reads any more what was written when this came of it. */
export function isReaderGone({ code }: NodeJS.ErrnoException): boolean {
  return GONE.includes(code ?? '');
}

/** To be called once, at the start. */
export function outliveTerminal(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (!isReaderGone(error)) throw error;
    });
  }
  if (process.versions.node.split('.', 1)[0] === ABORTS) process.on('exit', endWithTerminal);
}

/** Ends as a program does that knows nothing of SIGHUP. */
function endWithTerminal(code: number): void {
  if (!STANDARD.some(isTerminalGone)) return;
  // Whatever else is done at the exit: nothing comes after this.
  for (const listener of process.listeners('exit')) if (listener !== endWithTerminal) listener(code);
  process.removeAllListeners('SIGHUP');
  process.kill(process.pid, 'SIGHUP');
}

function isTerminalGone(descriptor: number): boolean {
  try {
    // isatty(3) denies that it is one when it is gone; that is why nothing is asked, and nothing is written: the kernel refuses that all the same.
    writeSync(descriptor, NOTHING);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EIO';
  }
}
