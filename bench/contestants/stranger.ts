// Any other broker, by its address: it runs already, and goes on after the bench.
import { ExitCode } from '../../engine/cli/exit-code.ts';
import { Failure } from '../../engine/cli/failure.ts';
import type { Contestant, Place, Transport } from './contestant.ts';

const SCHEMES: Readonly<Record<string, readonly [Transport, port: number]>> = {
  'mqtt:': ['tcp', 1883],
  'tcp:': ['tcp', 1883],
  'mqtts:': ['tls', 8883],
  'ws:': ['ws', 80],
  'wss:': ['wss', 443],
};

/**
 * @param text NAME=mqtt://HOST:PORT, with further addresses behind commas: ws://HOST:PORT/PATH, mqtts://, wss://
 * @param pids process ids by name; without one what it costs is not known
 */
export function stranger(text: string, pids: ReadonlyMap<string, number> = new Map()): Contestant {
  const at = text.indexOf('=');
  const name = text.slice(0, at);
  if (at <= 0) throw wrong(text, 'must be NAME=mqtt://HOST:PORT');
  const places: Partial<Record<Transport, Place>> = {};
  for (const url of text.slice(at + 1).split(',')) {
    const [transport, place] = placeOf(text, url);
    if (places[transport] !== undefined) throw wrong(text, `has two addresses for ${transport}`);
    places[transport] = place;
  }
  const pid = pids.get(name) ?? null;
  return {
    name,
    version: `${name} at ${text.slice(at + 1)}`,
    start: async () => ({ pid, places, isForeign: true, ended: () => null, stop: async () => {} }),
  };
}

function placeOf(text: string, address: string): readonly [Transport, Place] {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw wrong(text, `'${address}' is no address such as mqtt://HOST:PORT`);
  }
  const known = SCHEMES[url.protocol];
  if (known === undefined) throw wrong(text, `'${url.protocol}//' is none of mqtt://, mqtts://, ws://, wss://`);
  if (url.hostname === '') throw wrong(text, `'${address}' has no host`);
  const [transport, port] = known;
  const isWeb = transport === 'ws' || transport === 'wss';
  const path = isWeb && url.pathname !== '/' ? url.pathname : '/mqtt';
  return [transport, { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? port : Number(url.port), path }];
}

function wrong(text: string, why: string): Failure {
  return new Failure(`--address '${text}': ${why}`, ExitCode.USAGE);
}
