// Where the master key comes from: a file, an environment variable, or what a command prints. Nothing of it is ever logged.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface MasterKeySource {
  /** Path of a file; empty: none. */
  readonly file: string;
  /** Name of an environment variable; empty: none. */
  readonly env: string;
  /** Program and arguments; empty: none. */
  readonly command: readonly string[];
}

const KEY_BYTES = 32;
const COMMAND_TIMEOUT_MS = 30_000;

/**
 * The 32 bytes of the master key, null when no source is configured. Sources give 64 hex digits, 44 characters of base64, or 32 raw bytes.
 * @throws Error in one line that names the source and what it should give
 */
export function findMasterKey(
  source: MasterKeySource,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Uint8Array | null {
  if (source.file !== '') return parseKey(readKeyFile(source.file), source.file);
  if (source.env !== '') {
    const value = env[source.env];
    if (value === undefined || value === '')
      throw new Error(`the environment variable ${source.env} has no master key; set it, or unset spool.key_env`);
    return parseKey(Buffer.from(value), `the environment variable ${source.env}`);
  }
  if (source.command.length > 0) return parseKey(runKeyCommand(source.command), `the output of ${source.command[0]}`);
  return null;
}

function readKeyFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`${path}: the master key cannot be read (${(error as NodeJS.ErrnoException).code}); correct spool.key_file`);
  }
}

function runKeyCommand([program, ...args]: readonly string[]): Buffer {
  try {
    return execFileSync(program!, args, { timeout: COMMAND_TIMEOUT_MS, stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 65_536 });
  } catch (error) {
    const { code, status } = error as { code?: string; status?: number };
    throw new Error(`the command of spool.key_command failed (${code ?? `exit code ${status}`}): ${program}`);
  }
}

function parseKey(bytes: Buffer, where: string): Uint8Array {
  if (bytes.length === KEY_BYTES) return Uint8Array.from(bytes);
  const text = bytes.toString('latin1').trim();
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Uint8Array.from(Buffer.from(text, 'hex'));
  if (/^[A-Za-z0-9+/]{43}=$/.test(text)) return Uint8Array.from(Buffer.from(text, 'base64'));
  throw new Error(
    `${where}: is no master key; give 64 hex digits, 44 characters of base64, or 32 bytes (openssl rand -hex 32 makes one)`,
  );
}
