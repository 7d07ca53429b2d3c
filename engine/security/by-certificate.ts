// The client certificate as the user name, where the listener says so. The transport has verified the certificate and read the name from it (network/certificate-name.ts).
import { Reason } from '../../protocol/packet.ts';
import { type Method, NOT_MINE } from './method.ts';

/** Whatever CONNECT gives is not looked at: who shows a certificate is who it names. */
export const byCertificate: Method = {
  answer({ peer: { certificate } }) {
    if (certificate === null || certificate.userName === undefined) return NOT_MINE;
    if (certificate.userName === '') return { ok: false, reason: Reason.NOT_AUTHORIZED };
    return { ok: true, username: certificate.userName };
  },
};
