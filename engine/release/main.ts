// `npm run bundle`: the one-file program of each platform that is asked for.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { pack } from './archive.ts';
import { bundleCode, type Code } from './code.ts';
import { type Platform, platforms } from './contents.ts';
import { executablePath, makeExecutable } from './executable.ts';

const ROOT = new URL(import.meta.url.endsWith('.ts') ? '../../' : '../../../', import.meta.url).pathname;

const help = `usage: npm run bundle -- [options]
  --platform NAME  ${Object.keys(platforms).join(' or ')} (default: this machine's)
  --all            both
  --release        also dist/release/lethe-VERSION-PLATFORM.tar.xz and SHA256SUMS (a minute or two of computing each)
  --if-changed     only what is older than the build`;

const MEBIBYTE = 1_048_576;

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      platform: { type: 'string', default: `${process.platform}-${process.arch}` },
      all: { type: 'boolean', default: false },
      release: { type: 'boolean', default: false },
      'if-changed': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (flags.help) {
    console.log(help);
    return;
  }
  const wanted = flags.all ? Object.keys(platforms) : [flags.platform];
  for (const name of wanted) if (!Object.hasOwn(platforms, name)) throw new Error(`no platform ${name}\n${help}`);
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  let bundled: Code | null = null;
  const code = async (): Promise<Code> => (bundled ??= await bundleCode(ROOT));
  for (const platform of wanted as Platform[]) {
    const path = executablePath(ROOT, platform);
    if (!flags['if-changed'] || !isCurrent(path)) await makeExecutable(ROOT, platform, await code());
    tell(path);
    if (flags.release) tell(await pack({ root: ROOT, platform, version, modules: (await code()).modules }));
  }
}

function tell(path: string): void {
  console.log(`${path}: ${(statSync(path).size / MEBIBYTE).toFixed(1)} MiB`);
}

/** Whether it was made after everything that `npm run build` has made, and npm installed. */
function isCurrent(path: string): boolean {
  const madeMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const from = ['engine', 'protocol', 'storage', 'bench'].flatMap((folder) => {
    const entries = readdirSync(join(ROOT, 'dist', folder), { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  });
  return [...from, join(ROOT, 'package-lock.json')].every((file) => statSync(file).mtimeMs < madeMs);
}

await main();
