// Reads a new password: twice from the terminal, without echo, or from standard input when that is no terminal.
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { interruptedBy } from './exit-code.ts';
import { Failure } from './failure.ts';

/** @throws Failure when it is empty, when the two do not agree, or when the person gives up */
export async function readNewPassword(): Promise<string> {
  const [first = '', second] = process.stdin.isTTY ? await askTwice() : await readLines();
  if (first === '') throw new Failure('the password is empty');
  if (second !== undefined && second !== first) throw new Failure('the two passwords differ');
  return first;
}

/** readline edits the line and understands the terminal; what it would echo goes nowhere. */
async function askTwice(): Promise<string[]> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true, historySize: 0 });
  terminal.on('SIGINT', () => terminal.close());
  const typed = terminal[Symbol.asyncIterator]();
  const ask = async (prompt: string): Promise<string> => {
    process.stderr.write(prompt);
    const line = await typed.next();
    process.stderr.write('\n');
    if (line.done === true) throw new Failure('no password was given; nothing is changed', interruptedBy.SIGINT);
    return line.value;
  };
  try {
    const first = await ask('Password: ');
    // Asking again for nothing would only confuse.
    return first === '' ? [] : [first, await ask('Reenter password: ')];
  } finally {
    terminal.close();
  }
}

/** The first line, and the second one where there is one: scripts for mosquitto_passwd give the password twice. */
async function readLines(): Promise<string[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  const lines = Buffer.concat(chunks).toString('utf8').split(/\r?\n/);
  return lines.at(-1) === '' ? lines.slice(0, -1) : lines;
}
