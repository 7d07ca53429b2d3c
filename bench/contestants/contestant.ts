// A broker under test: how it is started, on cores of its own, where it then listens, and how it is ended.
import type { WireAddress } from '../raw/stream-wire.ts';
import type { Certificate } from './certificate.ts';

export type Transport = WireAddress['transport'];
export type Place = Pick<WireAddress, 'host' | 'port' | 'path'>;

export interface RunningBroker {
  /** Null: not known. */
  readonly pid: number | null;
  /** Where it listens; a transport that it does not have is missing. */
  readonly places: Readonly<Partial<Record<Transport, Place>>>;
  /** What its clients must give; absent: nothing. */
  readonly login?: { readonly userName: string; readonly password: string };
  /** Whether somebody else has started it, and `stop` leaves it running. */
  readonly isForeign: boolean;
  /** How it has ended, in words; null while it runs, or where nobody knows. */
  readonly ended: () => string | null;
  stop(): Promise<void>;
}

/** Of the stream and of the WebSocket listener. */
export interface Ports {
  readonly stream: number;
  readonly ws: number;
}

export interface StartOptions {
  /** A list such as 0 or 0,1; null: anywhere. */
  readonly cores: string | null;
  /** Free ones unless told. */
  readonly ports?: Ports;
  /** Listens for tls and wss with it, instead of for tcp and ws. */
  readonly certificate?: Certificate;
}

export interface Contestant {
  readonly name: string;
  readonly version: string;
  start(options: StartOptions): Promise<RunningBroker>;
}

/** The two listeners of a broker on loopback. */
export function localPlaces({ stream, ws }: Ports, path: string, isSecure: boolean): RunningBroker['places'] {
  const at = (port: number): Place => ({ host: '127.0.0.1', port, path });
  return isSecure ? { tls: at(stream), wss: at(ws) } : { tcp: at(stream), ws: at(ws) };
}
