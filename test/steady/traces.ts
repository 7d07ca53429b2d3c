// What V8 says of itself under --trace-gc-nvp and --trace-deopt-verbose, read: collections with what was allocated before each, and functions
// that went back from optimised code.

export interface Collections {
  /** Of the young generation. */
  readonly minor: number;
  /** Of the whole heap; the one that ends the watch counts. */
  readonly major: number;
  /** Bytes allocated in all. */
  readonly allocated: number;
}

export interface Deoptimisation {
  readonly name: string;
  /** `deopt-eager` at an assumption that did not hold, `deopt-lazy` when the code was given up from outside. */
  readonly kind: string;
  /** Where in the build, `file:///…/x.js:line:column`; empty when V8 does not say. */
  readonly place: string;
  readonly reason: string;
  readonly times: number;
}

export function readCollections(trace: string): Collections {
  let minor = 0;
  let major = 0;
  let allocated = 0;
  for (const [, kind, bytes] of trace.matchAll(/^\[.* gc=(\w+) .* allocated=(\d+) /gm)) {
    if (kind === 'mc' || kind === 'ms') major++;
    else minor++;
    allocated += Number(bytes);
  }
  return { minor, major, allocated };
}

/** Those that happened, the most frequent first. */
export function readDeoptimisations(trace: string): Deoptimisation[] {
  const found = new Map<string, { -readonly [K in keyof Deoptimisation]: Deoptimisation[K] }>();
  const pattern =
    /^\[bailout \(kind: ([\w-]+), reason: (.*?)\): begin\. deoptimizing 0x\w+ <JSFunction ?(.*?) ?\(sfi = .*\n(?:\s+;;; deoptimize at <([^>]*)>)?/gm;
  for (const [, kind = '', reason = '', name = '', place = ''] of trace.matchAll(pattern)) {
    const key = [name, kind, place, reason].join('\n');
    const known = found.get(key);
    if (known !== undefined) known.times++;
    else found.set(key, { name, kind, place, reason, times: 1 });
  }
  return [...found.values()].toSorted((a, b) => b.times - a.times);
}
