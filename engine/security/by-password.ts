// User name and password, judged by the password file.
import { Reason } from '../../protocol/packet.ts';
import type { AuthOutcome } from '../gate.ts';
import { type Method, NOT_MINE } from './method.ts';
import { type PasswordFile, Verdict } from './password-file.ts';

const NOT_AUTHORIZED: AuthOutcome = { ok: false, reason: Reason.NOT_AUTHORIZED };
const BAD_CREDENTIALS: AuthOutcome = { ok: false, reason: Reason.BAD_USER_NAME_OR_PASSWORD };
const BUSY: AuthOutcome = { ok: false, reason: Reason.SERVER_BUSY };

export function byPasswordFile(passwordFile: PasswordFile): Method {
  async function judge(username: string, password: Uint8Array): Promise<AuthOutcome> {
    try {
      const verdict = await passwordFile.verify(username, password);
      if (verdict === Verdict.OK) return { ok: true, username };
      return verdict === Verdict.BUSY ? BUSY : BAD_CREDENTIALS;
    } catch {
      return NOT_AUTHORIZED;
    }
  }
  return {
    answer({ username, password }, isLast) {
      if (username === null) return NOT_MINE;
      // A name that is not in the file is somebody else's to judge. Where nobody else is asked it costs what a known one costs.
      if (!isLast && !passwordFile.has(username)) return NOT_MINE;
      return password === null ? BAD_CREDENTIALS : judge(username, password);
    },
  };
}
