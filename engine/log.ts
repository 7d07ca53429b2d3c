// The log as a parameter: one structured line for each event, on standard error. No line carries a payload, topic, user
// name, client id or address: callers give constant messages and numbers.

export const LogLevel = { error: 0, warn: 1, info: 2, debug: 3 } as const;
export type LogLevel = keyof typeof LogLevel;

export interface Log {
  /** What is below it is dropped; absent where the log is not this file's. */
  level?: LogLevel;
  error(message: string, fields?: Readonly<Record<string, number | string>>): void;
  warn(message: string, fields?: Readonly<Record<string, number | string>>): void;
  info(message: string, fields?: Readonly<Record<string, number | string>>): void;
  debug(message: string, fields?: Readonly<Record<string, number | string>>): void;
}

/** A log that hands finished lines to `write`; what is below its level, which may be set at any time, is dropped. */
export function createLog(level: LogLevel, write: (line: string) => void, wallMs: () => number): Log {
  const at = (own: LogLevel) => (message: string, fields?: Readonly<Record<string, number | string>>) => {
    if (LogLevel[own] > LogLevel[log.level]) return;
    let line = `${new Date(wallMs()).toISOString()} ${own} ${message}`;
    for (const [name, value] of Object.entries(fields ?? {})) line += ` ${name}=${value}`;
    write(line);
  };
  const log = { level, error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') };
  return log;
}

export const silentLog: Log = { error: () => {}, warn: () => {}, info: () => {}, debug: () => {} };
