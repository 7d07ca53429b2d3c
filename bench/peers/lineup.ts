// Who takes part: Lethe, other builds of it, the peers that are installed or can be, and brokers by address.
import { ExitCode } from '../../engine/cli/exit-code.ts';
import { Failure } from '../../engine/cli/failure.ts';
import { aedes } from '../contestants/aedes.ts';
import type { Contestant } from '../contestants/contestant.ts';
import { type GUARDS, guardedLethe } from '../contestants/guarded-lethe.ts';
import { LETHE_MAIN, lethe } from '../contestants/lethe.ts';
import { mosquitto } from '../contestants/mosquitto.ts';
import { nats } from '../contestants/nats.ts';
import { relay } from '../contestants/relay.ts';
import { stranger } from '../contestants/stranger.ts';
import type { Contender } from './contest.ts';
import { install, obstacle, type Powers } from './packages.ts';

interface Peer {
  readonly name: string;
  readonly find: () => Contestant | null;
  /** Debian's; null: it is none. */
  readonly package: string | null;
}

const PEERS: readonly Peer[] = [
  { name: 'mosquitto', find: () => mosquitto(), package: 'mosquitto' },
  { name: 'nats', find: nats, package: 'nats-server' },
  { name: 'aedes', find: aedes, package: null },
];

export const NAMES: readonly string[] = ['lethe', ...PEERS.map(({ name }) => name), 'relay'];

export interface Wanted {
  /** Names to choose; null: all. */
  readonly brokers: readonly string[] | null;
  /** Command lines of other builds of Lethe. */
  readonly also: readonly string[];
  /** Numbers of shards with which this build takes part once more. */
  readonly threads: readonly number[];
  /** With which guards on this build takes part once more. */
  readonly guards: readonly (keyof typeof GUARDS)[];
  readonly addresses: readonly string[];
  readonly pids: ReadonlyMap<string, number>;
}

/** @param say told of what is installed and of what is left out, with how to get it */
export function lineUp(wanted: Wanted, powers: Powers, say: (line: string) => void): Contender[] {
  const others: Contender[] = [
    ...wanted.also.map((main, i): Contender => ({ contestant: lethe(main, `lethe-also-${i + 1}`), role: 'build' })),
    ...wanted.guards.map((guard): Contender => ({ contestant: guardedLethe(LETHE_MAIN, guard), role: 'build' })),
    ...wanted.threads.map((threads): Contender => {
      const flags = ['--set', `server.threads=${threads}`];
      return { contestant: lethe(LETHE_MAIN, `lethe-${threads}-threads`, flags), role: 'build' };
    }),
    ...wanted.addresses.map((address): Contender => ({ contestant: stranger(address, wanted.pids), role: 'peer' })),
  ];
  const names = [...NAMES, ...others.map(({ contestant }) => contestant.name)];
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new Failure(`--address: '${twice}' is the name of another broker here`, ExitCode.USAGE);
  const unknown = [...(wanted.brokers ?? []), ...wanted.pids.keys()].find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Failure(`there is no broker '${unknown}'; there are: ${names.join(', ')}`, ExitCode.USAGE);
  const isWanted = (name: string): boolean => wanted.brokers === null || wanted.brokers.includes(name);
  return [
    ...(isWanted('lethe') ? [{ contestant: lethe(LETHE_MAIN, 'lethe'), role: 'lethe' } as const] : []),
    ...PEERS.filter(({ name }) => isWanted(name)).flatMap((peer) => {
      const contestant = obtain(peer, powers, say);
      return contestant === null ? [] : [{ contestant, role: 'peer' } as const];
    }),
    ...(isWanted('relay') ? [{ contestant: relay(), role: 'limit' } as const] : []),
    ...others.filter(({ contestant }) => isWanted(contestant.name)),
  ];
}

function obtain(peer: Peer, powers: Powers, say: (line: string) => void): Contestant | null {
  const found = peer.find();
  if (found !== null) return found;
  if (peer.package === null) {
    say(`${peer.name} is not installed and is left out: npm ci, with the development dependencies`);
    return null;
  }
  const hindrance = obstacle(peer.package, powers);
  if (hindrance === null) say(`${peer.name} is not installed: apt-get install ${peer.package}`);
  const failure = hindrance ?? install(peer.package);
  if (failure !== null) say(failure);
  return failure === null ? peer.find() : null;
}
