// The release archive: the program, what one needs to run it as a service, what is inside it under which licences, and sums over all of it. Two archives of one commit
// are the same bytes: times are the commit's, owners nobody's, names sorted.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, createReadStream, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { commitTimeS } from '../made.ts';
import { NEEDED_WORDS, type Platform } from './contents.ts';
import { executablePath } from './executable.ts';
import { packagesInside } from './inside.ts';
import { billOfMaterials } from './sbom.ts';

export const SUMS = 'SHA256SUMS';
const ARCHIVE = '.tar.xz';

/** From the repository, by where they lie in the archive. */
const copied: Readonly<Record<string, string>> = {
  LICENSE: 'LICENSE',
  'lethe.service': 'docs/deploy/lethe.service',
  'EDGE.md': 'docs/EDGE.md',
  'examples/browser.toml': 'docs/examples/browser.toml',
  'examples/edge.toml': 'docs/examples/edge.toml',
  'examples/harness.toml': 'docs/examples/harness.toml',
  'examples/multi-tenant.toml': 'docs/examples/multi-tenant.toml',
};

export interface Release {
  readonly root: string;
  readonly platform: Platform;
  readonly version: string;
  /** Paths from the root of all that the bundler has taken. */
  readonly modules: readonly string[];
}

/** Lays out the folder that is packed. Returns its path, which is in `under`. */
export async function layOut({ root, platform, version, modules }: Release, under: string): Promise<string> {
  const folder = join(under, `lethe-${version}-${platform}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };
  copyFileSync(executablePath(root, platform), join(folder, 'lethe'));
  for (const [to, from] of Object.entries(copied)) write(to, readFileSync(join(root, from), 'utf8'));
  const inside = packagesInside(root, platform, modules);
  for (const { name, version: own, text } of inside) write(`licences/${name.replace('/', '+')}-${own}.txt`, text);
  const hash = await sha256(join(folder, 'lethe'));
  write('sbom.cdx.json', billOfMaterials(version, hash, new Date(commitTimeS(root) * 1_000), inside));
  write('README', readme(version, platform));
  write(SUMS, await sumsOf(folder));
  return folder;
}

/** Packs it beside the others of its kind. Returns the archive's path. */
export async function pack(release: Release): Promise<string> {
  const releases = join(release.root, 'dist/release');
  const folder = await layOut(release, releases);
  const archive = packFolder(folder, commitTimeS(release.root));
  rmSync(folder, { recursive: true });
  const archives = readdirSync(releases)
    .filter((name) => name.endsWith(ARCHIVE))
    .sort();
  const lines = await Promise.all(archives.map(async (name) => `${await sha256(join(releases, name))}  ${name}\n`));
  writeFileSync(join(releases, SUMS), lines.join(''));
  return archive;
}

/** Packs a folder into an archive beside it, whose bytes depend on the names and contents in it, on which of them may be run, and on the time. Returns its path. */
export function packFolder(folder: string, timeS: number): string {
  const archive = `${folder}${ARCHIVE}`;
  const unfinished = `${archive}.${process.pid}`;
  const order = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', '--format=ustar', `--mtime=@${timeS}`];
  const mode = '--mode=u+rwX,go+rX,go-w';
  // Of the environment no more than the tools need to be found: each hears of options there too.
  const env = { PATH: process.env['PATH'], LC_ALL: 'C', XZ_OPT: '-6 -T1' };
  execFileSync('tar', [...order, mode, '-C', dirname(folder), '-cJf', unfinished, basename(folder)], { env });
  renameSync(unfinished, archive);
  return archive;
}

/** As sha256sum prints them and checks them. */
async function sumsOf(folder: string): Promise<string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort();
  const lines: string[] = [];
  for (const path of paths) lines.push(`${await sha256(join(folder, path))}  ${path}\n`);
  return lines.join('');
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

function readme(version: string, platform: Platform): string {
  return `Lethe ${version} for ${platform}: an MQTT broker that forgets, in one file.

  sha256sum -c ${SUMS}                          is everything as it was made?
  ./lethe                                      serves on 127.0.0.1:1883 and ws://127.0.0.1:8083/mqtt, in memory
  ./lethe serve --data ./data                  sessions and messages survive a restart
  ./lethe self-test                            can this machine run it?
  ./lethe --help                               everything else

It needs a Linux with ${NEEDED_WORDS} (Debian 12, Ubuntu 22.04), and nothing else. To run it as a service:

  install -m 0755 lethe /usr/bin/lethe
  useradd --system --user-group --home-dir /var/lib/lethe --shell /usr/sbin/nologin lethe
  install -d -m 0750 -g lethe /etc/lethe
  install -m 0640 -g lethe examples/edge.toml /etc/lethe/lethe.toml     # and make it yours: addresses, certificates
  install -m 0644 lethe.service /etc/systemd/system/
  systemctl daemon-reload && systemctl enable --now lethe

EDGE.md      the file, what it unpacks and where, sizes, what happens when something goes wrong
examples/    configurations; ./lethe check-config FILE judges one
licences/    of everything inside; sbom.cdx.json lists it (CycloneDX)
`;
}
