// Rules of ceilings and of banned networks that no single option shows.
import { parseNetwork } from '../network/address.ts';
import type { Config } from './load.ts';

/** @param say takes the path of an option and what is wrong with it */
export function judgeRetention(config: Config, say: (path: readonly string[], message: string) => void): void {
  const seen = new Set<string>();
  config.retention.forEach(({ users, sessionExpiryMaxS, messageExpiryMaxS }, index) => {
    const at = (key: string) => ['retention', String(index), key];
    if (sessionExpiryMaxS === null && messageExpiryMaxS === null)
      say(at('users'), 'retention has no ceiling; set session_expiry_max_s, message_expiry_max_s or both');
    // The name itself is personal data.
    const known = seen.size;
    for (const user of users) seen.add(user);
    if (seen.size < known + users.length)
      say(at('users'), 'retention.users names a user that another table, or this one, has already');
  });
  for (const entry of config.bannedNetworks)
    if (parseNetwork(entry) === null)
      say(
        ['limits', 'banned_networks'],
        'limits.banned_networks has an entry that is no address or network; write it like 10.0.0.1 or 10.0.0.0/8',
      );
}
