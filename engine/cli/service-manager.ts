// Tells systemd where a broker stands (sd_notify(3), Type=notify), by systemd's own program: Node has no datagram sockets of the UNIX kind. Without NOTIFY_SOCKET in the
// environment nobody is told. The unit needs NotifyAccess=all, because it is a child that speaks.
import { execFile } from 'node:child_process';
import type { Log } from '../log.ts';

const PROGRAM = 'systemd-notify';
/** Longer than it waits itself for systemd to have read what it was told. */
const LIMIT_MS = 10_000;

/** Resolves when it was told, or could not be, which the log says. */
export function tellServiceManager(state: 'READY=1' | 'STOPPING=1', log: Log): Promise<void> {
  if ((process.env['NOTIFY_SOCKET'] ?? '') === '') return Promise.resolve();
  return new Promise((resolve) => {
    execFile(PROGRAM, [state], { timeout: LIMIT_MS }, (error) => {
      if (error !== null)
        log.warn(`systemd could not be told by ${PROGRAM}; is NotifyAccess=all in the unit?`, { code: String(error.code) });
      resolve();
    });
  });
}
