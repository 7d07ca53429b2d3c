// `npm run bundle`: the one-file program of each platform that is asked for.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundleCode } from './code.ts';
import { type Platform, platforms } from './contents.ts';
import { makeExecutable } from './executable.ts';

const ROOT = new URL(import.meta.url.endsWith('.ts') ? '../../' : '../../../', import.meta.url).pathname;

const help = `usage: npm run bundle -- [options]
  --platform NAME  ${Object.keys(platforms).join(' or ')} (default: this machine's)
  --all            both`;

const MEBIBYTE = 1_048_576;

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      platform: { type: 'string', default: `${process.platform}-${process.arch}` },
      all: { type: 'boolean', default: false },
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
  const code = await bundleCode(ROOT, version);
  for (const platform of wanted as Platform[]) {
    const path = await makeExecutable(ROOT, platform, code);
    console.log(`${path}: ${(statSync(path).size / MEBIBYTE).toFixed(1)} MiB`);
  }
}

await main();
