// One way to find out who a client is. Methods are asked in an order, each says who it is, that it may not come in, or that it is not the one to ask (authenticator.ts).
import type { AuthOutcome, Credentials } from '../gate.ts';

/** The client is none of this method's: the next one is asked. */
export const NOT_MINE = 'not mine';

export type MethodAnswer = AuthOutcome | typeof NOT_MINE;

/** Never rejects: what it cannot find out is a refusal. */
export interface Method {
  /** `isLast`: nobody is asked after this one. */
  answer(credentials: Credentials, isLast: boolean): Promise<MethodAnswer> | MethodAnswer;
}
