// Lethe as a contestant with everything on that an operator of other people's messages has on: a password file, an ACL file and roles that every publish and delivery is judged by, an admin port whose metrics are read every second (by the load's process). What that costs beside the bare one is the subject (docs/PERFORMANCE.md).
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { systemRandom } from '../../engine/random.ts';
import { hashPassword } from '../../engine/security/password-hash.ts';
import type { Contestant } from './contestant.ts';
import { lethe } from './lethe.ts';
import { removeScratch, scratchFolder } from './scratch.ts';

const LOGIN = { userName: 'bench', password: 'bench' } as const;
const TOKEN = 'the-token-of-a-bench-on-loopback-that-is-long';
const SCRAPE_EVERY_MS = 1_000;

/** Rules of the topics that the cells use come last, behind those of others. */
const ACL = [
  'user bench',
  ...['a', 'b', 'c', 'd'].map((name) => `topic readwrite office/${name}/#`),
  ...['flood', 'pair', 'payload', 'shared', 'site'].map((name) => `topic readwrite ${name}/#`),
  '',
].join('\n');
const ROLES = `[[role]]\nname = "reader"\nsubscribe = ["news/+/public", "users/%u/#"]\ndeny = ["secret/#"]\nusers = ["bench"]\n`;

const LIMITS = `[[retention]]
users = ["somebody"]
message_expiry_max_s = 60
[limits]
client_messages_per_s = 100000000
client_bytes_per_s = 100000000000
client_connects_per_minute = 1000000
connections_per_user = 100000
banned_networks = ["192.0.2.0/24"]
`;

export const GUARDS = {
  /** Authentication, rights and metrics. */
  guarded: '',
  /** Rates, quotas, ceilings and a ban list besides, of which none is reached. */
  limited: LIMITS,
} as const;

export function guardedLethe(main: string, guard: keyof typeof GUARDS): Contestant {
  const name = `lethe-${guard}`;
  const { version } = lethe(main, name);
  return {
    name,
    version,
    async start(options) {
      const folder = scratchFolder();
      const file = (own: string, text: string) => {
        const path = join(folder, own);
        writeFileSync(path, text, { mode: 0o600 });
        return path;
      };
      // Few rounds: what a login costs is not the subject.
      const hash = await hashPassword(LOGIN.password, systemRandom, { format: 'mosquitto', iterations: 100 });
      const passwords = file('passwords', `${LOGIN.userName}:${hash}\n`);
      const config = `${ROLES}${GUARDS[guard]}
[auth]
password_file = "${passwords}"
acl_file = "${file('acl', ACL)}"
[admin]
port = 0
token_file = "${file('token', TOKEN)}"
[[listener]]
name = "tcp"
transport = "tcp"
[[listener]]
name = "ws"
transport = "ws"
`;
      const broker = await lethe(main, name, ['--config', file('lethe.toml', config)]).start(options);
      // The first reading loads what renders them: that is a cost of the start.
      await readMetrics(broker.adminPort);
      const reading = setInterval(() => void readMetrics(broker.adminPort), SCRAPE_EVERY_MS);
      return {
        ...broker,
        login: LOGIN,
        async stop() {
          clearInterval(reading);
          await broker.stop();
          removeScratch(folder);
        },
      };
    },
  };
}

/** Resolves when they are read, or when the broker is on its way down. */
function readMetrics(port: number): Promise<void> {
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${TOKEN}` };
    const asked = request({ host: '127.0.0.1', port, path: '/metrics', headers, agent: false }, (answer) => {
      answer.resume().on('close', resolve);
    });
    asked.on('error', () => resolve());
    asked.end();
  });
}
