// A gate, from its build in dist/: everybody is who they say, so that a user name reaches the session as a checked one does.
import type { Authenticator } from '../../engine/lethe.ts';

export const authenticator: Authenticator = { authenticate: ({ username }) => ({ ok: true, username }) };
