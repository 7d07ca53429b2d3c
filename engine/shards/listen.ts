// The listeners of a configuration.
import type { Admission } from '../admission.ts';
import type { Clock } from '../clock.ts';
import type { Config, ListenerConfig } from '../config/load.ts';
import type { Accept } from '../link.ts';
import type { ShardPlace } from '../network/bind.ts';
import type { TlsOptions } from '../network/certificate.ts';
import type { Proxied } from '../network/client-address.ts';
import type { ListenerChange, ReloadableListener } from '../network/reloadable.ts';
import { listenTcp } from '../network/tcp.ts';

/** A WebSocket message may carry several packets: the largest one and some small ones. */
const FRAME_MARGIN_BYTES = 65_536;

/** Opens every listener, or none: one that fails closes those that are open. */
export async function listenAll(
  config: Config,
  clock: Clock,
  place: ShardPlace | null,
  ports: ReadonlyMap<string, number> | null,
  accept: Accept,
  admission: Admission,
): Promise<ReloadableListener[]> {
  const open: ReloadableListener[] = [];
  try {
    for (const listener of config.listeners) {
      const port = ports?.get(listener.name) ?? listener.port;
      open.push(await listen({ ...listener, port }, config, clock, place, accept, admission));
    }
    return open;
  } catch (error) {
    await Promise.all(open.map((listener) => listener.close()));
    throw error;
  }
}

async function listen(
  listener: ListenerConfig,
  config: Config,
  clock: Clock,
  place: ShardPlace | null,
  accept: Accept,
  admission: Admission,
): Promise<ReloadableListener> {
  const { name, host, port } = listener;
  const { limits, server } = config;
  const base = {
    name,
    host,
    port,
    accept,
    admission,
    clock,
    endTimeoutMs: server.stopTimeoutMs,
    ...(place === null ? {} : { shards: place }),
    ...(isEncrypted(listener) ? { tls: tlsOptions(listener) } : {}),
  };
  if (listener.transport === 'tcp' || listener.transport === 'tls') {
    const timeoutMs = limits.connectTimeoutMs;
    const proxyProtocol = { trusted: [...listener.proxyTrusted], timeoutMs };
    return listenTcp({ ...base, handshakeTimeoutMs: timeoutMs, ...(listener.proxyProtocol ? { proxyProtocol } : {}) });
  }
  // uWebSockets is loaded only for those who listen with it.
  const { listenWebSocket } = await import('../network/websocket.ts');
  return listenWebSocket({
    ...base,
    path: listener.path,
    origins: listener.origins,
    compression: listener.compression,
    ...proxiedOf(listener),
    payloadBytesMax: limits.packetBytesMax + FRAME_MARGIN_BYTES,
  });
}

/** What of a listener may be different after a reload. */
export function changeOf(listener: ListenerConfig): ListenerChange {
  return { origins: listener.origins, ...(isEncrypted(listener) ? { tls: tlsOptions(listener) } : {}) };
}

function proxiedOf({ proxyTrusted: trusted, proxyProtocol, realAddressHeader: header }: ListenerConfig): { proxied?: Proxied } {
  if (proxyProtocol) return { proxied: { trusted, by: 'proxy_protocol' } };
  return header === '' ? {} : { proxied: { trusted, by: { header } } };
}

function isEncrypted({ transport }: ListenerConfig): boolean {
  return transport === 'tls' || transport === 'wss';
}

function tlsOptions(listener: ListenerConfig): TlsOptions {
  return {
    certFile: listener.certFile,
    keyFile: listener.keyFile,
    ...(listener.caFile === '' ? {} : { caFile: listener.caFile }),
    minVersion: listener.tlsMinVersion,
    clientCertificate: listener.clientCertificate,
    certificateUser: listener.certificateUser,
  };
}
