// What an HTTP request must say to become an MQTT WebSocket (MQTT 5.0 §6, RFC 6455 §4.2).

/** Names of MQTT as a WebSocket subprotocol: of MQTT 3.1.1 and 5.0, and the one that clients of MQTT 3.1 use. */
const SUBPROTOCOLS: readonly string[] = ['mqtt', 'mqttv3.1'];

export interface Refusal {
  /** HTTP status line after the version. */
  readonly status: string;
  readonly text: string;
}

export const Refusals = {
  NOT_FOUND: { status: '404 Not Found', text: 'There is nothing here. MQTT over WebSocket is served on another path.\n' },
  NOT_AN_UPGRADE: { status: '426 Upgrade Required', text: 'This path serves MQTT over WebSocket only.\n' },
  ORIGIN: {
    status: '403 Origin Not Allowed',
    text: 'Pages of this origin may not connect. The operator can add it to the origins of this listener.\n',
  },
  SUBPROTOCOL: {
    status: '400 Subprotocol Not Supported',
    text: `Offer one of these in Sec-WebSocket-Protocol: ${SUBPROTOCOLS.join(', ')}\n`,
  },
  REAL_ADDRESS: {
    status: '400 Real Address Missing',
    text: 'The proxy in front of this listener must say in a header who connects. The operator named the header in real_address_header.\n',
  },
  PROXY_HEADER: {
    status: '400 PROXY Header Missing',
    text: 'The proxy in front of this listener must say who connects, with a PROXY header of version 2 (send-proxy-v2).\n',
  },
  NO_PROXY: { status: '403 Not A Proxy', text: 'This listener serves the proxies in its proxy_trusted only.\n' },
  BANNED: { status: '403 Forbidden', text: 'This address may not connect.\n' },
  OVERLOADED: { status: '503 Overloaded', text: 'The broker takes no new connections now. Try again in a moment.\n' },
  BUSY: { status: '503 Too Many Handshakes', text: 'Too many connections at once. Try again in a moment.\n' },
} as const satisfies Record<string, Refusal>;

/**
 * The first of MQTT's names that the client offers, in the client's order; '' when it offers none, and then the handshake is
 * refused: a client must offer "mqtt" [MQTT-6.0.0-3] and the server must select it [MQTT-6.0.0-4].
 * @param offered the Sec-WebSocket-Protocol header, '' when absent
 */
export function chooseSubprotocol(offered: string): string {
  for (const entry of offered.split(',')) {
    const subprotocol = entry.trim();
    if (SUBPROTOCOLS.includes(subprotocol)) return subprotocol;
  }
  return '';
}

/**
 * Whether a page of this origin may connect. No origin means that it is no browser, so that nobody's browser is being misused.
 * @param allowed null for all
 */
export function originAllowed(origin: string, allowed: ReadonlySet<string> | null): boolean {
  return allowed === null || origin === '' || allowed.has(origin.toLowerCase());
}
