// Before the first test: the programs that the suite drives as real clients and oracles. On a Debian machine that runs as root
// what is missing is installed; elsewhere the run ends with the command to type.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Programs by the Debian package that has them. */
const PROGRAMS: Readonly<Record<string, string>> = {
  mosquitto_pub: 'mosquitto-clients',
  mosquitto_sub: 'mosquitto-clients',
  mosquitto: 'mosquitto',
  mosquitto_passwd: 'mosquitto',
  openssl: 'openssl',
  curl: 'curl',
  promtool: 'prometheus',
  'systemd-notify': 'systemd',
  socat: 'socat',
  faketime: 'faketime',
  ip: 'iproute2',
  nginx: 'nginx',
  haproxy: 'haproxy',
  certutil: 'libnss3-tools',
  debootstrap: 'debootstrap',
  readelf: 'binutils',
};

/** Any of these will do, and where none can be had the live page and what browsers do are not tested, which their tests say. */
const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome'];
const BROWSER_PACKAGE = 'chromium';

export default function setup(): void {
  const missing = [
    ...new Set(
      Object.keys(PROGRAMS)
        .filter((name) => !isInstalled(name))
        .map((name) => PROGRAMS[name]!),
    ),
  ];
  const mayInstall = process.getuid?.() === 0 && isInstalled('apt-get');
  if (mayInstall && !BROWSERS.some(isInstalled)) missing.push(BROWSER_PACKAGE);
  if (missing.length === 0) return;
  const install = `apt-get install -y ${missing.join(' ')}`;
  if (!mayInstall) {
    throw new Error(`the tests need Debian's ${missing.join(' and ')}: install with 'sudo ${install}' and run them again`);
  }
  process.stdout.write(`installing ${missing.join(', ')} for the tests\n`);
  // RUNLEVEL=1 keeps the packages of mosquitto, prometheus, nginx and haproxy from starting their services on the default ports.
  const options = {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
    stdio: ['ignore', 'ignore', 'inherit'] as const,
  };
  execFileSync('apt-get', ['update', '-qq'], { ...options, stdio: [...options.stdio] });
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing], {
    ...options,
    stdio: [...options.stdio],
  });
}

function isInstalled(name: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  return folders.some((folder) => existsSync(join(folder, name)));
}
