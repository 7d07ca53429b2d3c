// A root file system of Debian's smallest kind, as a machine has it that has never seen Node: made with debootstrap, kept for later runs under the system's folder
// for temporary files, and copied for each one that uses it. Processes in it see its files and its /proc, and the loopback network of this machine.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const SUITE = 'bookworm';
/** How the paths begin of what is kept, and of what one run uses. */
const KEPT = join(tmpdir(), 'lethe-debian-');
const ROOT = join(tmpdir(), 'lethe-root-');
export const MAKE_ROOT_MS_MAX = 300_000;

/** Why there can be none here; null when there can. */
export function noCleanRoot(): string | null {
  if (process.platform !== 'linux') return 'a clean root needs Linux';
  if (process.getuid?.() !== 0) return 'a clean root needs root';
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return folders.some((folder) => existsSync(join(folder, 'debootstrap'))) ? null : 'a clean root needs debootstrap';
}

/** What is mounted on this machine where such roots lie, also those of other runs: nothing, at any time. */
export function mountedForRoots(): readonly string[] {
  const lines = readFileSync('/proc/mounts', 'utf8').split('\n');
  return lines.filter((line) => line.includes(KEPT) || line.includes(ROOT));
}

export class CleanRoot {
  readonly folder: string;
  /** Starts a program inside, in place of this command. */
  readonly enter: readonly [string, ...string[]];

  private constructor(folder: string) {
    this.folder = folder;
    this.enter = this.enterAfter('true');
  }

  /**
   * The same after other mounts, which end with the program. Each command becomes the next, so that the process that is started is the program's; of this machine's
   * environment it gets nothing.
   * @param mounts a line of shell in which `$0` is the root
   * @param apart what the program has for itself
   */
  enterAfter(mounts: string, apart: readonly string[] = ['--mount']): readonly [string, ...string[]] {
    const script = `${mounts} && mount -t proc proc "$0/proc" && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$0" "$@"`;
    return ['unshare', ...apart, 'sh', '-c', script, this.folder];
  }

  /** Starts a program inside that has a network for itself, with nothing but loopback. */
  get enterAlone(): readonly [string, ...string[]] {
    return this.enterAfter('ip link set lo up', ['--mount', '--net']);
  }

  /** Where the one-file program has unpacked its native code. */
  unpacked(): readonly string[] {
    const places = ['var/cache', 'tmp', 'run', 'dev/shm'].map((place) => join(this.folder, place));
    return places.flatMap((place) =>
      readdirSync(place)
        .filter((name) => name.startsWith('lethe'))
        .map((name) => join(place, name)),
    );
  }

  static make(): CleanRoot {
    const kept = `${KEPT}${SUITE}-${process.arch}`;
    if (!existsSync(kept)) bootstrap(kept);
    // Its programs are going to be run as root: nobody else may have put it there.
    if (!lstatSync(kept).isDirectory() || lstatSync(kept).uid !== 0) throw new Error(`${kept} is not what root has made`);
    const folder = mkdtempSync(ROOT);
    execFileSync('cp', ['-a', '--reflink=auto', `${kept}/.`, folder]);
    return new CleanRoot(folder);
  }

  /** Paths of files in it, from its root, whose name fits. */
  find(name: string): readonly string[] {
    const found = execFileSync('find', [this.folder, '-xdev', '-name', name], { encoding: 'utf8' });
    return found
      .split('\n')
      .filter((path) => path !== '')
      .map((path) => path.slice(this.folder.length));
  }

  /** Copies a file into it. */
  bring(file: string, to: string): void {
    copyFileSync(file, join(this.folder, to));
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** It gets its name when it is whole. What debootstrap mounts and starts is in namespaces of its own, and goes with them however it ends. */
function bootstrap(kept: string): void {
  const unfinished = mkdtempSync(`${kept}.`);
  try {
    const apart = ['--mount', '--pid', '--fork', '--kill-child'];
    execFileSync('unshare', [...apart, 'debootstrap', '--variant=minbase', SUITE, unfinished], {
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: MAKE_ROOT_MS_MAX,
      killSignal: 'SIGKILL',
    });
    renameSync(unfinished, kept);
  } catch (error) {
    if (!existsSync(kept)) throw error; // else another run of the tests was faster
  } finally {
    rmSync(unfinished, { recursive: true, force: true, maxRetries: 5 });
  }
}
