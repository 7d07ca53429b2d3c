// Asks the broker, before a run, whether it is there, lets us in, and which one it is.
import { setTimeout as sleep } from 'node:timers/promises';
import { ExitCode } from '../engine/cli/exit-code.ts';
import { Failure, messageOf } from '../engine/cli/failure.ts';
import { readU16 } from '../protocol/bytes.ts';
import { Frame, type Framer } from '../protocol/framer.ts';
import { PacketType } from '../protocol/packet.ts';
import { fillPattern } from './plan/pattern.ts';
import type { BrokerAddress, Plan } from './plan/plan.ts';
import { makeRoster } from './plan/roster.ts';
import { Client, type Role } from './raw/client.ts';
import { Ground } from './raw/ground.ts';
import { Pattern } from './raw/message.ts';

const VERSION_TOPIC = '$SYS/broker/version';
const VERSION_WAIT_MS = 500;
const POLL_MS = 5;
const SCHEMES = { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' } as const;

/** `mqtt://127.0.0.1:1883`. */
export function showBroker({ transport, host, port, path }: BrokerAddress): string {
  const shown = host.includes(':') ? `[${host}]` : host;
  return `${SCHEMES[transport]}://${shown}:${port}${transport.startsWith('ws') ? path : ''}`;
}

/**
 * The version that the broker tells in $SYS, null when it tells none.
 * @throws Failure when it cannot be reached, or refuses the connection
 */
export async function probe(plan: Plan): Promise<string | null> {
  const empty = { ...plan, publishers: [], subscribers: [], idle: 0 };
  const shared = { progress: new SharedArrayBuffer(4), interrupted: new SharedArrayBuffer(1), bells: [] };
  const ground = new Ground(empty, makeRoster(empty), new Pattern(), 0, shared);
  const listener = new VersionListener(plan.broker.level === 5);
  const clientId = `${plan.clients.prefix}-probe`;
  const { userName: pattern } = plan.broker;
  const number = plan.clients.firstNumber;
  const userName = pattern === null ? null : fillPattern(pattern, { number, clientId, userName: null, topic: 0 });
  const address = plan.clients.localAddresses[0] ?? null;
  const client = new Client(ground, { clientId, userName }, listener, { filters: [VERSION_TOPIC], qos: 0 }, address);
  try {
    await client.open(true);
    const endMs = performance.now() + VERSION_WAIT_MS;
    while (listener.version === null && performance.now() < endMs) await sleep(POLL_MS);
  } catch (error) {
    // A broker that lets us in and does not show $SYS is as good.
    if (!listener.wasJoined) throw new Failure(`${showBroker(plan.broker)}: ${messageOf(error)}`, ExitCode.REFUSED);
  } finally {
    client.leave();
  }
  return listener.version;
}

class VersionListener implements Role {
  version: string | null = null;
  wasJoined = false;
  readonly #hasProperties: boolean;

  constructor(hasProperties: boolean) {
    this.#hasProperties = hasProperties;
  }

  joined(): void {
    this.wasJoined = true;
  }

  left(): void {}

  work(framer: Framer, cold: (framer: Framer) => void): number {
    let said = framer.next();
    for (; said === Frame.PACKET; said = framer.next()) {
      if (framer.header >> 4 === PacketType.PUBLISH) this.#take(framer);
      else cold(framer);
    }
    return said;
  }

  #take({ buffer, bodyFrom, bodyTo }: Framer): void {
    const topicTo = bodyFrom + 2 + readU16(buffer, bodyFrom);
    const payloadAt = topicTo + (this.#hasProperties ? 1 + buffer[topicTo]! : 0);
    this.version = Buffer.from(buffer.subarray(payloadAt, bodyTo)).toString('utf8');
  }
}
