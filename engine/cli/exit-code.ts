// What the exit code of every command means.

export const ExitCode = { OK: 0, FAILURE: 1, USAGE: 2, REFUSED: 3, TIMEOUT: 4 } as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

export const exitCodesHelp = `
Exit codes:
  0  fine
  1  failure while running (a port in use, a file that cannot be read, ...)
  2  wrong arguments or configuration
  3  the broker was not reachable, or refused the client (pub, sub, bench)
  4  the time given by -W was up (sub)
  130, 143  ended by SIGINT or SIGTERM before the work was done`;

/** What a program gives that a signal ended (POSIX.1-2017, XCU §2.8.2, as shells have it). */
export const interruptedBy = { SIGINT: 130, SIGTERM: 143 } as const;
