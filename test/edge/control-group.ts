// A control group that bounds the memory of a process, as systemd's MemoryMax= and containers do: version 1 or 2, whichever the machine has and lets us write.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

interface Version {
  readonly root: string;
  readonly limitFile: string;
  readonly eventsFile: string;
}

const VERSIONS: readonly Version[] = [
  { root: '/sys/fs/cgroup/memory', limitFile: 'memory.limit_in_bytes', eventsFile: 'memory.oom_control' },
  { root: '/sys/fs/cgroup', limitFile: 'memory.max', eventsFile: 'memory.events' },
];

export class MemoryGroup {
  readonly #path: string;
  readonly #version: Version;

  private constructor(path: string, version: Version) {
    this.#path = path;
    this.#version = version;
  }

  /** Null: this machine does not let us. */
  static make(bytes: number): MemoryGroup | null {
    for (const version of VERSIONS) {
      const path = join(version.root, `lethe-test-${process.pid}`);
      try {
        mkdirSync(path);
      } catch {
        continue;
      }
      const group = new MemoryGroup(path, version);
      // A version 2 root whose controllers are not given to its children has no such file.
      if (existsSync(join(path, version.limitFile)) && group.#mayEnter()) {
        writeFileSync(join(path, version.limitFile), String(bytes));
        return group;
      }
      group.remove();
    }
    return null;
  }

  /** For a shell that is to become the process in the group. */
  get enter(): string {
    return `echo $$ > ${join(this.#path, 'cgroup.procs')}`;
  }

  /** Processes that the kernel has ended for want of memory. */
  get kills(): number {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync(join(this.#path, this.#version.eventsFile), 'utf8'))?.[1] ?? 0);
  }

  /** When its processes have ended. */
  remove(): void {
    rmdirSync(this.#path);
  }

  #mayEnter(): boolean {
    return spawnSync('sh', ['-c', this.enter]).status === 0;
  }
}
