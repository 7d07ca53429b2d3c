// Runs every *.test.ts below test/ from the TypeScript sources; tests that start the process use the build in dist/.
import { delimiter } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/setup.ts'],
    setupFiles: ['test/log-watch.ts'],
    // Debian puts the mosquitto server where an ordinary user's PATH does not look.
    env: { PATH: `${process.env['PATH']}${delimiter}/usr/sbin` },
    pool: 'forks',
    // More than the machine has cores: most tests wait for a process, a timer or a disk.
    maxWorkers: 3,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
