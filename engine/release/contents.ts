// What goes into the one-file program beside the code: the runtime, the native code and a few texts, each from its package on the npm registry.

/** Versions and hashes are pinned: what is inside is what was looked at. */
export const RUNTIME_VERSION = '22.23.3';

export const platforms = {
  'linux-x64': {
    machine: 'x86-64',
    runtimeIntegrity: 'sha512-qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9BtHNg/AKR2583eYorLF/c7ng==',
  },
  'linux-arm64': {
    machine: 'AArch64',
    runtimeIntegrity: 'sha512-l3DAHZreylo+p9QXDtsOrjG2JXJqVzYXnAGmIQNOUNARcMppTO2cmewVQP+36tjJnSE+dzpMNtgW+c3oiDvXtA==',
  },
} as const;

export type Platform = keyof typeof platforms;

/** What the live page and the report of a bench show their plots with. */
export const UPLOT_TEXTS = ['uplot/dist/uPlot.iife.min.js', 'uplot/dist/uPlot.min.css'] as const;

/** What the machine must have: the newest symbols that the runtime and the native code ask for (those of lmdb are the newest). */
export const NEEDED = { glibc: '2.34', libstdcxx: '3.4.29' } as const;
/** The same in words. */
export const NEEDED_WORDS = `glibc ${NEEDED.glibc} or later and the libstdc++ of GCC 11 or later`;
