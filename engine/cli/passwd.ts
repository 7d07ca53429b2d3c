// `lethe passwd`: makes and changes password files, with the arguments of mosquitto_passwd. The files are Mosquitto's own; reading and
// writing them is security/password-edit.ts.
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { systemRandom } from '../random.ts';
import { checkUserName, deleteUser, rewritePasswordFile, setUser, upgradePlain } from '../security/password-edit.ts';
import { hashPassword, ITERATIONS_DEFAULT, ITERATIONS_MAX } from '../security/password-hash.ts';
import { refuse, whole } from './client-options.ts';
import { exitCodesHelp } from './exit-code.ts';
import { endWith, Failure, messageOf } from './failure.ts';
import { readNewPassword } from './password-prompt.ts';

interface PasswdFlags {
  readonly batch?: true;
  readonly create?: true;
  readonly delete?: true;
  readonly upgrade?: true;
  readonly hash?: string;
  readonly iterations: number;
}

const examples = `
Examples:
  lethe passwd -c passwords ada              a new file with one user; the password is asked for
  lethe passwd passwords grace               one more user, or a new password
  lethe passwd -D passwords ada              a user less
  pwgen 20 1 | lethe passwd passwords bob    the password from standard input
  lethe passwd -U passwords                  hash the passwords of a file that has them in plain text

A running broker reads the file when it starts.`;

export function passwdCommand(): Command {
  const command = new Command('passwd')
    .description("make or change a password file, in Mosquitto's format")
    .argument('<file>', 'password file')
    .argument('[user]', 'user name')
    .argument('[password]', 'with -b: the password')
    .option('-c, --create', 'make a new file; one that exists is replaced, with all its users')
    .option('-b, --batch', 'take the password from the arguments, where ps shows it to everybody')
    .option('-D, --delete', 'delete the user')
    .option('-U, --upgrade', 'replace every password in plain text by its hash')
    .option('-H, --hash <kind>', 'kind of hash; there is sha512-pbkdf2')
    .option(
      '-I, --iterations <count>',
      'rounds of the hash: more are dearer to guess, and to check',
      whole(1, ITERATIONS_MAX),
      ITERATIONS_DEFAULT,
    )
    .addHelpText('after', examples)
    .addHelpText('after', exitCodesHelp);
  return command.action(async (file: string, user: string | undefined, password: string | undefined, flags: PasswdFlags) => {
    judge(command, flags, user, password);
    try {
      await change(file, user ?? '', password, flags);
    } catch (error) {
      const failure = error instanceof Failure ? error : new Failure(`${file}: ${messageOf(error)}`);
      endWith('passwd', failure);
    }
  });
}

function judge(command: Command, flags: PasswdFlags, user: string | undefined, password: string | undefined): void {
  const modes = { '-c': flags.create, '-D': flags.delete, '-U': flags.upgrade };
  const given = Object.entries(modes).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  if (given.length > 1) refuse(command, `${given.join(' and ')} do not go together`);
  if (flags.batch === true && (flags.delete ?? flags.upgrade) !== undefined) refuse(command, `-b does not go with ${given[0]}`);
  if (flags.hash !== undefined && flags.hash !== 'sha512-pbkdf2')
    refuse(command, `-H ${flags.hash}: only sha512-pbkdf2 is written; a sha512 hash is guessed too fast`);
  if (flags.upgrade === true) {
    if (user !== undefined) refuse(command, '-U changes the whole file: leave out the user name');
    return;
  }
  if (user === undefined) refuse(command, 'the user name is missing: lethe passwd FILE USER');
  if (flags.batch === true && password === undefined)
    refuse(command, 'the password is missing: lethe passwd -b FILE USER PASSWORD');
  if (flags.batch !== true && password !== undefined) refuse(command, 'a password in the arguments needs -b');
  if (flags.batch === true && password === '') refuse(command, 'the password is empty');
  if (flags.delete === true) return;
  try {
    checkUserName(user);
  } catch (error) {
    refuse(command, messageOf(error));
  }
}

async function change(file: string, user: string, password: string | undefined, flags: PasswdFlags): Promise<void> {
  // rewritePasswordFile would make it: a name with a slip must not.
  if (flags.create !== true && !existsSync(file)) throw new Failure(`${file} does not exist; give -c to make it`);
  if (flags.delete === true) return rewritePasswordFile(file, (text) => deleteUser(text, user));
  if (flags.upgrade === true) return rewritePasswordFile(file, (text) => upgradePlain(text, systemRandom, flags.iterations));
  const field = await hashPassword(password ?? (await readNewPassword()), systemRandom, flags.iterations);
  if (flags.create === true && existsSync(file)) process.stderr.write(`lethe passwd: ${file} is replaced, with all its users\n`);
  await rewritePasswordFile(file, (text) => setUser(flags.create === true ? '' : text, user, field));
}
