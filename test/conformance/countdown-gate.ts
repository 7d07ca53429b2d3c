// A gate, from its build in dist/: a method of enhanced authentication that counts down, and one topic that nobody may publish to.
import type { Exchange, ExchangeMethods, Rights } from '../../engine/lethe.ts';
import { Reason } from '../../protocol/packet.ts';

export const METHOD = 'countdown';

/** Asks for '2', then '1', and is content; anything else fails. */
export const exchanges: ExchangeMethods = {
  begin(method): Exchange | null {
    if (method !== METHOD) return null;
    let expected = 3;
    return {
      step(data) {
        const given = Buffer.from(data ?? []).toString();
        if (given !== String(expected)) return { kind: 'failure', reason: Reason.NOT_AUTHORIZED };
        expected--;
        if (expected > 0) return { kind: 'continue', data: Buffer.from(String(expected)) };
        return { kind: 'success', username: null, data: Buffer.from('done') };
      },
    };
  },
};

const forbidden = Buffer.from('forbidden');
export const rights: Rights = {
  mayPublish: (_principal, _clientId, topic, from, to) => !forbidden.equals(topic.subarray(from, to)),
  mayReceive: () => true,
  maySubscribe: () => true,
};
