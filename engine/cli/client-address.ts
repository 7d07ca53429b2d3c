// Where the broker is, from -h, -p, --ws, --path, --tls or from one URL.

/** Host without brackets, also for IPv6. */
export interface Address {
  readonly protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  readonly host: string;
  readonly port: number;
  /** Of the WebSocket. */
  readonly path: string;
  readonly username?: string;
  readonly password?: string;
  /** The path of an mqtt:// URL, as it is written: `#` and `+` have their meaning of MQTT in it. */
  readonly topic?: string;
}

export interface AddressFlags {
  readonly host?: string;
  readonly port?: number;
  readonly url?: string;
  readonly ws?: true;
  readonly path?: string;
  readonly tls?: true;
  readonly cafile?: string;
  readonly cert?: string;
  readonly insecure?: true;
}

const PORTS = { mqtt: 1883, mqtts: 8883, ws: 8083, wss: 443 } as const;
/** A ws:// URL means what it means in a browser. */
const URL_PORTS = { ...PORTS, ws: 80 } as const;
const PATH_DEFAULT = '/mqtt';

const URL_SHAPE = /^(mqtts?|wss?):\/\/(?:([^:@/]*)(?::([^@/]*))?@)?(\[[0-9A-Fa-f:.]+\]|[^:/@\s]+)(?::(\d{1,5}))?(\/.*)?$/s;

/** @param refuse ends the program with a message about the flags */
export function addressOf(flags: AddressFlags, refuse: (message: string) => never): Address {
  const address = flags.url === undefined ? fromFlags(flags) : fromUrl(flags, flags.url, refuse);
  const webSocket = address.protocol === 'ws' || address.protocol === 'wss';
  if (flags.path !== undefined && !webSocket) refuse('--path is for WebSocket: give --ws');
  if (webSocket && !address.path.startsWith('/')) refuse('--path must begin with /');
  return address;
}

function fromFlags(flags: AddressFlags): Address {
  const asked = flags.tls ?? flags.cafile ?? flags.cert ?? flags.insecure;
  const encrypted = asked !== undefined || (flags.port === PORTS.mqtts && flags.ws !== true);
  const protocol = flags.ws === true ? (encrypted ? 'wss' : 'ws') : encrypted ? 'mqtts' : 'mqtt';
  const host = unbracketed(flags.host ?? 'localhost');
  return { protocol, host, port: flags.port ?? PORTS[protocol], path: flags.path ?? PATH_DEFAULT };
}

function fromUrl(flags: AddressFlags, url: string, refuse: (message: string) => never): Address {
  for (const name of ['host', 'port', 'ws', 'path'] as const)
    if (flags[name] !== undefined) refuse(`-L says where the broker is: leave out --${name}`);
  const parts = URL_SHAPE.exec(url);
  // The URL is not repeated: it may hold a password.
  if (parts === null) refuse('-L must be written as mqtt[s]://[user[:password]@]host[:port][/topic] or ws[s]://…/path');
  const [, scheme, username, password, host, port, rest] = parts;
  const protocol = scheme as Address['protocol'];
  const encrypted = protocol === 'mqtts' || protocol === 'wss';
  const asked = flags.tls ?? flags.cafile ?? flags.cert ?? flags.insecure;
  if (!encrypted && asked !== undefined) refuse(`the TLS options need ${protocol}s:// in -L`);
  const webSocket = protocol === 'ws' || protocol === 'wss';
  return {
    protocol,
    host: unbracketed(host!),
    port: port === undefined ? URL_PORTS[protocol] : Number(port),
    path: webSocket ? (rest ?? PATH_DEFAULT) : PATH_DEFAULT,
    ...(username === undefined ? {} : { username: decoded(username) }),
    ...(password === undefined ? {} : { password: decoded(password) }),
    ...(webSocket || rest === undefined || rest === '/' ? {} : { topic: rest.slice(1) }),
  };
}

function unbracketed(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
}

/** `%40` is `@`; a stray % stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** `mqtt://host:1883`, for messages; never with a password. */
export function showAddress({ protocol, host, port }: Address): string {
  return `${protocol}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
