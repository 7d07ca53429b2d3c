// Whose address a WebSocket connection counts for: that of its socket, or the one that a trusted proxy names, in a header of the request or by the PROXY protocol.
//
// uWebSockets reads a PROXY header of version 2 in front of any request, from anybody, and keeps what the last one said; it tells that beside the address of the socket. So it counts only where the socket is
// a trusted proxy's, and only because a connection makes no second request (websocket.ts, `refuse`): the client's own header behind the proxy's would go before it.

import type { HttpRequest, HttpResponse } from 'uWebSockets.js';
import { isIPv6 } from 'node:net';
import { addressList, addressText, networks } from './address.ts';
import { clientBehind } from './forwarded.ts';
import { type Refusal, Refusals } from './websocket-handshake.ts';

/** How the proxies in front of a listener name the client. */
export interface Proxied {
  /** Addresses or networks of the proxies. */
  readonly trusted: readonly string[];
  /** Name of a header, or the PROXY protocol. */
  readonly by: { readonly header: string } | 'proxy_protocol';
}

const SLASH = 0x2f;
/** Addresses of hosts that begin with a zero byte, beside those of IPv4 in IPv6: this machine's, and those that translators make (RFC 6052, RFC 8215). */
const low = networks('addresses', ['::1', '64:ff9b::/96', '64:ff9b:1::/48']);

/** An address, or why there is none. */
export type AddressReader = (response: HttpResponse, request: HttpRequest) => string | Refusal;

/** @throws Error that names the listener and the entry that is no address */
export function addressReader(listener: string, proxied: Proxied | undefined): AddressReader {
  if (proxied === undefined) return socketAddress;
  const { by } = proxied;
  const trusted = addressList(listener, 'proxy_trusted', proxied.trusted);
  if (by === 'proxy_protocol') {
    return (response) => {
      if (!trusted.has(socketAddress(response))) return Refusals.NO_PROXY;
      const named = new Uint8Array(response.getProxiedRemoteAddress());
      return namedAddress(named) ?? Refusals.PROXY_HEADER;
    };
  }
  const header = by.header.toLowerCase();
  return (response, request) => {
    const own = socketAddress(response);
    // A client that comes straight may write into the header what it likes.
    if (!trusted.has(own)) return own;
    return clientBehind(header, headerLines(request, header), trusted) ?? Refusals.REAL_ADDRESS;
  };
}

/**
 * uWebSockets tells no address for a header without one (LOCAL, UNSPEC), and the first 16 bytes of whatever stands there for every family but IPv4: of a UNIX socket's path or name too, which begin with `/` and a zero. No client's IPv6 address begins
 * with a slash (2f00::/8 is given to nobody), and few with a zero byte.
 */
function namedAddress(bytes: Uint8Array): string | null {
  if (bytes.length === 0) return null;
  const text = addressText(bytes, 0, bytes.length);
  const isSocket = bytes.length === 16 && (bytes[0] === SLASH || bytes[0] === 0) && isIPv6(text) && !low.has(text);
  return isSocket ? null : text;
}

function socketAddress(response: HttpResponse): string {
  const bytes = new Uint8Array(response.getRemoteAddress());
  return addressText(bytes, 0, bytes.length);
}

/** All lines of one header. `getHeader` tells the first one, and a proxy that adds a line of its own adds it behind the client's. */
function headerLines(request: HttpRequest, header: string): string {
  const lines: string[] = [];
  request.forEach((name, value) => {
    if (name === header) lines.push(value);
  });
  return lines.join(',');
}
