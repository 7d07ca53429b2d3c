// Why a bridge has no link, for the log: a constant sentence for each kind, with codes that stand in no one's message.
import { Reason } from '../../protocol/packet.ts';
import type { Log } from '../log.ts';
import type { LinkEnd } from './link.ts';

/** Codes by which node and OpenSSL say that a certificate was not found good. */
const UNTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO_|TLS|SSL|EPROTO|INVALID_|MISMATCH|CRL|PATH_LENGTH/;
const NO_CODE = 'NONE';

export function tellEnd(log: Log, bridge: string, end: LinkEnd): void {
  switch (end.kind) {
    case 'unreachable': {
      const { code } = end;
      if (UNTRUSTED.test(code))
        log.error('TLS with the remote broker of a bridge fails: look at its certificate, ca_file, cert_file and key_file', {
          bridge,
          code: codeOf(code),
        });
      else log.warn('the remote broker of a bridge cannot be reached; it is tried again', { bridge, code: codeOf(code) });
      return;
    }
    case 'silent':
      log.warn('the remote broker of a bridge closes without an answer to CONNECT; it is tried again', { bridge });
      return;
    case 'version':
      log.error('the remote broker of a bridge speaks no version of MQTT that the bridge may speak', { bridge });
      return;
    case 'refused':
      log.error('the remote broker refuses a bridge: look at its user name, password, client identifier and rights there', {
        bridge,
        reason: end.reason,
      });
      return;
    case 'lost':
      log.warn('a bridge has lost its remote broker; what goes out is kept', { bridge, code: codeOf(end.code) });
      return;
    case 'mute':
      log.warn('the remote broker of a bridge does not answer any more; what goes out is kept', { bridge });
      return;
    case 'dismissed':
      log.warn('the remote broker has sent a bridge away; it is tried again', { bridge, reason: end.reason });
      return;
    case 'wrong':
      log.error('the remote broker has sent a bridge what it must not; the link was ended', { bridge, reason: end.reason });
      return;
    case 'full':
      if (end.reason === Reason.QUOTA_EXCEEDED)
        log.warn('the remote broker of a bridge takes no more messages; they are kept here and tried again', { bridge });
      else
        log.warn('this broker takes no more messages; a bridge leaves them with its remote broker and tries again', { bridge });
      return;
    case 'local':
      log.warn('the session of a bridge was ended here; the link begins anew', { bridge });
      return;
    case 'left':
      log.info('a bridge has left its remote broker', { bridge });
  }
}

/** Codes of OpenSSL may hold what is no code. */
function codeOf(code: string): string {
  return /^[A-Z][A-Z0-9_]*$/.test(code) ? code : NO_CODE;
}
