// `lethe passwd`: makes and changes password files, with the arguments of mosquitto_passwd. Reading and writing them is security/password-edit.ts.
import { existsSync } from 'node:fs';
import { Command, Option } from 'commander';
import { systemRandom } from '../random.ts';
import { checkUserName, deleteUser, rewritePasswordFile, setUser, upgradePlain } from '../security/password-edit.ts';
import { FORMATS, hashPassword, ITERATIONS_MAX, type Recipe, SCRAM_ITERATIONS_MIN } from '../security/password-hash.ts';
import { refuse, whole } from './client-options.ts';
import { exitCodesHelp } from './exit-code.ts';
import { endWith, Failure, messageOf } from './failure.ts';
import { readNewPassword } from './password-prompt.ts';

interface PasswdFlags {
  readonly batch?: true;
  readonly create?: true;
  readonly delete?: true;
  readonly upgrade?: true;
  readonly format?: Recipe['format'];
  readonly hash?: string;
  readonly iterations?: number;
}

const examples = `
Examples:
  lethe passwd -c passwords ada              a new file with one user; the password is asked for
  lethe passwd passwords grace               one more user, or a new password
  lethe passwd -D passwords ada              a user less
  pwgen 20 1 | lethe passwd passwords bob    the password from standard input
  lethe passwd -U passwords                  hash the passwords of a file that has them in plain text
  lethe passwd --format scram passwords ada  keys for SCRAM-SHA-256, with which no password is sent

Formats, one for each line of a file:
  scrypt     $scrypt$, 32 MiB and about 0.3 s of one core to check
  mosquitto  $7$, which Mosquitto reads too; -I is 210000 when not given
  scram      $scram-sha-256$, for SCRAM and for passwords in CONNECT; -I is 600000 when not given

A running broker reads the file when it starts.`;

export function passwdCommand(): Command {
  const command = new Command('passwd')
    .description('make or change a password file')
    .argument('<file>', 'password file')
    .argument('[user]', 'user name')
    .argument('[password]', 'with -b: the password')
    .option('-c, --create', 'make a new file; one that exists is replaced, with all its users')
    .option('-b, --batch', 'take the password from the arguments, where ps shows it to everybody')
    .option('-D, --delete', 'delete the user')
    .option('-U, --upgrade', 'replace every password in plain text by its hash')
    .addOption(new Option('--format <format>', 'how passwords are hashed; scrypt when not given').choices(FORMATS))
    .option('-H, --hash <kind>', 'sha512-pbkdf2 is --format mosquitto, as mosquitto_passwd has it')
    .option(
      '-I, --iterations <count>',
      'rounds of mosquitto and scram: more are dearer to guess, and to check',
      whole(1, ITERATIONS_MAX),
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
  judgeRecipe(command, flags);
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

function judgeRecipe(command: Command, flags: PasswdFlags): void {
  const { format, iterations } = recipeOf(flags);
  if (flags.hash !== undefined && format !== 'mosquitto') refuse(command, `-H does not go with --format ${format}`);
  if (iterations === undefined) return;
  if (format === 'scrypt') refuse(command, '-I is for --format mosquitto and --format scram; scrypt has no rounds');
  if (format === 'scram' && iterations < SCRAM_ITERATIONS_MIN)
    refuse(command, `-I ${iterations}: SCRAM-SHA-256 has at least ${SCRAM_ITERATIONS_MIN} rounds (RFC 7677)`);
}

function recipeOf({ format, hash, iterations }: PasswdFlags): Recipe & { readonly iterations?: number } {
  const chosen = format ?? (hash === undefined ? 'scrypt' : 'mosquitto');
  return iterations === undefined ? { format: chosen } : { format: chosen, iterations };
}

async function change(file: string, user: string, password: string | undefined, flags: PasswdFlags): Promise<void> {
  // rewritePasswordFile would make it: a name with a slip must not.
  if (flags.create !== true && !existsSync(file)) throw new Failure(`${file} does not exist; give -c to make it`);
  if (flags.delete === true) return rewritePasswordFile(file, (text) => deleteUser(text, user));
  if (flags.upgrade === true) return rewritePasswordFile(file, (text) => upgradePlain(text, systemRandom, recipeOf(flags)));
  const field = await hashPassword(password ?? (await readNewPassword()), systemRandom, recipeOf(flags));
  if (flags.create === true && existsSync(file)) process.stderr.write(`lethe passwd: ${file} is replaced, with all its users\n`);
  await rewritePasswordFile(file, (text) => setUser(flags.create === true ? '' : text, user, field));
}
