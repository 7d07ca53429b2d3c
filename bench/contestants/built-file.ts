// Files of the build that the benches start, also when they run from their sources in a test.

/** Path of a file in `dist`. */
export function builtFile(name: string): string {
  const dist = import.meta.url.endsWith('.ts') ? '../../dist/' : '../../';
  return new URL(dist + name, import.meta.url).pathname;
}
